// Packed data files: .gz, .tar and .tar.gz, unpacked within bounds.

import { EngineFailure } from '../engine/failure';
import * as format from '../format';

/** A file inside an archive. */
export interface Member {
  name: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Most bytes taken out of one archive; a bomb ends here. */
export const LARGEST = 256 * 1024 * 1024;
const BLOCK = 512;
const ROWS = /\.(tsv|csv|jsonl?|ndjson|txt)$/i;

export function isPacked(name: string): boolean {
  return /\.(gz|tgz|tar)$/i.test(name);
}

/** The data files of an archive; of a plain .gz its one file. */
export async function unpack(file: Blob, name: string, largest: number = LARGEST): Promise<Member[]> {
  const gzip = /\.(gz|tgz)$/i.test(name);
  const bytes = gzip ? await gunzip(file, name, largest) : await bounded(file.stream(), name, largest);
  if (/\.(tar|tgz|tar\.gz)$/i.test(name)) return members(bytes, name);
  return [{ name: name.replace(/\.gz$/i, ''), bytes }];
}

/** The member most likely meant: MTNT's training pairs, else the only one; null if the visitor must say. */
export function likely(members: Member[]): Member | null {
  const mtnt = members.find(({ name }) => /(^|\/)train\.en-fr\.tsv$/.test(name));
  return mtnt ?? (members.length === 1 ? members[0]! : null);
}

/** MTNT's files have no header: id, source and target. The engine takes columns by name. */
export function withHeader({ name, bytes }: Member): File {
  const base = name.split('/').pop()!;
  const start = new TextDecoder().decode(bytes.subarray(0, 32));
  const headless = /\.(en-fr|fr-en|en-ja|ja-en)\.tsv$/.test(base) && /^\d+\t/.test(start);
  const header = headless ? ['id\tsource\ttarget\n'] : [];
  return new File([...header, bytes], base);
}

async function gunzip(file: Blob, name: string, largest: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await bounded(file.stream().pipeThrough(new DecompressionStream('gzip')), name, largest);
  } catch (cause) {
    if (cause instanceof EngineFailure) throw cause;
    // What a browser throws for damaged data is a TypeError without details.
    throw bad(`${name} is not a whole gzip file`, 'Download it again, or unpack it yourself and pick the file inside.');
  }
}

async function bounded(stream: ReadableStream<Uint8Array<ArrayBuffer>>, name: string, largest: number): Promise<Uint8Array<ArrayBuffer>> {
  const reader = stream.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    size += read.value.byteLength;
    if (size > largest) {
      await reader.cancel().catch(() => {});
      throw bad(`${name} unpacks to more than ${format.bytes(largest)}`, 'Unpack it yourself and pick the part you need.');
    }
    chunks.push(read.value);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/** Data files of a tar archive (POSIX.1-1988 ustar; its later extensions only add entries of other types). */
function members(tar: Uint8Array<ArrayBuffer>, archive: string): Member[] {
  const found: Member[] = [];
  for (let at = 0; at + BLOCK <= tar.byteLength; ) {
    const header = tar.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) break;
    if (number(header, 148, 8) !== checksum(header)) throw bad(`${archive} is no tar archive, or is damaged at byte ${at}`, 'Download it again.');
    const size = number(header, 124, 12);
    const start = at + BLOCK;
    if (!(size >= 0) || start + size > tar.byteLength) throw bad(`${archive} ends inside one of its files`, 'Download it again.');
    const prefix = text(header, 345, 155);
    const name = (prefix ? `${prefix}/` : '') + text(header, 0, 100);
    const regular = header[156] === 0 || header[156] === 0x30;
    // macOS writes a file of attributes beside each file.
    const hidden = /(^|\/)\._/.test(name);
    if (regular && !hidden && size > 0 && ROWS.test(name)) found.push({ name, bytes: tar.subarray(start, start + size) });
    at = start + Math.ceil(size / BLOCK) * BLOCK;
  }
  if (found.length === 0) throw bad(`${archive} holds no data file`, 'It should hold JSON, JSONL, CSV, TSV or text.');
  return found;
}

function text(header: Uint8Array, at: number, length: number): string {
  const field = header.subarray(at, at + length);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end === -1 ? field : field.subarray(0, end));
}

function number(header: Uint8Array, at: number, length: number): number {
  const octal = text(header, at, length).trim();
  return /^[0-7]+$/.test(octal) ? Number.parseInt(octal, 8) : Number.NaN;
}

/** Sum of the header's bytes, its own field counted as blanks. */
function checksum(header: Uint8Array): number {
  return header.reduce((sum, byte, index) => sum + (index >= 148 && index < 156 ? 32 : byte), 0);
}

function bad(message: string, advice: string): EngineFailure {
  return new EngineFailure({ code: 'badData', message: `${message}.`, kept: 'The rows that were loaded before are still there.', advice });
}
