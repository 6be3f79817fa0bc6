/// <reference types="vite/client" />
/// <reference types="svelte" />

interface ImportMetaEnv {
  /** Another address of the hub: a mirror, or the tests' stand-in. */
  readonly VITE_HUB_URL?: string;
  /** Another address of the server of data set rows. */
  readonly VITE_ROWS_URL?: string;
  /** Client id of an OAuth app of the hub; without one there is no sign-in button. */
  readonly VITE_HF_CLIENT_ID?: string;
}

/** Only workers have it, so TypeScript's DOM library leaves it out. */
interface FileSystemSyncAccessHandle {
  getSize(): number;
  read(into: BufferSource, options?: { at?: number }): number;
  write(bytes: BufferSource, options?: { at?: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

interface FileSystemFileHandle {
  createSyncAccessHandle(): Promise<FileSystemSyncAccessHandle>;
}
