// What page and worker post to each other: the typed protocol, with files and bytes beside it.

import type { Reply, Request } from '../protocol';
import type { NetworkEntry } from '../requests/entry';

/** A file the worker opens for the engine. */
export type SourceFile =
  | { kind: 'file'; name: string; file: Blob }
  | { kind: 'url'; name: string; url: string };

export type ToWorker = { request: Request; files: SourceFile[] | null };

export type FromWorker =
  | { kind: 'reply'; reply: Reply; bytes: Uint8Array[] | null }
  | { kind: 'network'; entries: NetworkEntry[] };
