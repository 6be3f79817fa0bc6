// What the page keeps, so that a reload, a crash or a lost device loses nothing.

import { database, type StoredAdapter, type StoredRows, type StoredRun } from './database';

const CURRENT = 'current';

export const keptRows = {
  load: async (): Promise<StoredRows | null> => (await (await database()).get('rows', CURRENT)) ?? null,
  save: async (rows: StoredRows): Promise<void> => void (await (await database()).put('rows', rows, CURRENT)),
  forget: async (): Promise<void> => (await database()).delete('rows', CURRENT),
};

export const keptRun = {
  load: async (): Promise<StoredRun | null> => (await (await database()).get('runs', CURRENT)) ?? null,
  save: async (run: StoredRun): Promise<void> => void (await (await database()).put('runs', run, CURRENT)),
  checkpoint: async (): Promise<Uint8Array | null> => (await (await database()).get('checkpoints', CURRENT)) ?? null,
  /** Drops run and checkpoint together, so that neither is ever offered without the other. */
  async forget(): Promise<void> {
    const transaction = (await database()).transaction(['runs', 'checkpoints'], 'readwrite');
    await Promise.all([
      transaction.objectStore('runs').delete(CURRENT),
      transaction.objectStore('checkpoints').delete(CURRENT),
      transaction.done,
    ]);
  },
};

export const keptAdapters = {
  all: async (): Promise<StoredAdapter[]> => (await database()).getAll('adapters'),
  load: async (name: string): Promise<StoredAdapter | null> => (await (await database()).get('adapters', name)) ?? null,
  save: async (adapter: StoredAdapter): Promise<void> =>
    void (await (await database()).put('adapters', adapter, adapter.report.name)),
  forget: async (name: string): Promise<void> => (await database()).delete('adapters', name),
};

export const keptSettings = {
  async load<T>(key: string): Promise<T | null> {
    return ((await (await database()).get('settings', key)) as T | undefined) ?? null;
  },
  async save(key: string, value: unknown): Promise<void> {
    await (await database()).put('settings', value, key);
  },
};

/** Asks the browser not to evict the database when disk runs low: with the ledger, spent ε would be forgotten. */
export async function askToPersist(): Promise<boolean> {
  return (await navigator.storage?.persist?.()) ?? false;
}
