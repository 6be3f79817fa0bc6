// Which models are kept in this browser. The bytes are in the private file system; what they are, and whether they are
// whole and verified, is said here alone.

import { database, type StoredModel, type StoredModelFile } from './database';
import type { FileStore } from './files';

export function modelKey(model: Pick<StoredModel, 'repo' | 'commit' | 'form'>): string {
  return `${model.repo}@${model.commit}#${model.form}`;
}

/** The record of a model; made if it is not there, with the files it will have. */
export async function beginModel(model: Omit<StoredModel, 'files' | 'savedAt'>, files: Omit<StoredModelFile, 'stored' | 'complete'>[]): Promise<StoredModel> {
  const transaction = (await database()).transaction('models', 'readwrite');
  const key = modelKey(model);
  const known = await transaction.store.get(key);
  const all = files.map((file) => known?.files.find(({ path, size }) => path === file.path && size === file.size) ?? { ...file, stored: crypto.randomUUID(), complete: false });
  // Files of an earlier choice stay listed: they are on the disk, and deleting the model must find them.
  const others = known?.files.filter((file) => !all.some(({ path }) => path === file.path)) ?? [];
  const record: StoredModel = { ...model, files: [...all, ...others], savedAt: Date.now() };
  await Promise.all([transaction.store.put(record, key), transaction.done]);
  return record;
}

/** Marks a file whole and verified, or not. */
export async function markFile(key: string, path: string, complete: boolean): Promise<void> {
  const transaction = (await database()).transaction('models', 'readwrite', { durability: 'strict' });
  const model = await transaction.store.get(key);
  if (model) {
    for (const file of model.files) if (file.path === path) file.complete = complete;
    await transaction.store.put(model, key);
  }
  await transaction.done;
}

export async function storedModel(key: string): Promise<StoredModel | null> {
  return (await (await database()).get('models', key)) ?? null;
}

/** A kept model as the page lists it. */
export interface KeptModel {
  key: string;
  model: StoredModel;
  /** Bytes on the disk. */
  bytes: number;
  /** Bytes when whole. */
  total: number;
  whole: boolean;
}

export async function listModels(files: FileStore): Promise<KeptModel[]> {
  const db = await database();
  const models = await db.getAll('models');
  return Promise.all(
    models.map(async (model) => {
      const sizes = await Promise.all(model.files.map(async (file) => (await files.get(file.stored))?.size ?? 0));
      return {
        key: modelKey(model),
        model,
        bytes: sizes.reduce((sum, size) => sum + size, 0),
        total: model.files.reduce((sum, file) => sum + file.size, 0),
        whole: model.files.every((file, index) => file.complete && sizes[index] === file.size),
      };
    }),
  );
}

/** Deletes a model. The record goes last: what could not be deleted stays listed. */
export async function forgetModel(files: FileStore, key: string): Promise<void> {
  const model = await storedModel(key);
  for (const file of model?.files ?? []) await files.remove(file.stored);
  await (await database()).delete('models', key);
}

/** Deletes files that no record knows, as a crash between the two may leave. */
export async function sweep(files: FileStore): Promise<void> {
  const known = new Set((await (await database()).getAll('models')).flatMap((model) => model.files.map((file) => file.stored)));
  for (const name of await files.names()) if (!known.has(name)) await files.remove(name).catch(() => {});
}
