import 'fake-indexeddb/auto';
import { beforeEach, expect, it, vi } from 'vitest';
import type { RunSettings } from '../protocol';
import { database, type StoredRun } from './database';
import { ledgerDataSets, loadLedger, loadRowHashes, saveCheckpoint, saveLedger, saveRowHashes } from './durable';
import { keptAdapters, keptRows, keptRun, keptSettings } from './keep';

beforeEach(async () => {
  const db = await database();
  for (const store of db.objectStoreNames) await db.clear(store);
});

const run: StoredRun = {
  run: { name: 'private', steps: 10, privacy: null } as unknown as RunSettings,
  modelName: 'demo',
  weights: 'f32',
  fingerprint: 'abc',
  checkpointStep: 4,
  points: [{ step: 1, loss: 2, epsilon: 0.1, clippedShare: 1, medianNorm: 3 }],
  evaluations: [{ step: 0, loss: 3, rows: 5 }],
  savedAt: 1,
};

it('keeps the records of every session, by data set', async () => {
  expect(await loadLedger('rows-a')).toEqual([]);
  await saveLedger('rows-a', 'session-1', Uint8Array.of(1, 2));
  await saveLedger('rows-b', 'session-1', Uint8Array.of(3));
  await saveLedger('rows-a', 'session-1', Uint8Array.of(1, 2, 9));
  await saveLedger('rows-a', 'session-2', Uint8Array.of(4));
  expect(await loadLedger('rows-a')).toEqual([Uint8Array.of(1, 2, 9), Uint8Array.of(4)]);
  expect(await loadLedger('rows-b')).toEqual([Uint8Array.of(3)]);
  expect(await loadLedger('rows')).toEqual([]);
});

it('asks for strict durability, and resolves only when the transaction is complete', async () => {
  const db = await database();
  const open = db.transaction.bind(db);
  let completed = false;
  const transaction = vi.spyOn(db, 'transaction').mockImplementation(((...args: Parameters<typeof open>) => {
    const opened = open(...args);
    void opened.done.then(() => (completed = true));
    return opened;
  }) as never);
  await saveLedger('rows', 'session', Uint8Array.of(1));
  expect(completed).toBe(true);
  completed = false;
  await saveRowHashes('rows', Uint8Array.of(1));
  expect(completed).toBe(true);
  expect(transaction.mock.calls).toEqual([
    ['ledgers', 'readwrite', { durability: 'strict' }],
    ['rowHashes', 'readwrite', { durability: 'strict' }],
  ]);
  transaction.mockRestore();
});

it('keeps row hashes by data set, and knows every data set with a record of either kind', async () => {
  expect(await ledgerDataSets()).toEqual([]);
  expect(await loadRowHashes('aa')).toBeNull();
  await saveRowHashes('aa', Uint8Array.of(1));
  await saveLedger('aa', 'session-1', Uint8Array.of(2));
  await saveLedger('aa', 'session-2', Uint8Array.of(3));
  await saveLedger('bb', 'session-1', Uint8Array.of(4));
  await saveRowHashes('cc', Uint8Array.of(5));
  expect((await ledgerDataSets()).sort()).toEqual(['aa', 'bb', 'cc']);
  expect(await loadRowHashes('aa')).toEqual(Uint8Array.of(1));
  expect(await loadRowHashes('bb')).toBeNull();
});

it('fails when a ledger cannot be written', async () => {
  const unclonable = (() => 0) as unknown as Uint8Array;
  await expect(saveLedger('rows', 'session', unclonable)).rejects.toThrow();
});

it('drops run and checkpoint together, and never the ledger', async () => {
  await saveLedger('abc', 'session', Uint8Array.of(7));
  await saveCheckpoint(Uint8Array.of(1));
  await keptRun.save(run);
  expect(await keptRun.load()).toEqual(run);
  expect(await keptRun.checkpoint()).toEqual(Uint8Array.of(1));
  await keptRun.forget();
  expect(await keptRun.load()).toBeNull();
  expect(await keptRun.checkpoint()).toBeNull();
  expect(await loadLedger('abc')).toEqual([Uint8Array.of(7)]);
});

it('keeps adapters by name and settings by key', async () => {
  const adapter = { report: { name: 'private' } as never, modelName: 'demo', files: [{ name: 'adapter_config.json', bytes: Uint8Array.of(1) }], savedAt: 2 };
  await keptAdapters.save(adapter);
  expect(await keptAdapters.all()).toEqual([adapter]);
  await keptAdapters.forget('private');
  expect(await keptAdapters.all()).toEqual([]);
  await keptSettings.save('theme', 'dark');
  expect(await keptSettings.load('theme')).toBe('dark');
  expect(await keptSettings.load('other')).toBeNull();
});

it('forgets rows without touching what they spent', async () => {
  await saveLedger('abc', 'session', Uint8Array.of(7));
  await keptRows.save({ fileName: 'rows.csv', file: new Blob(['a,b']), settings: null, savedAt: 3 });
  expect((await keptRows.load())?.fileName).toBe('rows.csv');
  await keptRows.forget();
  expect(await keptRows.load()).toBeNull();
  expect(await loadLedger('abc')).toHaveLength(1);
});
