// The data sets of the reference fine-tunes, each with the columns and the form of its notebook.

import type { DataSettings } from '../protocol';
import { ROWS_SERVER } from './address';
import { HubFailure } from './failure';
import { askForText, PATIENCE, type Patience } from './patience';

export interface Preset {
  id: string;
  name: string;
  /** What it is, and its licence. */
  about: string;
  /** Repository on the hub; null where the visitor brings the file. */
  dataset: string | null;
  /** Rows in all. */
  rows: number;
  /** Rows that are of no use here are passed over. */
  keep: (row: Record<string, unknown>) => boolean;
  columns: string[];
  settings: DataSettings;
  /** Where a file of it is to be had. */
  home: string;
}

type Settings = DataSettings;

const FLASHCARDS: Settings = {
  mapping: { prompt: 'input', response: 'output' },
  template: { beforePrompt: 'Instruction:\nAnswer this question truthfully.\n\nQuestion:\n', beforeResponse: '\n\nResponse:\n' },
  maxTokens: 128,
  heldOut: 0.1,
};

const DOLLY: Settings = {
  mapping: { prompt: 'instruction', response: 'response' },
  template: { beforePrompt: 'Instruction:\n', beforeResponse: '\n\nResponse:\n' },
  maxTokens: 256,
  heldOut: 0.1,
};

const MTNT: Settings = {
  mapping: { prompt: 'source', response: 'target' },
  template: { beforePrompt: 'Translate into French:\n', beforeResponse: '\n\nFrench:\n' },
  maxTokens: 256,
  heldOut: 0.1,
};

export const PRESETS: Preset[] = [
  {
    id: 'flashcards',
    name: 'Medical flashcards',
    about: 'Questions of medical students; the VaultGemma notebook uses the first 1,000.',
    dataset: 'medalpaca/medical_meadow_medical_flashcards',
    rows: 33_955,
    keep: (row) => row['input'] !== '' && row['output'] !== '',
    columns: ['input', 'output'],
    settings: FLASHCARDS,
    home: 'https://huggingface.co/datasets/medalpaca/medical_meadow_medical_flashcards',
  },
  {
    id: 'dolly',
    name: 'Dolly, without context',
    about: 'Instructions and answers, CC BY-SA 3.0; the Keras notebook uses 1,000 that need no context.',
    dataset: 'databricks/databricks-dolly-15k',
    rows: 15_011,
    keep: (row) => row['context'] === '' || row['context'] === null,
    columns: ['instruction', 'response'],
    settings: DOLLY,
    home: 'https://huggingface.co/datasets/databricks/databricks-dolly-15k',
  },
  {
    id: 'mtnt',
    name: 'MTNT, English to French',
    about: 'Noisy text and its translation. Its release archive gives no access to web pages: download it, then drop it here.',
    dataset: null,
    rows: 0,
    keep: () => true,
    columns: ['source', 'target'],
    settings: MTNT,
    home: 'https://github.com/pmichel31415/mtnt/releases',
  },
];

/** Most rows the server gives at once. */
const PAGE = 100;

/** The first `count` rows that the preset keeps, as JSON lines. */
export async function fetchRows(preset: Preset, count: number, signal: AbortSignal, onRows: (done: number) => void, patience: Patience = PATIENCE): Promise<File> {
  const what = `the data set ${preset.dataset!}`;
  const lines: string[] = [];
  for (let offset = 0; lines.length < count; offset += PAGE) {
    const query = new URLSearchParams({ dataset: preset.dataset!, config: 'default', split: 'train', offset: String(offset), length: String(PAGE) });
    const text = await askForText({ what, repo: null, token: null, withToken: false, url: `${ROWS_SERVER}/rows?${query}`, signal, patience });
    const page = readPage(text, what);
    for (const row of page.rows) {
      if (lines.length === count) break;
      if (preset.keep(row)) lines.push(JSON.stringify(Object.fromEntries(preset.columns.map((column) => [column, row[column]]))));
    }
    onRows(lines.length);
    if (offset + PAGE >= page.total || page.rows.length === 0) break;
  }
  return new File([lines.join('\n')], `${preset.id}-${lines.length}.jsonl`, { type: 'application/jsonl' });
}

function readPage(text: string, what: string): { rows: Record<string, unknown>[]; total: number } {
  try {
    const page = JSON.parse(text) as { rows: { row: Record<string, unknown>; truncated_cells: string[] }[]; num_rows_total: number };
    // A cell the server cut short is not the row that it stands for.
    return { rows: page.rows.filter((row) => row.truncated_cells.length === 0).map(({ row }) => row), total: page.num_rows_total };
  } catch {
    throw new HubFailure('unsuitable', `The hub’s rows server answered for ${what} in a form this page does not know.`, 'Download the file and pick it.', 'The rows that were loaded before are still there.');
  }
}
