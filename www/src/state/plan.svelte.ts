// The plan of a run: what the visitor chooses, and what the accountant answers.

import { adviseOn, type Advice } from '../privacy/advice';
import type { PlanAnswer, Planner, PlanQuestion } from '../privacy/planner';
import type { RunSettings } from '../protocol';
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

export const DEFAULT_PLAN: PlanForm = {
  by: 'epsilon',
  targetEpsilon: 8,
  sigma: 1,
  delta: 1e-5,
  logicalBatch: 64,
  steps: 100,
  clipNorm: 1,
  learningRate: 5e-3,
  rank: 8,
  alpha: 16,
  dropout: 0,
  targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
  microBatch: 8,
  warmupSteps: 5,
  weightDecay: 0,
  evaluateEvery: 10,
  checkpointEvery: 10,
};

export class Plan {
  form = $state<PlanForm>({ ...DEFAULT_PLAN, targets: [...DEFAULT_PLAN.targets] });
  planner = $state.raw<Planner | null>(null);

  /** What is asked of the accountant; null while an input is missing or out of range. */
  readonly question = $derived.by((): PlanQuestion | null => {
    const { by, targetEpsilon, sigma, delta, logicalBatch, steps } = this.form;
    const rows = this.data.rows?.trainRows ?? 0;
    const given = by === 'epsilon' ? targetEpsilon : sigma;
    const sound = rows > 0 && given > 0 && delta > 0 && delta < 1 && logicalBatch >= 1 && steps >= 1;
    if (!sound) return null;
    return { rows, batch: logicalBatch, steps, delta, by: by === 'epsilon' ? { epsilon: targetEpsilon } : { sigma } };
  });

  /** σ and ε of the plan, or why there is none. */
  readonly answer = $derived.by((): PlanAnswer | { problem: string } | null => {
    if (!this.planner || !this.question) return null;
    try {
      return this.planner.answer(this.question);
    } catch (cause) {
      return { problem: cause instanceof Error ? cause.message : String(cause) };
    }
  });

  readonly advice = $derived.by((): Advice[] => {
    if (!this.question || !this.answer || 'problem' in this.answer) return [];
    return adviseOn(this.question, this.answer, this.data.ledger?.epsilon ?? 0);
  });

  /** Projections that the loaded model has, of those chosen. */
  readonly targets = $derived.by((): string[] => {
    const has = this.session.model?.loraTargets;
    return has ? this.form.targets.filter((target) => has.includes(target)) : this.form.targets;
  });

  readonly ready = $derived(this.answer !== null && !('problem' in this.answer) && this.targets.length > 0);

  constructor(
    readonly session: Session,
    readonly data: Data,
  ) {}

  async restore(): Promise<void> {
    const kept = await keptSettings.load<Partial<PlanForm>>('plan').catch(() => null);
    if (kept) this.form = { ...this.form, ...kept };
  }

  async keep(): Promise<void> {
    await keptSettings.save('plan', $state.snapshot(this.form)).catch(() => {});
  }

  /** The run as the engine takes it. Without privacy, everything but the privacy is the same. */
  settings(name: string, isPrivate: boolean): RunSettings | null {
    const answer = this.answer;
    if (!answer || 'problem' in answer) return null;
    const form = $state.snapshot(this.form);
    return {
      name,
      privacy: isPrivate
        ? {
            noiseMultiplier: answer.sigma,
            clipNorm: form.clipNorm,
            delta: form.delta,
            budgetEpsilon: form.by === 'epsilon' ? form.targetEpsilon : answer.epsilon,
          }
        : null,
      steps: form.steps,
      logicalBatch: form.logicalBatch,
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
}
