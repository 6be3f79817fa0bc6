// The small accounting module as wasm-bindgen emits it; it runs on the main thread.

/** ε of T Poisson-subsampled Gaussian steps at δ. */
export function epsilon(samplingRate: number, noiseMultiplier: number, steps: number, delta: number): number;
/** The smallest noise multiplier whose ε is at most the target. */
export function calibrate(targetEpsilon: number, samplingRate: number, steps: number, delta: number): number;
/** ε after each of the given step counts. */
export function epsilonTrace(samplingRate: number, noiseMultiplier: number, steps: number, delta: number, points: number): Float64Array;

/** Fetches and starts the module. */
export default function init(): Promise<unknown>;
