// The one IndexedDB database of the page; page and worker both open it.

import { openDB, type DBSchema, type IDBPDatabase } from 'idb';
import type { Checksum } from '../hub/checksum';
import type { AdapterReport, DataSettings, EvaluationReport, RunSettings, WeightFormat } from '../protocol';

/** The visitor's data file as it was given, and how it was last read. */
export interface StoredRows {
  fileName: string;
  file: Blob;
  /** What the mapping was guessed from may guess differently later, so the visitor's own choice is kept. */
  settings: DataSettings | null;
  savedAt: number;
}

/** A step's point in the plots. */
export interface StepPoint {
  step: number;
  loss: number | null;
  epsilon: number | null;
  clippedShare: number | null;
  medianNorm: number | null;
}

/** A run that may be gone on with. */
export interface StoredRun {
  run: RunSettings;
  modelName: string;
  weights: WeightFormat;
  fingerprint: string;
  /** Steps in the last checkpoint; null before the first one. */
  checkpointStep: number | null;
  points: StepPoint[];
  evaluations: EvaluationReport[];
  savedAt: number;
}

/** An adapter in PEFT form, kept so that a reload or a lost device does not lose it. */
export interface StoredAdapter {
  report: AdapterReport;
  modelName: string;
  files: { name: string; bytes: Uint8Array }[];
  savedAt: number;
}

/** A file of a cached model. */
export interface StoredModelFile {
  /** Path in the repository. */
  path: string;
  size: number;
  /** What the hub says of its content; null where it says nothing. */
  checksum: Checksum | null;
  /** Name in the origin's private file system. */
  stored: string;
  /** True once all bytes are there and match the checksum. Until then the file is never read as a model's. */
  complete: boolean;
}

/** A model kept in the browser, whole or in part. */
export interface StoredModel {
  repo: string;
  /** What the visitor asked for: a branch, a tag or a commit. */
  revision: string;
  commit: string;
  /** What the files hold: the repository's own bytes, or the engine's quantised form of them. */
  form: 'original' | WeightFormat;
  files: StoredModelFile[];
  savedAt: number;
}

export interface Schema extends DBSchema {
  /** Key: fingerprint/session. */
  ledgers: { key: string; value: Uint8Array };
  /** Hashes of the rows of each data set in the ledger; key: fingerprint. Since version 2. */
  rowHashes: { key: string; value: Uint8Array };
  checkpoints: { key: 'current'; value: Uint8Array };
  rows: { key: 'current'; value: StoredRows };
  runs: { key: 'current'; value: StoredRun };
  adapters: { key: string; value: StoredAdapter };
  settings: { key: string; value: unknown };
  /** Key: repo@commit#form. Since version 3. */
  models: { key: string; value: StoredModel };
}

const NAME = 'vaultlab';
const VERSION = 3;

let opened: Promise<IDBPDatabase<Schema>> | null = null;

export function database(): Promise<IDBPDatabase<Schema>> {
  opened ??= openDB<Schema>(NAME, VERSION, {
    // Only adds: what an older version of the page kept, its ledgers above all, stays as it is.
    upgrade(db) {
      for (const store of ['ledgers', 'rowHashes', 'checkpoints', 'rows', 'runs', 'adapters', 'settings', 'models'] as const) {
        if (!db.objectStoreNames.contains(store)) db.createObjectStore(store);
      }
    },
    // A newer version of the page in another tab must not hang on this connection.
    blocking(_current, _blocked, event) {
      (event.target as IDBDatabase).close();
      opened = null;
    },
    terminated() {
      opened = null;
    },
  });
  // A failed opening is not remembered: storage may be allowed, or have room, the next time.
  opened.catch(() => (opened = null));
  return opened;
}
