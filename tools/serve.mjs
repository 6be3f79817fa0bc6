// A static file server for localhost: what any web host does, and nothing more (no special headers).

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import { pipeline } from 'node:stream';
import { fileURLToPath } from 'node:url';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.jsonl': 'application/jsonl; charset=utf-8',
  '.csv': 'text/csv; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
};

/**
 * Serves the folder `root` under `base` on localhost, from `port` on: if that is taken, the next free one of
 * the following hundred (0: any). Resolves to `{ url, close }`.
 */
export async function serve({ root, port = 8080, base = '/' }) {
  const folder = path.resolve(root);
  const server = createServer((request, response) => {
    answer(folder, base, request, response).catch(() => {
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  const chosen = await listen(server, port, port === 0 ? 0 : port + 100);
  return {
    url: `http://localhost:${chosen}${base}`,
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

function listen(server, port, last) {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      if (error.code === 'EADDRINUSE' && port < last) resolve(listen(server, port + 1, last));
      else reject(error);
    });
    server.listen(port, 'localhost', () => resolve(server.address().port));
  });
}

async function answer(folder, base, request, response) {
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, { Allow: 'GET, HEAD' });

  const file = await find(folder, base, request.url);
  if (file === null) return refuse(response, 404);

  const headers = {
    'Content-Type': TYPES[path.extname(file.path).toLowerCase()] ?? 'application/octet-stream',
    'Last-Modified': file.modified.toUTCString(),
    'Cache-Control': 'no-cache',
    'Accept-Ranges': 'bytes',
  };
  const since = Date.parse(request.headers['if-modified-since'] ?? '');
  if (since >= Math.floor(file.modified.getTime() / 1000) * 1000) {
    response.writeHead(304, headers).end();
    return;
  }

  const range = parseRange(request.headers.range, file.size);
  if (range === 'unsatisfiable') return refuse(response, 416, { 'Content-Range': `bytes */${file.size}` });
  const { start, end } = range ?? { start: 0, end: file.size - 1 };
  headers['Content-Length'] = end - start + 1;
  if (range !== null) headers['Content-Range'] = `bytes ${start}-${end}/${file.size}`;
  response.writeHead(range === null ? 200 : 206, headers);
  if (request.method === 'HEAD' || file.size === 0) response.end();
  else pipeline(createReadStream(file.path, { start, end }), response, () => {});
}

/** The file a request asks for; `null` when there is none inside the folder. */
async function find(folder, base, url) {
  let name;
  try {
    name = decodeURIComponent(new URL(url, 'http://localhost').pathname);
  } catch {
    return null;
  }
  if (!name.startsWith(base) || name.includes('\0')) return null;
  let file = path.join(folder, name.slice(base.length));
  if (file !== folder && !file.startsWith(folder + path.sep)) return null;
  if (name.endsWith('/')) file = path.join(file, 'index.html');
  const status = await stat(file).catch(() => null);
  return status?.isFile() ? { path: file, size: status.size, modified: status.mtime } : null;
}

/** One byte range of RFC 9110, section 14; `null` when absent, several or not understood: then the whole file is sent. */
export function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return null;
  const suffix = match[1] === '';
  const start = suffix ? Math.max(size - Number(match[2]), 0) : Number(match[1]);
  const end = suffix || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (!suffix && match[2] !== '' && Number(match[2]) < start) return null;
  return start > end ? 'unsatisfiable' : { start, end };
}

function refuse(response, status, headers = {}) {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', ...headers });
  response.end(`${status}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serve({ root: process.argv[2] ?? 'dist', port: Number(process.env.PORT ?? 8080) });
  console.log(`VaultLab is at ${url} (Ctrl+C stops it)`);
}
