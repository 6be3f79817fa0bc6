// Adapters beside the base model: those trained here, and those brought along.

import { admitsNoPrivacy, type AdapterFile, claim, fileSafe, packAdapter, unpackAdapter } from '../adapters/archive';
import { EngineFailure } from '../engine/failure';
import type { SourceFile } from '../engine/wire';
import type { AdapterReport } from '../protocol';
import type { StoredAdapter } from '../storage/database';
import { keptAdapters } from '../storage/keep';
import type { Session } from './session.svelte';

export class Adapters {
  list = $state<AdapterReport[]>([]);
  /** What adapters brought along say of their privacy; the page cannot check it. */
  claims = $state<Record<string, string>>({});

  constructor(readonly session: Session) {
    session.afterModel.push(() => this.#replay());
  }

  find(name: string | null): AdapterReport | undefined {
    return this.list.find((adapter) => adapter.name === name);
  }

  /** Takes an adapter that the engine holds into the list. */
  add(report: AdapterReport): void {
    this.list = [...this.list.filter((adapter) => adapter.name !== report.name), report];
  }

  /** A name that no adapter has yet. */
  freeName(wish: string): string {
    if (!this.find(wish)) return wish;
    for (let n = 2; ; n++) if (!this.find(`${wish}-${n}`)) return `${wish}-${n}`;
  }

  async files(name: string): Promise<AdapterFile[]> {
    let files: AdapterFile[] | null = null;
    await this.session.run('adapters', `Packing ${name}`, { type: 'exportAdapter', adapter: name }, (event, bytes) => {
      if (event.type !== 'adapterFiles' || !bytes) return;
      files = event.files.map((file, index) => ({ name: file, bytes: bytes[index]! }));
    });
    if (files === null) {
      throw new EngineFailure({
        code: 'internal',
        message: 'The engine gave no files for this adapter.',
        kept: 'The adapter is still loaded.',
        advice: 'Try again; if it happens again, restart the engine.',
      });
    }
    return files;
  }

  /** The adapter as a zip archive that PEFT reads once unpacked. */
  async zip(name: string): Promise<File> {
    // The kept files are those of the training itself, with its statement; the engine may hold a copy read back from them.
    const kept = await this.#kept(name);
    const archive = packAdapter(kept?.files ?? (await this.files(name)));
    return new File([archive], `${fileSafe(name)}.zip`, { type: 'application/zip' });
  }

  /** Keeps a copy in this browser, so that a reload or a lost device does not lose it. */
  async keep(name: string, files?: AdapterFile[]): Promise<void> {
    const report = this.find(name);
    if (!report || !this.session.model) return;
    const stored: StoredAdapter = {
      report: $state.snapshot(report),
      modelName: this.session.model.name,
      files: files ?? (await this.files(name)),
      savedAt: Date.now(),
    };
    try {
      await keptAdapters.save(stored);
    } catch {
      this.session.notices.warn('adapters', `The browser does not let this page store “${name}”. Save it to a file before you leave.`);
    }
  }

  async import(picked: { name: string; blob: Blob }[]): Promise<string> {
    const files = await unpackAdapter(picked);
    const archive = picked.find(({ name }) => /\.zip$/i.test(name));
    const name = this.freeName(archive ? archive.name.replace(/\.zip$/i, '') : 'imported');
    await this.#give(name, files);
    const report = this.find(name);
    if (report && admitsNoPrivacy(files)) this.add({ ...report, withoutPrivacy: true });
    await this.keep(name, files);
    return name;
  }

  async remove(name: string): Promise<void> {
    await this.session.run('adapters', `Removing ${name}`, { type: 'removeAdapter', adapter: name });
    this.list = this.list.filter((adapter) => adapter.name !== name);
    await keptAdapters.forget(name);
  }

  async #kept(name: string): Promise<StoredAdapter | null> {
    const kept = await keptAdapters.load(name).catch(() => null);
    return kept?.modelName === this.session.model?.name ? kept : null;
  }

  async #give(name: string, files: AdapterFile[]): Promise<void> {
    const says = claim(files);
    if (says !== null) this.claims[name] = says;
    const sources: SourceFile[] = files.map((file) => ({
      kind: 'file',
      name: file.name,
      file: new Blob([file.bytes as Uint8Array<ArrayBuffer>]),
    }));
    await this.session.run(
      'adapters',
      `Loading ${name}`,
      { type: 'importAdapter', name },
      (event) => {
        if (event.type === 'adapter') this.add(event);
      },
      sources,
    );
  }

  /** A fresh engine has no adapters: give it those kept for this model. */
  async #replay(): Promise<void> {
    this.list = [];
    const kept = await keptAdapters.all().catch(() => []);
    for (const { report, modelName, files } of kept) {
      if (modelName !== this.session.model?.name) continue;
      await this.session.notices.attempt('adapters', async () => {
        await this.#give(report.name, files);
        // The report made when it was trained says more than the files: keep its privacy label.
        this.add(report);
      });
    }
  }
}
