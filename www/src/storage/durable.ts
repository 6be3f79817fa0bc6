// What the engine stores itself. Ledger writes are strict: the promise resolves once the bytes are on
// disk, because a training step may only use its noisy sum after its charge is kept.

import { database, type Schema } from './database';
import type { StoreNames } from 'idb';

export async function loadLedger(fingerprint: string): Promise<Uint8Array | null> {
  return (await (await database()).get('ledgers', fingerprint)) ?? null;
}

export function saveLedger(fingerprint: string, bytes: Uint8Array): Promise<void> {
  return putStrict('ledgers', fingerprint, bytes);
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
