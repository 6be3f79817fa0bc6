// The hub's client against a server that imitates the hub, in everything but the disk, which is memory here.

import 'fake-indexeddb/auto';
import { setMaxListeners } from 'node:events';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { COMMIT, CONFIG, fakeHub, GOOD_TOKEN, OTHER_TOKEN, someModel } from '../../../tests/hub/fake.mjs';
import type { HubFile } from '../engine/wire';
import { database } from '../storage/database';
import type { FileStore } from '../storage/files';
import { forgetModel, listModels, sweep } from '../storage/models';
import { memoryFiles } from './memory-files';

const hub = await fakeHub();
vi.stubEnv('VITE_HUB_URL', hub.url);
vi.stubEnv('VITE_ROWS_URL', hub.url);
const { openRepo, asSources } = await import('./repo');
const { openHubFiles } = await import('./open');
const { parseRepo } = await import('./address');
const { remoteSource } = await import('./remote');
const plainFetch = globalThis.fetch;

const QUICK = { attempts: 4, firstWait: 0.01, longestWait: 3, silence: 5 };
const SIZE = 3_000_000;
const never = new AbortController().signal;
setMaxListeners(0, never);
let disk: FileStore;

beforeAll(() => {
  hub.repos.set('google/open', { gated: false, files: someModel(SIZE) });
  hub.repos.set('google/gated', { gated: true, files: someModel(1000) });
  hub.repos.set('google/half', { gated: false, files: { 'config.json': Buffer.from('{}'), 'x.gguf': Buffer.from('') } });
});

afterAll(() => hub.close());

beforeEach(async () => {
  Object.assign(hub.trouble, { drops: [], truncates: [], corrupt: false, noRanges: false, limit: 0, retryAfter: 1, errors: 0, slow: 0 });
  hub.log.length = 0;
  disk = memoryFiles();
  vi.stubGlobal('navigator', { storage: {} });
  await (await database()).clear('models');
});

const weights = (): Buffer => hub.repos.get('google/open')!.files['model.safetensors']!;

async function files(keep = true): Promise<HubFile[]> {
  return asSources(await openRepo('google/open', null, null, never, QUICK), null, keep);
}

async function load(keep = true, signal = never) {
  const progress: { name: string; done: number; total: number }[] = [];
  const sources = await openHubFiles(await files(keep), signal, (now) => progress.push(now), async () => disk, QUICK);
  return { sources, progress, weights: sources.find(({ name }) => name === 'model.safetensors')! };
}

async function expectWhole(opened: Awaited<ReturnType<typeof load>>): Promise<void> {
  const { weights: source } = opened;
  expect(source.size).toBe(SIZE);
  expect(Buffer.from(await source.read(0, SIZE)).equals(weights())).toBe(true);
}

it('reads names and addresses of repositories', () => {
  expect(parseRepo(' google/gemma-3-270m ')).toEqual({ repo: 'google/gemma-3-270m', revision: null });
  expect(parseRepo('google/gemma@v1')).toEqual({ repo: 'google/gemma', revision: 'v1' });
  expect(parseRepo(`${hub.url}/google/gemma/tree/refs%2Fpr%2F1`)).toEqual({ repo: 'google/gemma', revision: 'refs/pr/1' });
  expect(parseRepo(`${hub.url}/google/gemma`)).toEqual({ repo: 'google/gemma', revision: null });
  for (const wrong of ['gemma', '', 'a/b/c', 'https://example.org/a/b', '../x/y', 'a/..']) expect(parseRepo(wrong), wrong).toBeNull();
});

it('pins the commit, and lists a model’s files with size and checksum, weights last', async () => {
  const repo = await openRepo('google/open', 'main', null, never, QUICK);
  expect(repo).toMatchObject({ commit: COMMIT, revision: 'main', gated: false });
  expect(repo.files.map(({ path }) => path)).toEqual(['config.json', 'tokenizer.json', 'model.safetensors']);
  expect(repo.files.at(-1)).toMatchObject({ size: SIZE, checksum: { kind: 'sha256' } });
  expect(repo.files[0]!.checksum!.kind).toBe('gitBlob');
  expect(JSON.parse(repo.config)).toEqual(CONFIG);
});

it.each([
  ['google/gated', null, null, 'gated'],
  ['google/gated', null, OTHER_TOKEN, 'notAccepted'],
  ['google/open', null, 'hf_wrong', 'wrongToken'],
  ['google/none', null, null, 'notFound'],
  ['google/none', null, GOOD_TOKEN, 'notFound'],
  ['google/open', 'v9', null, 'notFound'],
  ['google/half', null, null, 'unsuitable'],
] as const)('tells refusals apart: %s at %s with %s is %s', async (repo, revision, token, problem) => {
  const failure = await openRepo(repo, revision, token, never, QUICK).catch((cause: unknown) => cause);
  expect(failure).toMatchObject({ problem, report: { message: expect.stringMatching(/\.$/), advice: expect.stringMatching(/\.$/), kept: expect.stringMatching(/\.$/) } });
});

it('gives a gated model to a token that may have it, and the token to no other host', async () => {
  const repo = await openRepo('google/gated', null, GOOD_TOKEN, never, QUICK);
  const sources = await openHubFiles(asSources(repo, GOOD_TOKEN, true), never, () => {}, async () => disk, QUICK);
  expect(sources).toHaveLength(3);
  expect(hub.log.filter(({ host }) => host === 'hub').every(({ authorization }) => authorization === `Bearer ${GOOD_TOKEN}`)).toBe(true);
  expect(hub.fetches().map(({ authorization }) => authorization)).toEqual([null]);
  expect(JSON.stringify(await (await database()).getAll('models'))).not.toContain(GOOD_TOKEN);
});

it('waits as long as the hub asks, and gives up when that is too long', async () => {
  Object.assign(hub.trouble, { limit: 1, retryAfter: 1 });
  const started = performance.now();
  await openRepo('google/open', null, null, never, QUICK);
  expect(performance.now() - started).toBeGreaterThan(950);
  Object.assign(hub.trouble, { limit: 1, retryAfter: 300 });
  await expect(openRepo('google/open', null, null, never, QUICK)).rejects.toMatchObject({ problem: 'rateLimited', message: expect.stringContaining('too many'), report: { advice: expect.stringContaining('5 min 0 s') } });
});

it('asks again while the hub is unwell, but not for ever', async () => {
  hub.trouble.errors = 2;
  await openRepo('google/open', null, null, never, QUICK);
  hub.trouble.errors = 99;
  await expect(openRepo('google/open', null, null, never, QUICK)).rejects.toMatchObject({ problem: 'unavailable' });
  expect(hub.trouble.errors).toBe(99 - QUICK.attempts);
});

it('downloads a model onto the disk with rising progress, and the second time not at all', async () => {
  const first = await load();
  await expectWhole(first);
  const total = first.progress.at(-1)!.total;
  expect(first.progress.at(-1)!.done).toBe(total);
  expect(first.progress.every(({ done }, index) => index === 0 || done >= first.progress[index - 1]!.done)).toBe(true);
  expect(await listModels(disk)).toMatchObject([{ bytes: total, total, whole: true, model: { repo: 'google/open', commit: COMMIT, form: 'original' } }]);
  const kept = await files();
  hub.log.length = 0;
  await openHubFiles(kept, never, () => {}, async () => disk, QUICK);
  expect(hub.log).toEqual([]);
});

it('takes broken connections up where they broke', async () => {
  hub.trouble.drops = [700_000, 900_000];
  await expectWhole(await load());
  const ranges = hub.fetches().map(({ range }) => range);
  expect(ranges).toHaveLength(3);
  expect(ranges[0]).toBeNull();
  const starts = ranges.slice(1).map((range) => Number(/^bytes=(\d+)-$/.exec(range!)![1]));
  expect(starts[0]).toBeGreaterThan(0);
  expect(starts[1]).toBeGreaterThan(starts[0]!);
});

it('streams anew and drops what it has where ranges are refused', async () => {
  Object.assign(hub.trouble, { noRanges: true, drops: [1_000_000] });
  await expectWhole(await load());
  expect(hub.fetches()).toHaveLength(2);
});

it('notices a body that ends early, and fetches the rest', async () => {
  hub.trouble.truncates = [1_234_567];
  await expectWhole(await load());
  expect(hub.fetches()[1]!.range).toBe('bytes=1234567-');
});

it('gives up after several attempts that bring nothing, keeps what it has, and goes on from there', async () => {
  hub.trouble.drops = [1_000_000, 0, 0, 0, 0, 0];
  await expect(load()).rejects.toMatchObject({ problem: 'unreachable', report: { kept: expect.stringContaining('downloaded so far is kept') } });
  const [partial] = await listModels(disk);
  expect(partial!.whole).toBe(false);
  expect(partial!.bytes).toBeGreaterThan(500_000);
  hub.trouble.drops = [];
  hub.log.length = 0;
  await expectWhole(await load());
  const from = Number(/^bytes=(\d+)-$/.exec(hub.fetches()[0]!.range!)![1]);
  expect(from).toBeGreaterThan(500_000);
});

it('refuses bytes whose SHA-256 is not the hub’s, and keeps none of them', async () => {
  hub.trouble.corrupt = true;
  await expect(load()).rejects.toMatchObject({ problem: 'damaged', message: expect.stringContaining('SHA-256') });
  expect((await listModels(disk))[0]!.whole).toBe(false);
  hub.trouble.corrupt = false;
  await expectWhole(await load());
});

it('throws an earlier visit’s damaged bytes away and starts anew by itself', async () => {
  hub.trouble.drops = [1_000_000, 0, 0, 0, 0, 0];
  await load().catch(() => {});
  hub.trouble.drops = [];
  const [partial] = await listModels(disk);
  const open = await disk.open(partial!.model.files.at(-1)!.stored);
  open.write(Uint8Array.of(1, 2, 3), 100);
  open.close();
  await expectWhole(await load());
});

it('stops when cancelled, and goes on later', async () => {
  hub.trouble.slow = 20;
  const control = new AbortController();
  setTimeout(() => control.abort(), 300);
  await expect(load(true, control.signal)).rejects.toMatchObject({ problem: 'cancelled' });
  hub.trouble.slow = 0;
  hub.log.length = 0;
  await expectWhole(await load());
  expect(hub.fetches()[0]!.range).toMatch(/^bytes=[1-9]\d*-$/);
});

it('says with numbers that there is no room', async () => {
  vi.stubGlobal('navigator', { storage: { estimate: async () => ({ quota: 2_000_000, usage: 500_000 }) } });
  await expect(load()).rejects.toMatchObject({ problem: 'noRoom', report: { code: 'storage', message: expect.stringMatching(/3\.0 MB more.*room for 1\.5 MB/) } });
});

it('deletes a model and whatever no record knows', async () => {
  await load();
  const [kept] = await listModels(disk);
  (await disk.open('left-over')).close();
  await sweep(disk);
  expect(await disk.names()).toHaveLength(3);
  await forgetModel(disk, kept!.key);
  expect(await disk.names()).toEqual([]);
  expect(await listModels(disk)).toEqual([]);
});

it('reads any part straight from the network, in any order, and verifies small files', async () => {
  const { sources, weights: source } = await load(false);
  expect(await disk.names()).toEqual([]);
  const part = async (start: number, end: number) => expect(Buffer.from(await source.read(start, end)).equals(weights().subarray(start, end)), `${start}-${end}`).toBe(true);
  await part(0, 8);
  await part(8, 5000);
  await part(1_000_000, 2_000_000);
  await part(10, 20);
  await part(SIZE - 5, SIZE);
  await Promise.all([part(5, 100_000), part(100_000, 200_000)]);
  hub.trouble.drops = [10_000];
  await part(0, SIZE);
  expect(sources.map(({ name }) => name)).toContain('tokenizer.json');
  await expect(source.read(0, SIZE + 1)).rejects.toThrow(RangeError);
});

it('holds one chunk and no more of a file of 2 GB that passes through', async () => {
  const CHUNK = 65_536;
  let produced = 0;
  const chunk = new Uint8Array(CHUNK).fill(7);
  const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
    controller.enqueue(chunk);
    produced += CHUNK;
  };
  vi.stubGlobal('fetch', async () => new Response(new ReadableStream({ pull }, { highWaterMark: 0 })));
  const file = { what: 'big', repo: null, withToken: false, url: 'https://example.org/big', token: null, size: 2e9, patience: QUICK };
  const source = remoteSource('big', file, never, () => {});
  for (let at = 0; at < 20e6; at += 1e6) {
    expect((await source.read(at, at + 1e6)).every((byte) => byte === 7)).toBe(true);
    // The chunk at hand, and one on its way through the response.
    expect(produced - (at + 1e6)).toBeLessThanOrEqual(2 * CHUNK);
  }
  vi.stubGlobal('fetch', plainFetch);
});
