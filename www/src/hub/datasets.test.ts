// Presets from a stand-in of the rows server, and archives packed by an independent tool.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'fflate';
import { afterAll, beforeEach, expect, it, vi } from 'vitest';
import { fakeHub } from '../../../tests/hub/fake.mjs';
import { isPacked, likely, unpack, withHeader } from './archive';

const hub = await fakeHub();
vi.stubEnv('VITE_ROWS_URL', hub.url);
const { fetchRows, PRESETS } = await import('./datasets');
const QUICK = { attempts: 4, firstWait: 0.01, longestWait: 1, silence: 5 };
const never = new AbortController().signal;
const preset = (id: string) => PRESETS.find((preset) => preset.id === id)!;
const folder = mkdtempSync(path.join(tmpdir(), 'vaultlab-'));

afterAll(async () => {
  rmSync(folder, { recursive: true });
  await hub.close();
});

beforeEach(() => {
  hub.rows.clear();
  hub.log.length = 0;
  Object.assign(hub.trouble, { limit: 0, errors: 0 });
});

const lines = async (file: Blob) => (await file.text()).split('\n').map((line) => JSON.parse(line) as Record<string, string>);

it('takes the first rows in the fewest calls, with only the columns in use', async () => {
  hub.rows.set(preset('flashcards').dataset!, Array.from({ length: 500 }, (_, row) => ({ instruction: 'Answer', input: `q${row}`, output: `a${row}` })));
  const file = await fetchRows(preset('flashcards'), 250, never, () => {}, QUICK);
  const rows = await lines(file);
  expect(rows).toHaveLength(250);
  expect(rows[249]).toEqual({ input: 'q249', output: 'a249' });
  expect(hub.log).toHaveLength(3);
  expect(file.name).toBe('flashcards-250.jsonl');
});

it('passes over what needs a context, and ends where the data set ends', async () => {
  hub.rows.set(preset('dolly').dataset!, Array.from({ length: 230 }, (_, row) => ({ instruction: `q${row}`, context: row % 2 ? 'some' : '', response: `a${row}`, category: 'x' })));
  const seen: number[] = [];
  const rows = await lines(await fetchRows(preset('dolly'), 1000, never, (done) => seen.push(done), QUICK));
  expect(rows.map((row) => row['instruction'])).toEqual(Array.from({ length: 115 }, (_, index) => `q${2 * index}`));
  expect(seen).toEqual([50, 100, 115]);
});

it('asks again when it is told to wait, and says when there is no such data set', async () => {
  hub.rows.set(preset('dolly').dataset!, [{ instruction: 'q', context: '', response: 'a' }]);
  hub.trouble.errors = 1;
  expect(await lines(await fetchRows(preset('dolly'), 5, never, () => {}, QUICK))).toHaveLength(1);
  await expect(fetchRows(preset('flashcards'), 5, never, () => {}, QUICK)).rejects.toMatchObject({ problem: 'notFound' });
});

const PAIRS = '1\tHello\tBonjour\n2\tBye\tSalut\n';

function tar(files: Record<string, string>): Buffer {
  const root = mkdtempSync(path.join(folder, 'tar-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
  }
  const archive = `${root}.tar`;
  execFileSync('tar', ['-cf', archive, '-C', root, ...Object.keys(files)]);
  return readFileSync(archive);
}

it('finds MTNT’s training pairs in its archive and gives the columns names', async () => {
  const archive = gzipSync(tar({ 'MTNT/valid/valid.en-fr.tsv': 'x\ty\tz\n', 'MTNT/train/train.en-fr.tsv': PAIRS, 'MTNT/README': 'read', 'MTNT/train/train.fr-en.tsv': 'a\tb\tc\n' }));
  const members = await unpack(new Blob([archive as Uint8Array<ArrayBuffer>]), 'MTNT.1.0.tar.gz');
  expect(members.map(({ name }) => name).sort()).toEqual(['MTNT/train/train.en-fr.tsv', 'MTNT/train/train.fr-en.tsv', 'MTNT/valid/valid.en-fr.tsv']);
  const file = withHeader(likely(members)!);
  expect(file.name).toBe('train.en-fr.tsv');
  expect(await file.text()).toBe(`id\tsource\ttarget\n${PAIRS}`);
});

it('unpacks a single gzip file, and asks which one where several may be meant', async () => {
  const packed = gzipSync(new TextEncoder().encode('a,b\n1,2\n')) as Uint8Array<ArrayBuffer>;
  const [only] = await unpack(new Blob([packed]), 'rows.csv.gz');
  expect(only!.name).toBe('rows.csv');
  expect(await withHeader(only!).text()).toBe('a,b\n1,2\n');
  const several = await unpack(new Blob([new Uint8Array(tar({ 'a.csv': 'x', 'b.csv': 'y' }))]), 'rows.tar');
  expect(likely(several)).toBeNull();
  expect([isPacked('a.tar.gz'), isPacked('a.TGZ'), isPacked('a.csv')]).toEqual([true, true, false]);
});

it.each([
  ['a bomb', 'zeros.csv.gz', () => gzipSync(new Uint8Array(5_000_000)), /more than 1\.0 MB/],
  ['a cut gzip file', 'rows.csv.gz', () => gzipSync(new TextEncoder().encode(PAIRS.repeat(99))).slice(0, 60), /not a whole gzip file/],
  ['no gzip at all', 'rows.csv.gz', () => new TextEncoder().encode('a,b'), /not a whole gzip file/],
  ['a cut tar file', 'rows.tar', () => new Uint8Array(tar({ 'a.csv': PAIRS.repeat(99) })).slice(0, 1000), /ends inside/],
  ['no tar at all', 'rows.tar', () => new Uint8Array(1024).fill(7), /no tar archive/],
  ['a tar without rows', 'rows.tar', () => new Uint8Array(tar({ 'a.png': 'x' })), /holds no data file/],
])('refuses %s within bounds', async (_, name, make, message) => {
  await expect(unpack(new Blob([make() as Uint8Array<ArrayBuffer>]), name, 1_000_000)).rejects.toMatchObject({ report: { code: 'badData', message: expect.stringMatching(message) } });
});
