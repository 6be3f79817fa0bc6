// Files in memory, for tests: Node has no private file system.

import type { FileStore } from '../storage/files';

export function memoryFiles(): FileStore {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  return {
    async open(name) {
      let bytes = files.get(name) ?? new Uint8Array();
      files.set(name, bytes);
      const resize = (size: number): void => {
        const next = new Uint8Array(size);
        next.set(bytes.subarray(0, size));
        files.set(name, (bytes = next));
      };
      return {
        get size() {
          return bytes.byteLength;
        },
        write(piece, at) {
          if (at + piece.byteLength > bytes.byteLength) resize(at + piece.byteLength);
          bytes.set(piece, at);
        },
        read(into, at) {
          const part = bytes.subarray(at, at + into.byteLength);
          into.set(part);
          return part.byteLength;
        },
        truncate: resize,
        flush() {},
        close() {},
      };
    },
    get: async (name) => (files.has(name) ? new Blob([files.get(name)!]) : null),
    remove: async (name) => void files.delete(name),
    names: async () => [...files.keys()],
  };
}
