// The accountant on the main thread: it answers a slider at once, before any model is there.

import init, * as wasm from 'privacy-module';
import type { PlanReply, PlanRequest, TracePoint } from '../protocol';

/** Points of a planned ε curve: enough for a smooth line. */
const POINTS = 60;

export interface Planner {
  /** σ, ε and advice. Throws when the request cannot be planned for. */
  plan(request: PlanRequest): PlanReply;
  /** ε along the planned run. */
  trace(request: PlanRequest, reply: PlanReply): TracePoint[];
}

/** Starts the module; resolves to the planner. */
export async function startPlanner(): Promise<Planner> {
  await init();
  return {
    plan: (request) => wasm.plan(request),
    trace: ({ steps, delta }, { samplingRate, noiseMultiplier }) => wasm.epsilonTrace(samplingRate, noiseMultiplier, steps, delta, POINTS),
  };
}
