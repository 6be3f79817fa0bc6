// The accounting module as wasm-bindgen emits it; it runs on the main thread. The module's own
// declarations are only there once it is built, and the page's types are checked without it too.

import type { PlanPhase, PlanReply, PlanRequest, TracePoint } from '../protocol';

/** σ, ε, noise and advice of a plan. Throws an `Error` with a message for the visitor. */
export function plan(request: PlanRequest): PlanReply;

/** ε along a run, from step 0 to its end, in at most `points` points. */
export function epsilonTrace(samplingRate: number, noiseMultiplier: number, steps: number, delta: number, points: number): TracePoint[];

/** ε at δ of several phases on the same rows. */
export function epsilonOfPhases(phases: PlanPhase[], delta: number): number;

/** Fetches and starts the module. */
export default function init(): Promise<unknown>;
