// PEFT adapters in and out of zip archives.

import { unzipSync, zipSync } from 'fflate';
import { EngineFailure } from '../engine/failure';

export interface AdapterFile {
  name: string;
  bytes: Uint8Array;
}

/** What the training promised, in words; travels with the adapter. */
export const STATEMENT = 'privacy_statement.txt';

/** True if the files say of themselves that no privacy holds. Such a claim is safe to believe; its opposite is not. */
export function admitsNoPrivacy(files: AdapterFile[]): boolean {
  return claim(files)?.includes('WITHOUT PRIVACY') ?? false;
}

/** What the files say of their privacy. */
export function claim(files: AdapterFile[]): string | null {
  const statement = files.find((file) => file.name === STATEMENT);
  return statement ? new TextDecoder().decode(statement.bytes) : null;
}

/** The two files without which PEFT loads nothing. */
export const REQUIRED = ['adapter_config.json', 'adapter_model.safetensors'] as const;

/** Packs the files without compression where it would not help: safetensors of floats hardly shrink. */
export function packAdapter(files: AdapterFile[]): Uint8Array<ArrayBuffer> {
  return zipSync(
    Object.fromEntries(
      files.map(({ name, bytes }) => [name, [bytes, { level: name.endsWith('.safetensors') ? 0 : 6 }] as const]),
    ) as Parameters<typeof zipSync>[0],
  ) as Uint8Array<ArrayBuffer>;
}

/**
 * Finds the adapter's files among picked files: a zip, or the files themselves, in any folder.
 * Fails with a typed error when one of the two required files is not there.
 */
export async function unpackAdapter(picked: { name: string; blob: Blob }[]): Promise<AdapterFile[]> {
  const found: AdapterFile[] = [];
  for (const { name, blob } of picked) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    if (/\.zip$/i.test(name)) found.push(...unzip(name, bytes));
    else found.push({ name: baseName(name), bytes });
  }
  const missing = REQUIRED.filter((name) => !found.some((file) => file.name === name));
  if (missing.length > 0) {
    throw badAdapter(
      `${missing.join(' and ')} ${missing.length > 1 ? 'are' : 'is'} not among the picked files.`,
      'Pick the zip that this page saved, or both files of a PEFT adapter together.',
    );
  }
  return found;
}

function unzip(archive: string, bytes: Uint8Array): AdapterFile[] {
  let entries: Record<string, Uint8Array>;
  try {
    entries = unzipSync(bytes, { filter: (entry) => WANTED.test(baseName(entry.name)) });
  } catch {
    throw badAdapter(
      `${archive} is not a readable zip archive.`,
      'Save the adapter again, or unpack the archive and pick its files.',
    );
  }
  return Object.entries(entries).map(([name, content]) => ({ name: baseName(name), bytes: content }));
}

const WANTED = /^(adapter_config\.json|adapter_model\.safetensors|privacy_statement\.(txt|json))$/;

function baseName(path: string): string {
  return path.split('/').pop() ?? path;
}

function badAdapter(message: string, advice: string): EngineFailure {
  return new EngineFailure({ code: 'badAdapter', message, kept: 'Model and loaded adapters are unchanged.', advice });
}

/** File names that every system accepts. */
export function fileSafe(name: string): string {
  return name.replace(/[^\w.-]+/g, '-').replace(/^[-.]+|[-.]+$/g, '') || 'adapter';
}
