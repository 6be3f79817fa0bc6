// What the engine stores itself. Ledger writes are strict: the promise resolves once the bytes are on
// disk, because a training step may only use its noisy sum after its charge is kept.

import { database, type Schema } from './database';
import type { StoreNames } from 'idb';

/** Every session's record of what it charged to these rows. Sessions write under keys of their own, so that two tabs
 *  cannot overwrite each other's charges. */
export async function loadLedger(fingerprint: string): Promise<Uint8Array[]> {
  return (await database()).getAll('ledgers', IDBKeyRange.bound(`${fingerprint}/`, `${fingerprint}/\uffff`));
}

export function saveLedger(fingerprint: string, session: string, record: Uint8Array): Promise<void> {
  return putStrict('ledgers', `${fingerprint}/${session}`, record);
}

/** Every data set that has charges or row hashes on record. */
export async function ledgerDataSets(): Promise<string[]> {
  const transaction = (await database()).transaction(['ledgers', 'rowHashes'], 'readonly');
  const [charges, rows] = await Promise.all([
    transaction.objectStore('ledgers').getAllKeys(),
    transaction.objectStore('rowHashes').getAllKeys(),
  ]);
  return [...new Set([...charges.map((key) => key.slice(0, key.indexOf('/'))), ...rows])];
}

/** Hashes of a data set's rows, from which the engine sees what it shares with others. */
export async function loadRowHashes(fingerprint: string): Promise<Uint8Array | null> {
  return (await (await database()).get('rowHashes', fingerprint)) ?? null;
}

export function saveRowHashes(fingerprint: string, record: Uint8Array): Promise<void> {
  return putStrict('rowHashes', fingerprint, record);
}

export function saveCheckpoint(bytes: Uint8Array): Promise<void> {
  return putStrict('checkpoints', 'current', bytes);
}

async function putStrict<Name extends StoreNames<Schema>>(
  store: Name,
  key: Schema[Name]['key'],
  value: Schema[Name]['value'],
): Promise<void> {
  const transaction = (await database()).transaction(store, 'readwrite', { durability: 'strict' });
  await Promise.all([transaction.store.put(value, key), transaction.done]);
}
