// Downloads a model's files into the private file system and verifies them.

import type { OpenFile, FileStore } from '../storage/files';
import { markFile } from '../storage/models';
import type { StoredModelFile } from '../storage/database';
import * as format from '../format';
import { bytesFrom, damaged, type RemoteFile } from './bytes';
import { hasher } from './checksum';
import { HubFailure } from './failure';

const READ_BACK = 1024 * 1024;
/** Bytes between flushes: about what a crash may cost. */
const FLUSH_EVERY = 64 * 1024 * 1024;

export interface Download {
  /** Key of the model's record. */
  key: string;
  stored: StoredModelFile;
  remote: RemoteFile;
}

/**
 * Brings one file onto the disk, whole and verified, going on from what is there; returns it. `onBytes` hears how many
 * bytes are done, those of an earlier visit included.
 */
export async function fetchIntoStore(files: FileStore, download: Download, signal: AbortSignal, onBytes: (done: number) => void): Promise<Blob> {
  const { key, stored, remote } = download;
  const there = stored.complete ? await files.get(stored.stored) : null;
  if (there?.size === stored.size) {
    onBytes(stored.size);
    return there;
  }
  if (stored.complete) await markFile(key, stored.path, false);
  const open = await openForWriting(files, stored.stored, remote.what);
  try {
    // Bytes from an earlier visit may be the damaged ones; so a mismatch is worth one fresh start.
    const resumed = open.size > 0;
    if (!(await fill(open, stored, remote, signal, onBytes))) {
      open.truncate(0);
      if (!resumed || !(await fill(open, stored, remote, signal, onBytes))) {
        open.truncate(0);
        throw damaged(remote, `its ${stored.checksum!.kind === 'sha256' ? 'SHA-256' : 'git hash'} is not the one the hub lists`);
      }
    }
    open.flush();
  } catch (cause) {
    throw await withoutRoom(cause, stored.size - open.size);
  } finally {
    open.close();
  }
  const file = await files.get(stored.stored);
  if (file?.size !== stored.size) throw damaged(remote, 'the browser did not keep it');
  await markFile(key, stored.path, true);
  return file;
}

/** Appends what is missing; returns whether the checksum is right. */
async function fill(open: OpenFile, stored: StoredModelFile, remote: RemoteFile, signal: AbortSignal, onBytes: (done: number) => void): Promise<boolean> {
  if (open.size > stored.size) open.truncate(0);
  const hash = stored.checksum && (await hasher(stored.checksum.kind, stored.size));
  let at = 0;
  // What an earlier visit left is hashed as it lies on the disk.
  const buffer = new Uint8Array(Math.min(READ_BACK, open.size));
  while (at < open.size) {
    const count = open.read(buffer, at);
    if (count === 0) break;
    hash?.update(buffer.subarray(0, count));
    at += count;
  }
  onBytes(at);
  let unflushed = 0;
  for await (const chunk of bytesFrom(remote, at, signal)) {
    open.write(chunk, at);
    hash?.update(chunk);
    at += chunk.byteLength;
    unflushed += chunk.byteLength;
    if (unflushed >= FLUSH_EVERY) {
      open.flush();
      unflushed = 0;
    }
    onBytes(at);
  }
  return hash === null || hash.digest('hex') === stored.checksum!.hex;
}

async function openForWriting(files: FileStore, name: string, what: string): Promise<OpenFile> {
  try {
    return await files.open(name);
  } catch (cause) {
    if (!(cause instanceof DOMException) || cause.name !== 'NoModificationAllowedError') throw cause;
    throw new HubFailure('busy', `${what} is being downloaded already.`, 'Another tab of this page has it open: wait for it there, or close that tab.');
  }
}

/** A full disk with its numbers; anything else as it is. */
async function withoutRoom(cause: unknown, missing: number): Promise<unknown> {
  if (!(cause instanceof DOMException) || cause.name !== 'QuotaExceededError') return cause;
  const estimate = await room();
  return noRoom(missing, estimate);
}

/** Bytes this page may still store; null if the browser does not say. */
export async function room(): Promise<number | null> {
  const { quota, usage } = (await navigator.storage?.estimate?.().catch(() => null)) ?? {};
  return quota === undefined || usage === undefined ? null : Math.max(0, quota - usage);
}

export function noRoom(needed: number, free: number | null): HubFailure {
  const granted = free === null ? 'the browser gives no more room' : `the browser has room for ${format.bytes(free)}`;
  return new HubFailure(
    'noRoom',
    `${format.bytes(needed)} more are to be stored, and ${granted}.`,
    'Delete a kept model below, free disk space, or switch “Keep in this browser” off: the weights then pass from the network to the device.',
    'What was downloaded so far is kept; the model that was loaded before is still there.',
    'storage',
  );
}
