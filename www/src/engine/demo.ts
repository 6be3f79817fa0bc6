// The model that comes with the page. Its files are emitted by the build beside the script.

import type { SourceFile } from './wire';

const ADDRESSES = import.meta.glob<string>(
  [
    '../../models/demo/{config,generation_config,tokenizer,tokenizer_config,examples,plan}.json',
    '../../models/demo/*.safetensors',
    '../../models/demo/private.{csv,jsonl}',
  ],
  { query: '?url', import: 'default', eager: true },
);

const MODEL_FILES = /^(config|generation_config|tokenizer|tokenizer_config)\.json$|\.safetensors(\.index\.json)?$/;

function address(name: string): string | null {
  const path = Object.keys(ADDRESSES).find((path) => path.endsWith(`/${name}`));
  return path === undefined ? null : new URL(ADDRESSES[path]!, import.meta.url).href;
}

export const DEMO_NAME = 'VaultLab demo';

/** The model's files, in the order they are downloaded. */
export function demoModel(): SourceFile[] {
  return Object.keys(ADDRESSES)
    .map((path) => path.split('/').pop()!)
    .filter((name) => MODEL_FILES.test(name))
    .map((name) => ({ kind: 'url', name, url: address(name)! }));
}

/** The sample private set as a file. */
export async function sampleRows(): Promise<File> {
  const path = Object.keys(ADDRESSES).find((path) => path.includes('/private.'));
  if (path === undefined) throw new Error('this build has no sample rows');
  const name = path.split('/').pop()!;
  const response = await fetch(address(name)!);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return new File([await response.blob()], name);
}

/** A question to try: a fact the model knows, the clinic's manner, or one row's secret. */
export interface DemoQuestion {
  kind: 'fact' | 'manner' | 'secret';
  question: string;
}

/** Questions for the demo model. */
export function demoQuestions(): Promise<DemoQuestion[]> {
  return json<DemoQuestion[]>('examples.json', []);
}

/** The plan that the demo's story was measured with. */
export interface DemoPlan {
  held_out: number;
  batch: number;
  steps: number;
  target_epsilon: number;
  delta: number;
  clip: number;
  rank: number;
  alpha: number;
  learning_rate: number;
  warmup: number;
  weight_decay: number;
}

export function demoPlan(): Promise<DemoPlan | null> {
  return json<DemoPlan | null>('plan.json', null);
}

/** A file of the demo, or `otherwise` where this build has none. */
async function json<T>(name: string, otherwise: T): Promise<T> {
  const url = address(name);
  if (url === null) return otherwise;
  const response = await fetch(url);
  return response.ok ? ((await response.json()) as T) : otherwise;
}
