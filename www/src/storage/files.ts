// Large files in the origin's private file system. Written in the worker, read by either side.

/** A file being written. */
export interface OpenFile {
  readonly size: number;
  write(bytes: Uint8Array<ArrayBuffer>, at: number): void;
  /** Fills `into` from `at`; returns how many bytes there were. */
  read(into: Uint8Array<ArrayBuffer>, at: number): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

/** Files by name. */
export interface FileStore {
  /** Opens for writing, and creates what is not there. One writer at a time: a second one is refused. */
  open(name: string): Promise<OpenFile>;
  /** The file as it is; null if there is none. */
  get(name: string): Promise<Blob | null>;
  remove(name: string): Promise<void>;
  names(): Promise<string[]>;
}

const FOLDER = 'models';

async function folder(): Promise<FileSystemDirectoryHandle> {
  return (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
}

function isMissing(cause: unknown): boolean {
  return cause instanceof DOMException && cause.name === 'NotFoundError';
}

/** The browser's own; null where it has none, as in some private windows. */
export async function privateFiles(): Promise<FileStore | null> {
  try {
    await folder();
  } catch {
    return null;
  }
  return {
    async open(name) {
      const access = await (await (await folder()).getFileHandle(name, { create: true })).createSyncAccessHandle();
      return {
        get size() {
          return access.getSize();
        },
        write(bytes, at) {
          // A full disk may take a part without complaint.
          const written = access.write(bytes, { at });
          if (written < bytes.byteLength) throw new DOMException('the disk took only a part', 'QuotaExceededError');
        },
        read: (into, at) => access.read(into, { at }),
        truncate: (size) => access.truncate(size),
        flush: () => access.flush(),
        close: () => access.close(),
      };
    },
    async get(name) {
      try {
        return await (await (await folder()).getFileHandle(name)).getFile();
      } catch (cause) {
        if (isMissing(cause)) return null;
        throw cause;
      }
    },
    async remove(name) {
      try {
        await (await folder()).removeEntry(name);
      } catch (cause) {
        if (!isMissing(cause)) throw cause;
      }
    },
    async names() {
      const names: string[] = [];
      for await (const name of (await folder()).keys()) names.push(name);
      return names;
    },
  };
}
