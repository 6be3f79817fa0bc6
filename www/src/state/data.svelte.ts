// The visitor's rows: the file, how it is read, and what the model will see of it.

import { EngineFailure } from '../engine/failure';
import type { DataSettings, LedgerReport, RowsReport, TableReport } from '../protocol';
import type { StoredRows } from '../storage/database';
import { keptRows } from '../storage/keep';
import type { Session } from './session.svelte';

/** The flashcard notebook's instruction form, which the demo model was trained with. */
export const NOTEBOOK_TEMPLATE = {
  beforePrompt: 'Instruction:\nAnswer this question truthfully.\n\nQuestion:\n',
  beforeResponse: '\n\nResponse:\n',
};

const LONGEST_BY_DEFAULT = 256;

export class Data {
  fileName = $state<string | null>(null);
  table = $state<TableReport | null>(null);
  settings = $state<DataSettings | null>(null);
  rows = $state<RowsReport | null>(null);
  ledger = $state<LedgerReport | null>(null);
  /** True while a change of the settings waits to be applied. */
  stale = $state(false);

  /** Run after rows were prepared: their ledger depends on what they are. */
  readonly afterRows: (() => Promise<void>)[] = [];

  #file: Blob | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly session: Session) {
    session.afterModel.push(() => this.#replay());
  }

  /** Reads a new file; what was there before is replaced once the file turned out to be readable. */
  async open(file: Blob, fileName: string, settings: DataSettings | null = null): Promise<void> {
    const table = await this.#read(file, fileName);
    this.#file = file;
    this.fileName = fileName;
    this.table = table;
    this.rows = null;
    this.ledger = null;
    this.settings = settings ?? {
      mapping: table.mapping,
      template: { ...NOTEBOOK_TEMPLATE },
      maxTokens: Math.min(LONGEST_BY_DEFAULT, this.session.model?.context ?? LONGEST_BY_DEFAULT),
      heldOut: 0.1,
    };
    if (this.session.model) await this.prepare();
    await this.#keep();
  }

  /** Tokenises the rows with the settings on the page. */
  async prepare(): Promise<void> {
    if (!this.settings) return;
    const settings = $state.snapshot(this.settings);
    this.stale = false;
    await this.session.run('data', 'Preparing rows', { type: 'prepareRows', settings }, (event) => {
      if (event.type === 'rows') this.rows = event;
    });
    for (const step of this.afterRows) await step();
  }

  /** Applies changed settings soon, once for a burst of changes. */
  prepareSoon(): void {
    this.stale = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      void this.session.notices.attempt('data', async () => {
        await this.prepare();
        await this.#keep();
      });
    }, 350);
  }

  /** Asks what was already spent on these rows, by all runs in this browser. */
  async readLedger(delta: number): Promise<void> {
    if (!this.rows) return;
    await this.session.run('plan', 'Reading the ledger', { type: 'readLedger', delta }, (event) => {
      if (event.type === 'ledger') this.ledger = event;
    });
  }

  /** Drops the rows from page and storage. The ledger stays: what was spent stays spent. */
  async forget(): Promise<void> {
    clearTimeout(this.#timer);
    this.#file = null;
    this.fileName = null;
    this.table = null;
    this.settings = null;
    this.rows = null;
    this.ledger = null;
    this.stale = false;
    await keptRows.forget();
  }

  async #read(file: Blob, fileName: string): Promise<TableReport> {
    let table: TableReport | null = null;
    await this.session.run(
      'data',
      `Reading ${fileName}`,
      { type: 'readTable', fileName },
      (event) => {
        if (event.type === 'table') table = event;
      },
      [{ kind: 'file', name: fileName, file }],
    );
    if (table === null) throw missing('table');
    return table;
  }

  /** A fresh engine has no rows: give it the file again, with the settings on the page. */
  async #replay(): Promise<void> {
    if (!this.#file || !this.fileName) return;
    await this.#read(this.#file, this.fileName);
    await this.prepare();
  }

  async #keep(): Promise<void> {
    if (!this.#file || !this.fileName) return;
    const kept: StoredRows = {
      fileName: this.fileName,
      file: this.#file,
      settings: $state.snapshot(this.settings),
      savedAt: Date.now(),
    };
    await keptRows.save(kept).catch(() => {
      this.session.notices.warn('data', 'The browser does not let this page store the rows; after a reload you will have to pick them again.');
    });
  }
}

function missing(what: string): EngineFailure {
  return new EngineFailure({
    code: 'internal',
    message: `The engine answered without a ${what}.`,
    kept: 'Rows, ledger and adapters are untouched.',
    advice: 'Try again; if it happens again, restart the engine.',
  });
}
