// The static server against RFC 9110's rules for the requests a browser makes of it.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { parseRange, serve } from '../../tools/serve.mjs';

let folder;
let server;

before(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'vaultlab-serve-'));
  writeFileSync(path.join(folder, 'index.html'), '<!doctype html>');
  writeFileSync(path.join(folder, 'module.wasm'), Buffer.from([0, 97, 115, 109, 1, 0, 0, 0]));
  writeFileSync(path.join(folder, 'empty.txt'), '');
  server = await serve({ root: folder, port: 0, base: '/under/a/path/' });
});

after(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

const get = (name, headers = {}, method = 'GET') => fetch(new URL(name, server.url), { headers, method });

test('serves an index, under a sub-path only', async () => {
  const index = await get('');
  assert.equal(index.status, 200);
  assert.equal(index.headers.get('content-type'), 'text/html; charset=utf-8');
  assert.equal(await index.text(), '<!doctype html>');
  assert.equal((await get('/index.html')).status, 404);
});

test('gives wasm the type that browsers need to compile it while it arrives', async () => {
  const wasm = await get('module.wasm');
  assert.equal(wasm.headers.get('content-type'), 'application/wasm');
  assert.ok(await WebAssembly.compileStreaming(wasm));
});

test('answers byte ranges', async () => {
  const part = await get('module.wasm', { Range: 'bytes=1-3' });
  assert.equal(part.status, 206);
  assert.equal(part.headers.get('content-range'), 'bytes 1-3/8');
  assert.equal(await part.text(), 'asm');
  const beyond = await get('module.wasm', { Range: 'bytes=8-' });
  assert.equal(beyond.status, 416);
  assert.equal(beyond.headers.get('content-range'), 'bytes */8');
});

test('reads ranges as RFC 9110 does', () => {
  assert.deepEqual(parseRange('bytes=0-', 8), { start: 0, end: 7 });
  assert.deepEqual(parseRange('bytes=-3', 8), { start: 5, end: 7 });
  assert.deepEqual(parseRange('bytes=-30', 8), { start: 0, end: 7 });
  assert.deepEqual(parseRange('bytes=2-30', 8), { start: 2, end: 7 });
  assert.equal(parseRange('bytes=-0', 8), 'unsatisfiable');
  assert.equal(parseRange('bytes=0-', 0), 'unsatisfiable');
  for (const whole of [undefined, 'bytes=-', 'bytes=5-2', 'bytes=0-1,3-4', 'lines=0-1'])
    assert.equal(parseRange(whole, 8), null);
});

test('sends an empty file, and the head of a file', async () => {
  const empty = await get('empty.txt');
  assert.equal(empty.status, 200);
  assert.equal(empty.headers.get('content-length'), '0');
  const head = await get('module.wasm', {}, 'HEAD');
  assert.equal(head.headers.get('content-length'), '8');
  assert.equal((await head.arrayBuffer()).byteLength, 0);
});

test('saves a transfer when the file has not changed', async () => {
  const first = await get('module.wasm');
  const again = await get('module.wasm', { 'If-Modified-Since': first.headers.get('last-modified') });
  assert.equal(again.status, 304);
});

test('refuses other methods, missing files, folders, and paths out of the folder', async () => {
  assert.equal((await get('', {}, 'POST')).status, 405);
  assert.equal((await get('missing.js')).status, 404);
  // `fetch` would resolve the dots itself.
  const escape = '/under/a/path/..%2f..%2f..%2f..%2fetc%2fpasswd';
  const status = await new Promise((resolve) => {
    request({ host: 'localhost', port: new URL(server.url).port, path: escape }, (response) =>
      resolve(response.statusCode),
    ).end();
  });
  assert.equal(status, 404);
});

test('takes the next free port', async () => {
  const taken = Number(new URL(server.url).port);
  const second = await serve({ root: folder, port: taken });
  assert.ok(Number(new URL(second.url).port) > taken);
  await second.close();
});
