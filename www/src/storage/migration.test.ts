import 'fake-indexeddb/auto';
import { openDB } from 'idb';
import { expect, it } from 'vitest';
import { ledgerDataSets, loadLedger, loadRowHashes, saveRowHashes } from './durable';
import { keptSettings } from './keep';

it('takes over what the first version of the database kept, its ledgers above all', async () => {
  const old = await openDB('vaultlab', 1, {
    upgrade(db) {
      for (const store of ['ledgers', 'checkpoints', 'rows', 'runs', 'adapters', 'settings']) db.createObjectStore(store);
    },
  });
  await old.put('ledgers', Uint8Array.of(7), 'aa/session-1');
  await old.put('settings', 'dark', 'theme');
  old.close();

  expect(await loadLedger('aa')).toEqual([Uint8Array.of(7)]);
  expect(await ledgerDataSets()).toEqual(['aa']);
  expect(await loadRowHashes('aa')).toBeNull();
  await saveRowHashes('aa', Uint8Array.of(8));
  expect(await loadRowHashes('aa')).toEqual(Uint8Array.of(8));
  expect(await keptSettings.load('theme')).toBe('dark');
});
