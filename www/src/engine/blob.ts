import type { ByteSource } from 'engine-module';

/** Reads slices of a file or blob; the browser keeps the rest on disk. */
export function blobSource(name: string, blob: Blob): ByteSource {
  return {
    name,
    size: blob.size,
    async read(start, end) {
      return new Uint8Array(await blob.slice(start, end).arrayBuffer());
    },
  };
}
