// The plan of a run: what the visitor chooses, and what the accountant answers.

import { demoPlan } from '../engine/demo';
import { loraParameters } from '../engine/lora-size';
import type { Planner } from '../privacy/planner';
import type { PlanReply, PlanRequest, PrivacySettings, RunSettings, TracePoint } from '../protocol';
import { keptSettings } from '../storage/keep';
import type { Data } from './data.svelte';
import type { Session } from './session.svelte';

/** Everything on the plan's form. */
export interface PlanForm {
  /** Which of the two is given; the other follows. */
  by: 'epsilon' | 'sigma';
  targetEpsilon: number;
  sigma: number;
  delta: number;
  logicalBatch: number;
  /** Largest batch; 0 for no limit. */
  batchCap: number;
  steps: number;
  clipNorm: number;
  learningRate: number;
  rank: number;
  alpha: number;
  dropout: number;
  targets: string[];
  microBatch: number;
  warmupSteps: number;
  weightDecay: number;
  evaluateEvery: number;
  checkpointEvery: number;
}

/** The plan of the demo's story; www/models/demo/README.md says what it gives there. */
export const DEFAULT_PLAN: PlanForm = {
  by: 'epsilon',
  targetEpsilon: 8,
  sigma: 1,
  delta: 1e-5,
  logicalBatch: 32,
  batchCap: 0,
  steps: 300,
  clipNorm: 0.5,
  learningRate: 7e-3,
  rank: 8,
  alpha: 16,
  dropout: 0,
  targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
  microBatch: 16,
  warmupSteps: 10,
  weightDecay: 0.01,
  evaluateEvery: 10,
  checkpointEvery: 10,
};

/** Part of a budget that counts as all of it: with a thousandth left, a further run would be nothing but noise. */
const USED_UP = 0.999;

export class Plan {
  form = $state<PlanForm>({ ...DEFAULT_PLAN, targets: [...DEFAULT_PLAN.targets] });
  planner = $state.raw<Planner | null>(null);

  /** Projections that the loaded model has, of those chosen. */
  readonly targets = $derived.by((): string[] => {
    const has = this.session.model?.loraTargets;
    return has ? this.form.targets.filter((target) => has.includes(target)) : this.form.targets;
  });

  /** Parameters of the adapter; null while no model is loaded. */
  readonly parameters = $derived.by((): number | null => {
    const { shape } = this.session;
    return shape && loraParameters(shape, this.form.rank, this.targets);
  });

  /** What is asked of the accountant; null while there are no rows. */
  readonly request = $derived.by((): PlanRequest | null => {
    const { by, targetEpsilon, sigma, delta, logicalBatch, batchCap, steps, clipNorm } = this.form;
    const rows = this.data.rows?.trainRows ?? 0;
    if (rows === 0) return null;
    return {
      rows,
      // The engine draws at most every row: a larger batch would only be a wrong divisor.
      expectedBatch: Math.min(logicalBatch, rows),
      steps,
      delta,
      clipNorm,
      goal: by === 'epsilon' ? { type: 'targetEpsilon', epsilon: targetEpsilon } : { type: 'noiseMultiplier', sigma },
      // With what the ledger holds, a target is for all runs together, and the noise is for what is left of it.
      earlier: this.data.ledger?.phases ?? [],
      batchCap: batchCap > 0 ? batchCap : null,
      parameters: this.parameters,
    };
  });

  /** The request that `answer` answers. The form may be ahead of it while the visitor types: an answer takes a moment. */
  asked = $state.raw<PlanRequest | null>(null);

  /** σ, ε and advice of the plan, or why there is none. */
  readonly answer = $derived.by((): PlanReply | { problem: string } | null => {
    if (!this.planner || !this.asked) return null;
    try {
      return this.planner.plan(this.asked);
    } catch (cause) {
      return { problem: cause instanceof Error ? cause.message : String(cause) };
    }
  });

  /** The same plan without a limit on the batch: what the limit costs. Null while there is no limit. */
  readonly uncapped = $derived.by((): PlanReply | null => {
    if (!this.planner || !this.asked?.batchCap || this.answer === null || 'problem' in this.answer) return null;
    try {
      return this.planner.plan({ ...this.asked, batchCap: null });
    } catch {
      return null;
    }
  });

  /** ε of these rows along the planned run, from what is spent already. */
  readonly trace = $derived.by((): TracePoint[] => {
    if (!this.planner || !this.asked || !this.answer || 'problem' in this.answer) return [];
    return this.planner.trace(this.asked, this.answer);
  });

  /** ε at which training stops by itself: what was asked for, or what these rows will have spent after the run. */
  readonly budget = $derived.by((): number | null => {
    if (this.form.by === 'epsilon') return this.form.targetEpsilon;
    return this.answer === null || 'problem' in this.answer ? null : this.answer.epsilonWithEarlier;
  });

  /** True once earlier runs have spent what the plan allows. */
  readonly usedUp = $derived.by((): boolean => {
    const spent = this.data.ledger?.epsilon ?? 0;
    return this.form.by === 'epsilon' && spent >= USED_UP * this.form.targetEpsilon;
  });

  /** Whether a run without privacy could start; a private one needs the accountant's answer as well. */
  readonly complete = $derived(this.request !== null && this.targets.length > 0);
  readonly ready = $derived(
    this.complete && this.asked === this.request && this.answer !== null && !('problem' in this.answer) && !this.usedUp,
  );

  constructor(
    readonly session: Session,
    readonly data: Data,
  ) {
    data.afterRows.push(() => data.readLedger(this.form.delta));
  }

  async restore(): Promise<void> {
    const kept = await keptSettings.load<Partial<PlanForm>>('plan').catch(() => null);
    if (kept) this.form = { ...this.form, ...kept };
  }

  /** Takes the plan over that the demo's story was measured with. */
  async useDemo(): Promise<void> {
    const demo = await demoPlan();
    if (!demo) return;
    Object.assign(this.form, {
      by: 'epsilon',
      targetEpsilon: demo.target_epsilon,
      delta: demo.delta,
      logicalBatch: demo.batch,
      steps: demo.steps,
      clipNorm: demo.clip,
      learningRate: demo.learning_rate,
      rank: demo.rank,
      alpha: demo.alpha,
      dropout: 0,
      warmupSteps: demo.warmup,
      weightDecay: demo.weight_decay,
    } satisfies Partial<PlanForm>);
    await this.keep();
  }

  async keep(): Promise<void> {
    await keptSettings.save('plan', $state.snapshot(this.form)).catch(() => {});
  }

  /** The run as the engine takes it; null while the plan is not complete. Without privacy, everything else is the same. */
  settings(name: string, isPrivate: boolean): RunSettings | null {
    const privacy = this.#privacy();
    if (!(isPrivate ? this.ready && privacy : this.complete)) return null;
    const form = $state.snapshot(this.form);
    return {
      name,
      privacy: isPrivate ? privacy : null,
      steps: form.steps,
      logicalBatch: Math.min(form.logicalBatch, this.data.rows?.trainRows ?? form.logicalBatch),
      microBatch: form.microBatch,
      learningRate: form.learningRate,
      warmupSteps: form.warmupSteps,
      weightDecay: form.weightDecay,
      lora: { rank: form.rank, alpha: form.alpha, dropout: form.dropout, targets: [...this.targets] },
      evaluateEvery: form.evaluateEvery,
      checkpointEvery: form.checkpointEvery,
      insecureSeed: null,
    };
  }

  #privacy(): PrivacySettings | null {
    const { answer, form, budget } = this;
    if (answer === null || 'problem' in answer || budget === null) return null;
    return {
      noiseMultiplier: answer.noiseMultiplier,
      clipNorm: form.clipNorm,
      delta: form.delta,
      // The session adds the steps up one by one, so its last digits may differ from the plan's.
      budgetEpsilon: form.by === 'epsilon' ? budget : budget * (1 + 1e-6),
      batchCap: form.batchCap > 0 ? form.batchCap : null,
    };
  }
}
