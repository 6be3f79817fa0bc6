// A remote file as one stream of bytes that survives dropped connections.

import { cancelled, HubFailure, unreachable } from './failure';
import { askOnce, Passing, wait, type Ask, type Answer } from './patience';

export interface RemoteFile extends Omit<Ask, 'range' | 'signal'> {
  /** Length as the hub lists it. */
  size: number;
}

/**
 * The bytes from `start` to the end of the file, in the chunks they arrive in. A broken connection is taken up again at
 * the byte it broke at; where the server gives no ranges, the file is streamed again and the part already had is dropped.
 * Nothing is read ahead of the consumer.
 */
export async function* bytesFrom(file: RemoteFile, start: number, signal: AbortSignal): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let at = start;
  let failed = 0;
  let ranges = true;
  while (at < file.size) {
    let answer: Answer | null = null;
    try {
      answer = await askOnce({ ...file, signal, range: at > 0 && ranges ? { start: at, end: null } : null });
      const position = positionOf(answer.response, file);
      if (position > at) throw new Passing(damaged(file, 'the hub sent another part than was asked for'), null, true);
      for await (const chunk of chunks(answer, file, signal, position, at)) {
        // A connection that brings bytes is a good one; count anew.
        failed = 0;
        at += chunk.byteLength;
        if (at > file.size) throw damaged(file, `it is longer than the ${file.size} bytes the hub lists`);
        yield chunk;
      }
      if (at < file.size) throw new Passing(unreachable(file.what, new Error(`only ${at} of ${file.size} bytes arrived`)), null, false);
    } catch (cause) {
      if (!(cause instanceof Passing)) throw cause;
      failed += 1;
      // Where a Range header may be what fails, every other attempt goes without.
      ranges = cause.blameRange ? !ranges : true;
      await wait(cause, failed, file.patience, signal, file.what);
    } finally {
      answer?.abort();
    }
  }
}

/** Where in the file an answer begins. */
function positionOf(response: Response, file: RemoteFile): number {
  if (response.status !== 206) return 0;
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '');
  // Some hosts do not let a page read this header; they still send what was asked for.
  if (range === null) return Number.NaN;
  if (range[2] !== '*' && Number(range[2]) !== file.size) throw damaged(file, `it has ${range[2]} bytes where the hub lists ${file.size}`);
  return Number(range[1]);
}

/** Chunks of an answer from `wanted` on. */
async function* chunks(answer: Answer, file: RemoteFile, signal: AbortSignal, position: number, wanted: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const reader = answer.response.body!.getReader();
  let skip = Number.isNaN(position) ? 0 : wanted - position;
  for (;;) {
    const timer = setTimeout(answer.abort, file.patience.silence * 1000);
    let read: ReadableStreamReadResult<Uint8Array<ArrayBuffer>>;
    try {
      read = await reader.read();
    } catch (cause) {
      if (signal.aborted) throw cancelled(file.what);
      throw new Passing(unreachable(file.what, cause instanceof TypeError ? cause : new Error('the connection went silent')), null, false);
    } finally {
      clearTimeout(timer);
    }
    if (signal.aborted) throw cancelled(file.what);
    if (read.done) return;
    const dropped = Math.min(skip, read.value.byteLength);
    skip -= dropped;
    if (dropped < read.value.byteLength) yield dropped === 0 ? read.value : read.value.subarray(dropped);
  }
}

export function damaged(file: { what: string }, detail: string): HubFailure {
  return new HubFailure('damaged', `${file.what} arrived damaged: ${detail}.`, 'Load it again; what was wrong has been thrown away.');
}
