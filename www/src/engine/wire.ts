// What page and worker post to each other: the typed protocol, with files and bytes beside it.

import type { Checksum } from '../hub/checksum';
import type { Reply, Request } from '../protocol';
import type { NetworkEntry } from '../requests/entry';

/** A file the worker opens for the engine. */
export type SourceFile =
  | { kind: 'file'; name: string; file: Blob }
  | { kind: 'url'; name: string; url: string }
  | HubFile;

/** A file of a repository on the hub, at one commit. */
export interface HubFile {
  kind: 'hub';
  /** Name the engine knows it by. */
  name: string;
  repo: string;
  revision: string;
  commit: string;
  /** Path in the repository. */
  path: string;
  url: string;
  size: number;
  checksum: Checksum | null;
  /** Sent to the hub only, and never written down with the model. */
  token: string | null;
  /** Whether to keep it in this browser. */
  keep: boolean;
}

export type ToWorker = { request: Request; files: SourceFile[] | null };

export type FromWorker =
  | { kind: 'reply'; reply: Reply; bytes: Uint8Array[] | null }
  | { kind: 'network'; entries: NetworkEntry[] };
