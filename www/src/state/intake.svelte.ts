// Where rows come from besides a plain file: the notebooks' data sets, and packed files.

import { isPacked, likely, unpack, withHeader, type Member } from '../hub/archive';
import { fetchRows, PRESETS, type Preset } from '../hub/datasets';
import { HubFailure } from '../hub/failure';
import type { DataSettings } from '../protocol';
import type { Data } from './data.svelte';

export class Intake {
  /** A fetch from the hub; null when there is none. */
  fetching = $state<{ name: string; done: number; total: number } | null>(null);
  /** Files of an archive, when the visitor must say which is meant. */
  members = $state.raw<Member[]>([]);

  #control: AbortController | null = null;

  constructor(readonly data: Data) {}

  /** Reads a file, packed or not. */
  async open(file: Blob, name: string): Promise<void> {
    this.members = [];
    if (!isPacked(name)) return this.#take({ name, file });
    const members = await unpack(file, name);
    const meant = likely(members);
    if (meant) await this.choose(meant);
    else this.members = members;
  }

  /** Takes one file of an archive. */
  async choose(member: Member): Promise<void> {
    this.members = [];
    await this.#take({ name: member.name.split('/').pop()!, file: new Blob([member.bytes]) });
  }

  /** Fetches the first rows of a data set of the hub. */
  async fetch(preset: Preset, count: number): Promise<void> {
    const control = new AbortController();
    this.#control = control;
    this.members = [];
    this.fetching = { name: preset.name, done: 0, total: count };
    let file: File;
    try {
      file = await fetchRows(preset, count, control.signal, (done) => (this.fetching = { name: preset.name, done, total: count }));
    } catch (cause) {
      if (!control.signal.aborted) throw cause;
      throw new HubFailure('cancelled', `Fetching ${preset.name} was cancelled.`, 'Fetch them again when you like.', 'The rows that were loaded before are still there.');
    } finally {
      this.fetching = null;
    }
    await this.data.open(file, file.name, this.#fitted(preset.settings));
  }

  cancel(): void {
    this.#control?.abort();
  }

  async #take({ name, file }: { name: string; file: Blob }): Promise<void> {
    const mtnt = /\.en-fr\.tsv$/.test(name) ? PRESETS.find(({ id }) => id === 'mtnt') : undefined;
    if (!mtnt) return this.data.open(file, name);
    const named = withHeader({ name, bytes: new Uint8Array(await file.arrayBuffer()) });
    const settings = this.#fitted(mtnt.settings);
    // An encoder-decoder reads the source by itself; a decoder must be told what to do with it.
    if (this.data.session.model?.modelType.startsWith('t5gemma')) settings.template = { beforePrompt: '', beforeResponse: '' };
    await this.data.open(named, name, settings);
  }

  /** A copy of a preset's settings, no longer than the model's context. */
  #fitted(settings: DataSettings): DataSettings {
    const context = this.data.session.model?.context ?? Infinity;
    return { ...structuredClone(settings), maxTokens: Math.min(settings.maxTokens, context) };
  }
}
