// Checksums as the hub states them: SHA-256 for large files, git's own SHA-1 for small ones.

import type { IHasher } from 'hash-wasm';

export interface Checksum {
  /** `sha256` of the bytes; `gitBlob` is SHA-1 of "blob", the length, a zero byte, and the bytes. */
  kind: 'sha256' | 'gitBlob';
  hex: string;
}

/** A checksum over bytes that come in pieces; the browser's own digest wants them all at once. */
export async function hasher(kind: Checksum['kind'], size: number): Promise<IHasher> {
  const { createSHA1, createSHA256 } = await import('hash-wasm');
  const hash = kind === 'sha256' ? await createSHA256() : await createSHA1();
  hash.init();
  if (kind === 'gitBlob') hash.update(new TextEncoder().encode(`blob ${size}\0`));
  return hash;
}
