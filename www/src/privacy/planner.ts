// The accountant on the main thread: it answers a slider at once, before any model is there.

import init, * as wasm from 'privacy-module';
import type { PlanPhase, PlanReply, PlanRequest, TracePoint } from '../protocol';

/** Points of a planned ε curve: enough for a smooth line. */
const POINTS = 60;

/** The same where each point composes everything before it anew. */
const COMPOSED_POINTS = 24;

export interface Planner {
  /** σ, ε and advice. Throws when the request cannot be planned for. */
  plan(request: PlanRequest): PlanReply;
  /** ε of the rows along the planned run, from what is spent already. */
  trace(request: PlanRequest, reply: PlanReply): TracePoint[];
}

/** Starts the module; resolves to the planner. */
export async function startPlanner(): Promise<Planner> {
  await init();
  return { plan: (request) => wasm.plan(request), trace };
}

function trace(request: PlanRequest, { samplingRate, noiseMultiplier }: PlanReply): TracePoint[] {
  const { steps, delta, earlier, batchCap, rows } = request;
  if (earlier.length === 0 && batchCap === null) return wasm.epsilonTrace(samplingRate, noiseMultiplier, steps, delta, POINTS);
  const truncation = batchCap === null ? null : { rows, cap: batchCap };
  const after = (done: number): TracePoint => {
    const run: PlanPhase = { samplingRate, noiseMultiplier, steps: done, truncation };
    return { steps: done, epsilon: wasm.epsilonOfPhases(done === 0 ? earlier : [...earlier, run], delta) };
  };
  const points = Math.min(COMPOSED_POINTS, steps);
  return Array.from({ length: points + 1 }, (_, index) => after(Math.round((index * steps) / points)));
}
