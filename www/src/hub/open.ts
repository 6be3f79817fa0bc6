// Opens a model's files on the hub for the engine: from the disk where they are kept, else from the network.

import type { ByteSource } from 'engine-module';
import { blobSource } from '../engine/blob';
import type { DownloadProgress } from '../engine/sources';
import type { HubFile } from '../engine/wire';
import { beginModel, modelKey } from '../storage/models';
import type { StoredModel } from '../storage/database';
import { privateFiles, type FileStore } from '../storage/files';
import { damaged, type RemoteFile } from './bytes';
import { fetchIntoStore, noRoom, room } from './download';
import { hasher } from './checksum';
import { PATIENCE, type Patience } from './patience';
import { remoteSource } from './remote';
import { Speed } from './speed';

/** Weights are read where the engine wants them; all else is small enough to be fetched and verified at once. */
const WEIGHTS = /\.safetensors$/;

/** Opens files of one model. Without a place to keep them the engine reads from the network. */
export async function openHubFiles(
  files: HubFile[],
  signal: AbortSignal,
  onProgress: (progress: DownloadProgress) => void,
  store: () => Promise<FileStore | null> = privateFiles,
  patience: Patience = PATIENCE,
): Promise<ByteSource[]> {
  const speed = new Speed(files.reduce((sum, file) => sum + file.size, 0), onProgress);
  const kept = files[0]!.keep ? await store() : null;
  return kept === null ? fromNetwork(files, signal, speed, patience) : fromDisk(kept, files, signal, speed, patience);
}

async function fromDisk(store: FileStore, files: HubFile[], signal: AbortSignal, speed: Speed, patience: Patience): Promise<ByteSource[]> {
  const { repo, revision, commit } = files[0]!;
  const model = await beginModel({ repo, revision, commit, form: 'original' }, files.map(({ path, size, checksum }) => ({ path, size, checksum })));
  await checkRoom(store, model, files);
  const sources: ByteSource[] = [];
  let before = 0;
  for (const file of files) {
    const stored = model.files.find(({ path }) => path === file.path)!;
    const blob = await fetchIntoStore(store, { key: modelKey(model), stored, remote: remoteFile(file, patience) }, signal, (done) => speed.at(file.name, before + done));
    before += file.size;
    sources.push(blobSource(file.name, blob));
  }
  return sources;
}

/** Refuses before the first byte what cannot end well. */
async function checkRoom(store: FileStore, model: StoredModel, files: HubFile[]): Promise<void> {
  let missing = 0;
  for (const file of files) {
    const stored = model.files.find(({ path }) => path === file.path)!;
    missing += file.size - Math.min(file.size, (await store.get(stored.stored))?.size ?? 0);
  }
  const free = await room();
  if (missing > 0 && free !== null && missing > free) throw noRoom(missing, free);
}

/** Without a place to keep them, weights pass through: only the pieces at hand are in memory, and no checksum covers them. */
async function fromNetwork(files: HubFile[], signal: AbortSignal, speed: Speed, patience: Patience): Promise<ByteSource[]> {
  let done = 0;
  const sources: ByteSource[] = [];
  for (const file of files) {
    const remote = remoteSource(file.name, remoteFile(file, patience), signal, (count) => speed.at(file.name, (done += count)));
    if (WEIGHTS.test(file.name)) {
      sources.push(remote);
      continue;
    }
    const bytes = (await remote.read(0, file.size)) as Uint8Array<ArrayBuffer>;
    if (file.checksum) {
      const hash = await hasher(file.checksum.kind, file.size);
      if (hash.update(bytes).digest('hex') !== file.checksum.hex) throw damaged({ what: what(file) }, 'its checksum is not the one the hub lists');
    }
    sources.push(blobSource(file.name, new Blob([bytes])));
  }
  return sources;
}

function remoteFile(file: HubFile, patience: Patience): RemoteFile {
  return { what: what(file), repo: file.repo, withToken: file.token !== null, url: file.url, token: file.token, size: file.size, patience };
}

function what(file: HubFile): string {
  return `${file.path} of ${file.repo}`;
}
