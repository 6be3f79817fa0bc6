// A file of the hub that the engine reads straight from the network, for visitors who keep nothing on disk.

import type { ByteSource } from 'engine-module';
import { bytesFrom, type RemoteFile } from './bytes';

/** A forward jump up to this far is read over; a longer one is a new request. */
const READ_OVER = 4 * 1024 * 1024;

/**
 * Reads a remote file in ranges. Reads that follow each other share one connection; only the chunk at hand is held.
 * `onBytes` is told how many bytes a read brought.
 */
export function remoteSource(name: string, file: RemoteFile, signal: AbortSignal, onBytes: (count: number) => void): ByteSource {
  let position = 0;
  let stream: AsyncGenerator<Uint8Array<ArrayBuffer>> | null = null;
  let rest: Uint8Array<ArrayBuffer> = new Uint8Array();
  let last: Promise<unknown> = Promise.resolve();

  async function seek(start: number): Promise<void> {
    if (stream !== null && start >= position && start - position <= READ_OVER) return;
    await stream?.return(undefined);
    stream = bytesFrom(file, start, signal);
    rest = new Uint8Array();
    position = start;
  }

  async function read(start: number, end: number): Promise<Uint8Array> {
    if (start < 0 || end > file.size || start > end) throw new RangeError(`${name} has no bytes ${start} to ${end}`);
    await seek(start);
    const wanted = new Uint8Array(end - start);
    try {
      while (position < end) {
        if (rest.byteLength === 0) {
          const next = await stream!.next();
          if (next.done) throw new RangeError(`${name} ended at byte ${position}`);
          rest = next.value;
          onBytes(rest.byteLength);
        }
        const take = Math.min(rest.byteLength, position < start ? start - position : end - position);
        if (position >= start) wanted.set(rest.subarray(0, take), position - start);
        rest = rest.subarray(take);
        position += take;
      }
    } catch (cause) {
      stream = null;
      throw cause;
    }
    return wanted;
  }

  return {
    name,
    size: file.size,
    // One connection: reads take turns.
    read(start, end) {
      const turn = last.then(() => read(start, end));
      last = turn.catch(() => {});
      return turn;
    },
  };
}
