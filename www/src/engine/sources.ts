// Turns files and addresses into byte sources that the engine reads in pieces.

import type { ByteSource } from 'engine-module';
import type { ErrorReport } from '../protocol';
import { blobSource } from './blob';
import { EngineFailure } from './failure';
import type { SourceFile } from './wire';

export interface DownloadProgress {
  name: string;
  done: number;
  /** Bytes in all, 0 if the server does not say. */
  total: number;
  etaSeconds: number | null;
}

/** Opens all sources. Addresses are downloaded one after the other, with progress over each; files of the hub together. */
export async function openSources(
  files: SourceFile[],
  signal: AbortSignal,
  onProgress: (progress: DownloadProgress) => void,
): Promise<ByteSource[]> {
  const remote = files.filter((file) => file.kind === 'hub');
  // Only those who ask for a model of the hub need the code for it.
  const sources = remote.length > 0 ? await (await import('../hub/open')).openHubFiles(remote, signal, onProgress) : [];
  for (const file of files) {
    if (file.kind === 'hub') continue;
    const blob = file.kind === 'file' ? file.file : await download(file.name, file.url, signal, onProgress);
    sources.push(blobSource(file.name, blob));
  }
  return sources;
}

/** Chunks are folded into a blob this often, so that the JavaScript heap never holds a whole checkpoint. */
const FOLD_BYTES = 16 * 1024 * 1024;

async function download(
  name: string,
  url: string,
  signal: AbortSignal,
  onProgress: (progress: DownloadProgress) => void,
): Promise<Blob> {
  let response: Response;
  try {
    response = await fetch(url, { signal });
  } catch (cause) {
    throw networkFailure(name, signal, cause);
  }
  if (!response.ok || response.body === null) {
    throw new EngineFailure(downloadReport(name, `the server answered ${response.status}`));
  }
  // With a content encoding, the length is that of the compressed bytes and says nothing about ours.
  const encoded = response.headers.get('content-encoding') !== null;
  const total = encoded ? 0 : Number(response.headers.get('content-length') ?? 0);
  const started = performance.now();
  const reader = response.body.getReader();
  const folded: Blob[] = [];
  let pending: Uint8Array<ArrayBuffer>[] = [];
  let pendingBytes = 0;
  let done = 0;
  for (;;) {
    let chunk: ReadableStreamReadResult<Uint8Array<ArrayBuffer>>;
    try {
      chunk = await reader.read();
    } catch (cause) {
      throw networkFailure(name, signal, cause);
    }
    if (chunk.done) break;
    pending.push(chunk.value);
    pendingBytes += chunk.value.byteLength;
    done += chunk.value.byteLength;
    if (pendingBytes >= FOLD_BYTES) {
      folded.push(new Blob(pending));
      pending = [];
      pendingBytes = 0;
    }
    onProgress({ name, done, total, etaSeconds: eta(started, done, total) });
  }
  if (total > 0 && done !== total) {
    throw new EngineFailure(downloadReport(name, `only ${done} of ${total} bytes arrived`));
  }
  return new Blob([...folded, ...pending]);
}

function eta(started: number, done: number, total: number): number | null {
  if (total === 0 || done === 0) return null;
  return ((performance.now() - started) / 1000) * (total / done - 1);
}

function networkFailure(name: string, signal: AbortSignal, cause: unknown): EngineFailure {
  if (signal.aborted) return new EngineFailure(downloadReport(name, 'it was cancelled'));
  const detail = cause instanceof Error ? cause.message : 'the connection failed';
  return new EngineFailure(downloadReport(name, detail));
}

function downloadReport(name: string, detail: string): ErrorReport {
  return {
    code: 'network',
    message: `${name} could not be downloaded: ${detail}.`,
    kept: 'Everything that was loaded before is still there.',
    advice: 'Check the connection and load the model again, or pick the files from your disk.',
  };
}
