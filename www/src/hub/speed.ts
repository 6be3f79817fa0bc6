// How fast a download goes, over the last few seconds.

import type { DownloadProgress } from '../engine/sources';

const WINDOW = 8000;
const REPORT_EVERY = 100;

/** Turns byte counts into progress with an expected end, a few times a second. */
export class Speed {
  #points: { at: number; done: number }[] = [];
  #reported = -Infinity;

  constructor(
    readonly total: number,
    readonly report: (progress: DownloadProgress) => void,
    readonly now: () => number = () => performance.now(),
  ) {}

  at(name: string, done: number): void {
    const at = this.now();
    if (done < this.total && at - this.#reported < REPORT_EVERY) return;
    this.#reported = at;
    // Bytes that were there already, or were thrown away, are no speed.
    if (done < (this.#points.at(-1)?.done ?? 0)) this.#points = [];
    this.#points.push({ at, done });
    while (this.#points[0]!.at < at - WINDOW) this.#points.shift();
    const first = this.#points[0]!;
    const perMs = at > first.at ? (done - first.done) / (at - first.at) : 0;
    this.report({ name, done, total: this.total, etaSeconds: perMs > 0 ? (this.total - done) / perMs / 1000 : null });
  }
}
