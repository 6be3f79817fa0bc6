// A server that imitates the hub: its listing, redirects to another origin, access rules, and what goes wrong with all
// of them. Used by the page's unit tests and by those in Chromium.

import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';
export const GOOD_TOKEN = 'hf_good';
/** A real token whose account has not accepted the licence. */
export const OTHER_TOKEN = 'hf_other';

const EXPOSED = 'X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,ETag,Link,Accept-Ranges,Content-Range,Retry-After,X-Linked-Size,X-Linked-ETag';

/** config.json of a small model in the hub's layout. */
export const CONFIG = {
  model_type: 'gemma3_text',
  num_hidden_layers: 18,
  hidden_size: 640,
  intermediate_size: 2048,
  num_attention_heads: 4,
  num_key_value_heads: 1,
  head_dim: 256,
  vocab_size: 262144,
  max_position_embeddings: 32768,
};

/** Files of a model with weights of so many random bytes. */
export function someModel(bytes) {
  return {
    'config.json': Buffer.from(JSON.stringify(CONFIG)),
    'tokenizer.json': Buffer.from('{"version":"1.0"}'),
    'README.md': Buffer.from('# not a part of the model'),
    'model.safetensors': randomBytes(bytes),
  };
}

/**
 * Starts the hub and the storage it redirects large files to. `trouble` is open to change at any time:
 * `drops`: byte counts after which the next connections break; `truncates`: end early as if all were well;
 * `corrupt`: one byte of the weights is wrong; `noRanges`: ranges are ignored; `limit`: answers of 429 to give, with
 * `retryAfter` seconds; `errors`: answers of 503 to give; `slow`: milliseconds between pieces of 64 KiB.
 */
export async function fakeHub() {
  const repos = new Map();
  const rows = new Map();
  const log = [];
  const trouble = { drops: [], truncates: [], corrupt: false, noRanges: false, limit: 0, retryAfter: 1, errors: 0, slow: 0 };

  const storage = await listen((request, response) => {
    const [, repo, path] = /^\/store\/(.+)~(.+)$/.exec(decodeURIComponent(request.url)) ?? [];
    log.push({ host: 'storage', path, range: request.headers.range ?? null, authorization: request.headers.authorization ?? null });
    const bytes = repos.get(repo).files[path];
    return send(request, response, trouble.corrupt ? corrupted(bytes) : bytes, {}, trouble);
  });

  const hub = await listen((request, response) => {
    const url = new URL(request.url, 'http://hub');
    log.push({ host: 'hub', path: url.pathname, range: request.headers.range ?? null, authorization: request.headers.authorization ?? null });
    if (trouble.limit > 0) {
      trouble.limit -= 1;
      return refuse(response, 429, null, { 'Retry-After': String(trouble.retryAfter) });
    }
    if (trouble.errors > 0) {
      trouble.errors -= 1;
      return refuse(response, 503, null);
    }
    if (url.pathname === '/rows') return answerRows(response, url, rows);
    const token = (request.headers.authorization ?? '').replace('Bearer ', '') || null;
    if (token !== null && token !== GOOD_TOKEN && token !== OTHER_TOKEN) return refuse(response, 401, null);
    const [, api, name, kind, revision, path] =
      /^\/(api\/models\/)?([^/]+\/[^/]+)\/(revision|tree|resolve)\/([^/]+)(?:\/(.*))?$/.exec(decodeURIComponent(url.pathname)) ?? [];
    const repo = repos.get(name);
    if (!repo) return token === null ? refuse(response, 401, 'RepoNotFound') : refuse(response, 404, 'RepoNotFound');
    if (!['main', 'HEAD', COMMIT].includes(revision)) return refuse(response, 404, 'RevisionNotFound');
    if (api && kind === 'revision') {
      return json(response, { _id: '1', id: name, sha: COMMIT, private: false, gated: repo.gated ? 'manual' : false, downloads: 1, likes: 1, lastModified: '2026-01-01T00:00:00Z' });
    }
    if (api) return json(response, Object.entries(repo.files).map(listed));
    if (repo.gated && token !== GOOD_TOKEN) return refuse(response, token === null ? 401 : 403, 'GatedRepo');
    const bytes = repo.files[path];
    if (!bytes) return refuse(response, 404, 'EntryNotFound');
    const headers = { 'X-Repo-Commit': COMMIT, 'X-Linked-Size': bytes.length, 'X-Linked-ETag': `"${sha256(bytes)}"` };
    if (!isLarge(path)) return send(request, response, bytes, headers, { ...trouble, drops: [], truncates: [] });
    response.writeHead(302, { ...cors(), ...headers, Location: `${storage.url}/store/${encodeURIComponent(`${name}~${path}`)}` });
    return response.end();
  });

  return {
    url: hub.url,
    storageUrl: storage.url,
    repos,
    rows,
    trouble,
    log,
    /** Weights requests that reached the storage. */
    fetches: () => log.filter(({ host }) => host === 'storage'),
    async close() {
      await hub.close();
      await storage.close();
    },
  };
}

function isLarge(path) {
  return path.endsWith('.safetensors');
}

function listed([path, bytes]) {
  if (!isLarge(path)) return { type: 'file', path, size: bytes.length, oid: createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex') };
  return { type: 'file', path, size: bytes.length, oid: 'f'.repeat(40), lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 } };
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}

function corrupted(bytes) {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1] ^= 1;
  return copy;
}

async function send(request, response, bytes, headers, trouble) {
  const asked = trouble.noRanges ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const start = asked ? Number(asked[1]) : 0;
  const end = asked && asked[2] !== '' ? Math.min(Number(asked[2]) + 1, bytes.length) : bytes.length;
  const drop = trouble.drops.shift();
  const truncate = trouble.truncates.shift();
  const length = end - start;
  response.writeHead(asked ? 206 : 200, {
    ...cors(),
    ...headers,
    'Content-Type': 'application/octet-stream',
    // A truncated body with the right length is an error a browser sees by itself; without one it is not.
    ...(truncate === undefined ? { 'Content-Length': length } : {}),
    ...(asked ? { 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` } : {}),
  });
  const stop = start + Math.min(length, drop ?? Infinity, truncate ?? Infinity);
  for (let at = start; at < stop && !response.destroyed; at += 65536) {
    response.write(bytes.subarray(at, Math.min(at + 65536, stop)));
    if (trouble.slow > 0) await new Promise((resolve) => setTimeout(resolve, trouble.slow));
  }
  if (drop !== undefined && drop < length) {
    // Let what was written arrive before the connection breaks.
    await new Promise((resolve) => setTimeout(resolve, 50));
    return response.destroy();
  }
  return response.end();
}

function answerRows(response, url, rows) {
  const all = rows.get(url.searchParams.get('dataset'));
  if (!all) return json(response, { error: 'The dataset does not exist.' }, 404);
  const offset = Number(url.searchParams.get('offset'));
  const length = Number(url.searchParams.get('length'));
  if (length > 100) return json(response, { error: 'length must not be above 100' }, 422);
  const part = all.slice(offset, offset + length).map((row, index) => ({ row_idx: offset + index, row, truncated_cells: [] }));
  return json(response, { features: [], rows: part, num_rows_total: all.length, num_rows_per_page: 100, partial: false });
}

function cors() {
  return { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': EXPOSED };
}

function refuse(response, status, code, headers = {}) {
  response.writeHead(status, { ...cors(), ...headers, ...(code ? { 'X-Error-Code': code } : {}), 'Content-Type': 'text/plain' });
  response.end('refused');
}

function json(response, value, status = 200) {
  response.writeHead(status, { ...cors(), 'Content-Type': 'application/json' });
  response.end(JSON.stringify(value));
}

/** A server on a free port; preflights are answered, as the hub does. */
function listen(handle) {
  const server = createServer((request, response) => {
    if (request.method === 'OPTIONS') {
      response.writeHead(204, { ...cors(), 'Access-Control-Allow-Headers': 'Authorization,Range', 'Access-Control-Allow-Methods': 'GET,HEAD,OPTIONS' });
      response.end();
      return;
    }
    handle(request, response);
  });
  return new Promise((resolve) => {
    server.listen(0, 'localhost', () => {
      resolve({
        url: `http://localhost:${server.address().port}`,
        close: () =>
          new Promise((done) => {
            server.close(done);
            server.closeAllConnections();
          }),
      });
    });
  });
}
