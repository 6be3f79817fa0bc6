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
