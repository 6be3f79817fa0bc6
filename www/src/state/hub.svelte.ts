// Models from the hub: looked up, loaded, kept and deleted.

import type { SourceFile } from '../engine/wire';
import { parseRepo, HUB } from '../hub/address';
import { cleanToken, rememberedToken, rememberToken, signedIn, signIn } from '../hub/account';
import { estimate, shapeOf, verdict, type ModelShape, type Verdict } from '../hub/estimate';
import { cancelled, HubFailure } from '../hub/failure';
import { KNOWN } from '../hub/known';
import type { WeightFormat } from '../protocol';
import { askToPersist } from '../storage/keep';
import { forgetModel, listModels, sweep, type KeptModel } from '../storage/models';
import { privateFiles } from '../storage/files';
import type { Session } from './session.svelte';

/** What the estimate on the page is for: a short conversation, and the plan's usual row. */
export const USUAL = { length: 256, batch: 1 };

export class Hub {
  /** As typed. Sent to the hub alone. */
  token = $state('');
  remember = $state(false);
  keep = $state(true);
  weights = $state<WeightFormat>('nf4');
  /** What is being looked up; null when nothing is. */
  looking = $state<string | null>(null);
  kept = $state.raw<KeptModel[]>([]);

  #control: AbortController | null = null;

  constructor(readonly session: Session) {}

  /** What an earlier visit left: models, a token that was to be kept, a sign-in that comes back. */
  async restore(): Promise<void> {
    const token = await rememberedToken().catch(() => null);
    if (token) {
      this.token = token;
      this.remember = true;
    }
    const files = await privateFiles();
    if (files) await sweep(files).catch(() => {});
    await this.refresh();
    const fresh = await signedIn();
    if (fresh) this.token = fresh;
  }

  async refresh(): Promise<void> {
    const files = await privateFiles();
    this.kept = files ? await listModels(files).catch(() => []) : [];
  }

  signIn = signIn;

  async rememberToken(): Promise<void> {
    await rememberToken(this.remember ? cleanToken(this.token) : null);
  }

  /** How well a model of this shape goes on the device that is open. */
  fit(shape: ModelShape, weights: WeightFormat = this.weights): Verdict & { chat: number; training: number } {
    const { chat, training, largest } = estimate(shape, { weights, ...USUAL });
    const computerGib = (navigator as { deviceMemory?: number }).deviceMemory ?? null;
    return { ...verdict(chat, largest, this.session.device, computerGib), chat, training };
  }

  /** Loads `owner/name` or an address of the hub. `insist` loads what the estimate says is too large. */
  async load(text: string, revision: string, insist: boolean): Promise<void> {
    const named = parseRepo(text);
    if (!named) {
      throw new HubFailure('notFound', `“${text.trim()}” names no repository of the hub.`, `Enter owner/name, such as ${KNOWN[0]!.repo}, or an address that begins with ${HUB}.`);
    }
    const { repo } = named;
    const token = cleanToken(this.token);
    const { openRepo, asSources } = await import('../hub/repo');
    this.looking = repo;
    this.#control = new AbortController();
    let found;
    try {
      found = await openRepo(repo, revision.trim() || named.revision, token, this.#control.signal);
    } catch (cause) {
      if (this.#control.signal.aborted) throw cancelled(repo);
      throw cause;
    } finally {
      this.looking = null;
    }
    const shape = shapeOf(found.config);
    if (shape && !insist) this.#checkFit(repo, shape);
    await this.#open(repo, asSources(found, token, this.keep), found.config);
  }

  /** Loads a kept model; asks the network only for what is missing. */
  async loadKept({ model }: KeptModel): Promise<void> {
    const { asSources } = await import('../hub/repo');
    const config = model.files.find(({ path }) => path === 'config.json');
    const files = await privateFiles();
    const text = config && files ? await (await files.get(config.stored))?.text() : undefined;
    await this.#open(model.repo, asSources(model, cleanToken(this.token), true), text);
  }

  async forget(key: string): Promise<void> {
    const files = await privateFiles();
    try {
      if (files) await forgetModel(files, key);
    } catch (cause) {
      throw new HubFailure('busy', `The model could not be deleted: ${cause instanceof Error ? cause.message : 'the browser refused'}.`, 'It is in use in this or another tab. Load another model there, or close that tab, and try again.', 'Nothing was changed.', 'storage');
    } finally {
      await this.refresh();
    }
  }

  /** Ends a look-up. A download is the session's job, and is cancelled there. */
  cancel(): void {
    this.#control?.abort();
  }

  async #open(name: string, files: SourceFile[], config: string | undefined): Promise<void> {
    // Without it a browser short of disk may drop the model again, which is no more than a nuisance.
    if (this.keep) await askToPersist().catch(() => false);
    try {
      await this.session.loadModel({ name, files, weights: this.weights, ...(config === undefined ? {} : { config }) });
    } finally {
      await this.refresh();
    }
  }

  /** Refuses, with numbers and the nearest choice that fits, before the weights are fetched. */
  #checkFit(repo: string, shape: ModelShape): void {
    const own = this.fit(shape);
    if (own.fit !== 'no') return;
    const smaller = this.weights === 'f32' && this.fit(shape, 'nf4').fit !== 'no';
    const other = KNOWN.find((known) => known.repo !== repo && this.fit(known.shape).fit === 'fits');
    const nearest = smaller ? 'In NF4 it fits.' : other ? `${other.name} (${other.repo}) fits.` : 'Open another device.';
    throw new HubFailure(
      'unsuitable',
      `${repo} is too large for this device: it needs about ${(own.chat / 1e9).toFixed(1)} GB. ${own.reason}`,
      `${nearest} This is an estimate: “Try again” loads it all the same.`,
      undefined,
      'badModel',
    );
  }
}
