// A training run: what it reports, and how it is paused, stopped and gone on with.

import { EngineFailure } from '../engine/failure';
import type { SourceFile } from '../engine/wire';
import type { Command, Event, EvaluationReport, RunSettings, StepReport, TrainEnd } from '../protocol';
import type { StepPoint, StoredRun } from '../storage/database';
import { askToPersist, keptRun } from '../storage/keep';
import type { Adapters } from './adapters.svelte';
import { alone } from './alone';
import type { Data } from './data.svelte';
import type { Session } from './session.svelte';

interface Shown {
  record: StoredRun | null;
  run: RunSettings | null;
  points: StepPoint[];
  evaluations: EvaluationReport[];
  end: TrainEnd | null;
  paused: StoredRun | null;
}

export class Training {
  /** Settings of the run on show; it may be over. */
  run = $state<RunSettings | null>(null);
  points = $state.raw<StepPoint[]>([]);
  evaluations = $state.raw<EvaluationReport[]>([]);
  latest = $state<StepReport | null>(null);
  end = $state<TrainEnd | null>(null);
  /** A run that can be gone on with. */
  paused = $state.raw<StoredRun | null>(null);
  active = $state(false);
  /** What the visitor asked of the running job; it acts at the end of the step. */
  asked = $state<'pause' | 'stop' | 'cancel' | null>(null);

  #record: StoredRun | null = null;
  #stepsTaken = 0;
  /** What was on show before this run: it comes back when the run is refused. */
  #before: Shown | null = null;

  constructor(
    readonly session: Session,
    readonly data: Data,
    readonly adapters: Adapters,
  ) {}

  /** Trains a new adapter. A paused run is given up. */
  start(run: RunSettings): Promise<void> {
    return alone(async () => {
      const { model } = this.session;
      const { rows } = this.data;
      if (!model || !rows) return;
      await keptRun.forget().catch(() => {});
      if (run.privacy) await askToPersist();
      this.#show({
        run,
        modelName: model.name,
        weights: model.weights,
        fingerprint: rows.fingerprint,
        checkpointStep: null,
        points: [],
        evaluations: [],
        savedAt: Date.now(),
      });
      // Kept before the first checkpoint: a tab that is closed right after it finds the run it belongs to.
      await this.#keep();
      await this.#train(run.name, { type: 'train', run }, null);
    });
  }

  /** Goes on from the kept checkpoint. */
  resume(): Promise<void> {
    return alone(async () => {
      const kept = await keptRun.load();
      const checkpoint = await keptRun.checkpoint();
      if (!kept || !checkpoint) throw goneCheckpoint();
      // Steps after the checkpoint are taken again: their old points would be drawn twice.
      const upTo = kept.checkpointStep ?? 0;
      this.#show({
        ...kept,
        points: kept.points.filter((point) => point.step <= upTo),
        evaluations: kept.evaluations.filter((evaluation) => evaluation.step <= upTo),
      });
      await this.#train(kept.run.name, { type: 'resumeTraining' }, [
        { kind: 'file', name: 'checkpoint', file: new Blob([checkpoint as Uint8Array<ArrayBuffer>]) },
      ]);
    });
  }

  /** Finds a run that an earlier visit left unfinished. */
  async restore(): Promise<void> {
    const kept = await keptRun.load();
    if (!kept || !(await keptRun.checkpoint())) return;
    this.paused = kept;
    this.run = kept.run;
    this.points = kept.points;
    this.evaluations = kept.evaluations;
    this.end = 'paused';
  }

  async ask(what: 'pause' | 'stop' | 'cancel'): Promise<void> {
    this.asked = what;
    await this.session.control({ type: what === 'pause' ? 'pause' : 'stop' });
  }

  /** Gives a paused run up: its checkpoint goes, its charge stays. */
  async giveUp(): Promise<void> {
    this.paused = null;
    await keptRun.forget();
  }

  async #train(name: string, command: Command, files: SourceFile[] | null): Promise<void> {
    this.active = true;
    this.asked = null;
    try {
      await this.session.run('train', `Training ${name}`, command, (event) => this.#take(event), files);
    } finally {
      const refused = this.end === null && this.latest === null;
      if (refused) this.#bringBack();
      // A run that the budget ended before its first step has learnt nothing worth keeping.
      else await this.#settle(this.asked === 'cancel' || (this.end === 'budgetSpent' && this.#stepsTaken === 0));
      this.asked = null;
      this.active = false;
    }
  }

  /** Whatever ended the run, keep what can be kept. */
  async #settle(discard: boolean): Promise<void> {
    const record = this.#record;
    if (!record) return;
    const over = this.end !== null && this.end !== 'paused';
    if (over) await keptRun.forget().catch(() => {});
    else if (record.checkpointStep !== null) {
      await this.#keep();
      this.paused = { ...record, points: this.points, evaluations: this.evaluations };
    }
    const { name, privacy } = record.run;
    if (this.end !== null) await this.session.notices.attempt('adapters', () => (discard ? this.adapters.remove(name) : this.adapters.keep(name)));
    if (!privacy) return;
    // After a failure as well: what was charged until then is spent. An engine that is gone tells once it is back.
    const read = (): Promise<void> => this.data.readLedger(privacy.delta);
    await (this.end === null ? read().catch(() => {}) : this.session.notices.attempt('plan', read));
  }

  #show(record: StoredRun): void {
    this.#before = { record: this.#record, run: this.run, points: this.points, evaluations: this.evaluations, end: this.end, paused: this.paused };
    this.#record = record;
    this.paused = null;
    this.run = record.run;
    this.points = record.points;
    this.evaluations = record.evaluations;
    this.latest = null;
    this.end = null;
  }

  #bringBack(): void {
    const before = this.#before;
    if (!before) return;
    this.#record = before.record;
    this.run = before.run;
    this.points = before.points;
    this.evaluations = before.evaluations;
    this.end = before.end;
    this.paused = before.paused;
  }

  #take(event: Event): void {
    switch (event.type) {
      case 'step':
        this.latest = event;
        this.points = [
          ...this.points,
          {
            step: event.step,
            loss: event.loss,
            epsilon: event.epsilon,
            clippedShare: event.clippedShare,
            medianNorm: event.medianNorm,
          },
        ];
        break;
      case 'evaluation':
        this.evaluations = [...this.evaluations.filter((old) => old.step !== event.step), event];
        break;
      case 'checkpointSaved':
        if (this.#record) this.#record.checkpointStep = event.step;
        void this.#keep();
        break;
      case 'trainEnded':
        this.end = event.end;
        this.#stepsTaken = event.step;
        this.adapters.add(event.adapter);
        break;
    }
  }

  async #keep(): Promise<void> {
    if (!this.#record) return;
    try {
      await keptRun.save({
        ...this.#record,
        run: $state.snapshot(this.#record.run),
        points: this.points,
        evaluations: this.evaluations,
        savedAt: Date.now(),
      });
    } catch {
      this.session.notices.warn('train', 'The browser does not let this page store the run; it cannot be resumed after a reload.');
    }
  }
}

function goneCheckpoint(): EngineFailure {
  return new EngineFailure({
    code: 'badCheckpoint',
    message: 'There is no checkpoint any more: another tab has finished this run or begun a new one.',
    kept: 'The adapters and the ledger are as they were.',
    advice: 'Reload the page to see what the other tab left, or start a new run.',
  });
}
