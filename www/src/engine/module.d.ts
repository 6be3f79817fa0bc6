// The engine's wasm module as wasm-bindgen emits it. Vite resolves the name `engine-module` to it,
// and to a scripted engine in the page's own tests.

import type { Reply, Request } from '../protocol';

/** Random access to bytes that the engine pulls in pieces, so that no whole checkpoint lies in memory. */
export interface ByteSource {
  readonly name: string;
  readonly size: number;
  read(start: number, end: number): Promise<Uint8Array>;
}

/** What the engine needs from the place it runs in. */
export interface Host {
  /** Sends an event; `bytes` holds the files that travel beside it. */
  emit(reply: Reply, bytes: Uint8Array[] | null): void;
  /** The records of all sessions that charged these rows; empty if there are none. */
  loadLedger(fingerprint: string): Promise<Uint8Array[]>;
  /** Replaces one session's record. Resolves only once it is on disk: a step may not be taken before its charge is kept. */
  saveLedger(fingerprint: string, session: string, record: Uint8Array): Promise<void>;
  /** Every data set that has charges or row hashes on record. */
  ledgerDataSets(): Promise<string[]>;
  /** Hashes of a data set's rows, which tell what it shares with others; null if they were never kept. */
  loadRowHashes(fingerprint: string): Promise<Uint8Array | null>;
  /** Resolves only once the hashes are on disk: they must be there before the first charge. */
  saveRowHashes(fingerprint: string, record: Uint8Array): Promise<void>;
  saveCheckpoint(bytes: Uint8Array): Promise<void>;
}

export class Engine {
  constructor(host: Host);
  /** Resolves when `done` or `failed` was emitted. Pause, stop and cancel may be sent while another command runs. */
  handle(request: Request, files: ByteSource[] | null): Promise<void>;
}

/** Fetches and starts the module. */
export default function init(): Promise<unknown>;
