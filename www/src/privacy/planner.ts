// The accountant on the main thread: it answers a slider at once, before any model is there.

import init, * as wasm from 'privacy-module';

/** The sampling and noise of a run, and what was asked of it. */
export interface PlanQuestion {
  /** Rows the sampler draws from. */
  rows: number;
  /** Expected logical batch. */
  batch: number;
  steps: number;
  delta: number;
  /** Either the ε to reach or the noise multiplier to use. */
  by: { epsilon: number } | { sigma: number };
}

export interface PlanAnswer {
  samplingRate: number;
  sigma: number;
  epsilon: number;
}

export interface Planner {
  answer(question: PlanQuestion): PlanAnswer;
}

/** Starts the module; resolves to the planner. */
export async function startPlanner(): Promise<Planner> {
  await init();
  return {
    answer({ rows, batch, steps, delta, by }) {
      const samplingRate = Math.min(1, batch / rows);
      const sigma = 'sigma' in by ? by.sigma : wasm.calibrate(by.epsilon, samplingRate, steps, delta);
      return { samplingRate, sigma, epsilon: wasm.epsilon(samplingRate, sigma, steps, delta) };
    },
  };
}
