// What a repository holds: its commit, and those files that make up a model.

import type { HubFile } from '../engine/wire';
import { fileUrl, HUB } from './address';
import type { Checksum } from './checksum';
import { HubFailure } from './failure';
import { ask, askForText, PATIENCE, type Patience } from './patience';

export interface RepoFile {
  path: string;
  size: number;
  checksum: Checksum | null;
}

/** A repository at one commit. */
export interface Repo {
  repo: string;
  revision: string;
  commit: string;
  gated: boolean;
  files: RepoFile[];
  /** config.json as it is; proof that the files may be read, too. */
  config: string;
}

const SIDE_FILES = new Set(['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json', 'tokenizer.model', 'chat_template.jinja']);
const WEIGHTS = /^model(-\d{5}-of-\d{5})?\.safetensors$/;
const INDEX = 'model.safetensors.index.json';

/** The files an engine needs, small ones first, so that a mistake shows before the weights are fetched. */
export function modelFiles(all: RepoFile[]): RepoFile[] {
  const files = all.filter(({ path }) => SIDE_FILES.has(path) || path === INDEX || WEIGHTS.test(path));
  return files.sort((a, b) => Number(WEIGHTS.test(a.path)) - Number(WEIGHTS.test(b.path)) || a.path.localeCompare(b.path));
}

/**
 * Looks a repository up, pins the commit, and reads config.json, which a gated repository gives only to those who may
 * have the rest.
 */
export async function openRepo(repo: string, revision: string | null, token: string | null, signal: AbortSignal, patience: Patience = PATIENCE): Promise<Repo> {
  const { listFiles, modelInfo } = await import('@huggingface/hub');
  const asked = { repo, token, withToken: token !== null, signal, patience };
  // The library asks; how often, and what a refusal means, is decided here.
  const through: typeof fetch = async (input) => (await ask({ ...asked, what: repo, url: String(input), range: null })).response;
  const info = await modelInfo({ name: repo, hubUrl: HUB, fetch: through, additionalFields: ['sha'], ...(revision ? { revision } : {}) });
  const commit = info.sha;
  const all: RepoFile[] = [];
  for await (const entry of listFiles({ repo, revision: commit, hubUrl: HUB, fetch: through })) {
    if (entry.type !== 'file') continue;
    all.push({ path: entry.path, size: entry.lfs?.size ?? entry.size, checksum: checksum(entry) });
  }
  const files = modelFiles(all);
  checkComplete(repo, all, files);
  const config = await askForText({ ...asked, what: `config.json of ${repo}`, url: fileUrl(repo, commit, 'config.json') });
  return { repo, revision: revision ?? 'main', commit, gated: Boolean(info.gated), files, config };
}

function checksum(entry: { oid?: string; lfs?: { oid: string } }): Checksum | null {
  if (entry.lfs) return /^[0-9a-f]{64}$/.test(entry.lfs.oid) ? { kind: 'sha256', hex: entry.lfs.oid } : null;
  return entry.oid && /^[0-9a-f]{40}$/.test(entry.oid) ? { kind: 'gitBlob', hex: entry.oid } : null;
}

/** Says by name what a repository lacks that the engine cannot do without. */
function checkComplete(repo: string, all: RepoFile[], files: RepoFile[]): void {
  const has = (test: (path: string) => boolean): boolean => files.some(({ path }) => test(path));
  const missing: string[] = [];
  if (!has((path) => path === 'config.json')) missing.push('config.json');
  if (!has((path) => path === 'tokenizer.json' || path === 'tokenizer.model')) missing.push('tokenizer.json');
  if (!has((path) => WEIGHTS.test(path))) missing.push('model.safetensors');
  if (missing.length === 0) return;
  const gguf = all.some(({ path }) => path.endsWith('.gguf')) ? ' It holds GGUF files: download one and pick it from the disk.' : '';
  throw new HubFailure('unsuitable', `${repo} has no ${missing.join(', no ')}, so it is no checkpoint that can be loaded here.`, `Pick a repository in Transformers’ layout.${gguf}`);
}

/** The files as the worker opens them. */
export function asSources({ repo, revision, commit, files }: Omit<Repo, 'config' | 'gated'>, token: string | null, keep: boolean): HubFile[] {
  return files.map(({ path, size, checksum }) => ({
    kind: 'hub',
    name: path.split('/').pop()!,
    repo,
    revision,
    commit,
    path,
    url: fileUrl(repo, commit, path),
    size,
    checksum,
    token,
    keep,
  }));
}
