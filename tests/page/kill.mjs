// A private run whose tab or browser is killed at random moments, over and over, on one profile.

import assert from 'node:assert/strict';
import { mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { serve } from '../../tools/serve.mjs';
import { launchChromium } from '../browser/chromium.mjs';
import { giveRows, idle, modelLoaded, planned, runEnds, setField, someRows } from './page.mjs';

/** Steps of the plan. Its noise is for just these: a budget that lets more of them be charged would be no budget. */
const STEPS = 60;
const BUDGET = 8;

/** How long a slow disk keeps every write waiting. */
const DISK_BUSY_MS = 300;

/** Few short rows and a small adapter, so that a step takes a fraction of a second. */
const PLAN = {
  'target-epsilon': BUDGET,
  'logical-batch': 3,
  'micro-batch': 3,
  steps: STEPS,
  rank: 1,
  'evaluate-every': 0,
  'checkpoint-every': 1,
};

/** Numbers in [0, 1) from a seed (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class KilledRuns {
  /** What the ledger said last, and what the page showed since. */
  ledger = { epsilon: 0, steps: 0, runs: 0 };
  #shown = { epsilon: 0, steps: 0, at: 0 };
  #stepMs = 300;
  #profile = mkdtempSync(path.join(tmpdir(), 'vaultlab-kill-'));
  #server;
  #context = null;
  #page = null;
  #random;

  static async begin(folder, seed) {
    const runs = new KilledRuns();
    runs.#random = random(seed);
    runs.#server = await serve({ root: folder, port: 0 });
    await runs.#open();
    await giveRows(runs.#page, 'rows.csv', someRows(20));
    for (const [field, value] of Object.entries(PLAN)) await setField(runs.#page, field, value);
    for (const target of ['k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']) {
      await runs.#page.getByRole('checkbox', { name: target }).uncheck();
    }
    await planned(runs.#page);
    // The form is kept a moment after its last change.
    await runs.#page.waitForTimeout(600);
    return runs;
  }

  async end() {
    await this.#context?.close().catch(() => {});
    await this.#server.close();
    rmSync(this.#profile, { recursive: true, force: true });
  }

  /**
   * Trains, kills at a random moment, comes back, and compares the ledger with what was shown before and with what it
   * said the round before. With `slowDisk`, every write waits its turn behind another one.
   */
  async round({ kill, slowDisk }) {
    this.#shown = { epsilon: this.ledger.epsilon, steps: 0, at: 0 };
    if (slowDisk) await this.#page.evaluate(keepDiskBusy, DISK_BUSY_MS);
    await this.#train();
    // Seldom before the first step, mostly in the middle of a later one.
    const steps = Math.floor(0.7 + 2.3 * this.#random());
    await this.#until(() => this.#shown.steps >= steps);
    const moment = performance.now() + this.#random() * 1.5 * this.#stepMs;
    // Two steps later at the latest, so that the plan has steps for all rounds.
    await this.#until(() => performance.now() >= moment || this.#shown.steps >= steps + 2);
    await (kill === 'tab' ? this.#killTab() : this.#killBrowser());

    const before = this.ledger;
    const shown = this.#shown;
    await this.#comeBack();
    const { epsilon, steps: charged } = this.ledger;
    assert.ok(epsilon >= before.epsilon && charged >= before.steps, `the ledger went back from ${JSON.stringify(before)} to ${epsilon}, ${charged} steps`);
    assert.ok(epsilon >= shown.epsilon, `ε = ${shown.epsilon} was shown, and the ledger has ${epsilon}`);
    assert.ok(charged >= before.steps + shown.steps, `${shown.steps} steps were shown after ${before.steps}, and the ledger has ${charged}`);
    assert.ok(epsilon <= BUDGET && charged <= STEPS, `ε = ${epsilon} after ${charged} steps is beyond the budget`);
    return `${kill}${slowDisk ? ', slow disk' : ''}: ${shown.steps} steps shown, ${charged - before.steps} charged, ε = ${epsilon.toFixed(3)}`;
  }

  /** Lets the run go on to its end: what the kills have cost must be missing from it. */
  async finish() {
    const charged = this.ledger.steps;
    await this.#train();
    await Promise.any(['finished', 'budgetSpent'].map((end) => runEnds(this.#page, end)));
    await idle(this.#page);
    await this.#readLedger();
    assert.ok(this.ledger.steps > charged, 'a resumed run goes on');
    assert.ok(this.ledger.epsilon <= BUDGET && this.ledger.steps <= STEPS, `the budget holds over all kills: ${JSON.stringify(this.ledger)}`);
    const { step, end } = await this.#page.getByTestId('run').evaluate(({ dataset }) => ({ ...dataset }));
    // A step that was charged and then lost is missing at the end, where the budget stops the run.
    assert.equal(end, Number(step) < STEPS ? 'budgetSpent' : 'finished');
    return { ...this.ledger, taken: Number(step), end };
  }

  /** Another file with half of the rows: it bears what they have spent. */
  async shareRows() {
    const spent = this.ledger.epsilon;
    await giveRows(this.#page, 'other.csv', someRows(30).split('\n').filter((_, line) => line === 0 || line > 10).join('\n'));
    const overlap = await this.#page.getByTestId('overlap').innerText();
    assert.match(overlap, /^[1-9]\d* of these \d+ rows were used before as part of another data set of \d+ rows, in 1 run, /);
    await this.#readLedger();
    assert.ok(this.ledger.epsilon >= spent, `${this.ledger.epsilon} for rows that have spent ${spent}`);
    return overlap;
  }

  async #open() {
    if (this.#context === null) {
      this.#context = await launchChromium({ webgpu: false, profile: this.#profile });
      this.#context.setDefaultTimeout(60_000);
      await this.#context.exposeBinding('reportShown', (_source, shown) => this.#note(shown));
    }
    this.#page = await this.#context.newPage();
    await this.#page.goto(this.#server.url);
    await modelLoaded(this.#page);
  }

  async #train() {
    const resume = this.#page.getByTestId('resume');
    await this.#page.evaluate(watchSteps);
    await ((await resume.count()) > 0 ? resume : this.#page.getByTestId('train-private')).click();
  }

  #note({ epsilon, step }) {
    const now = performance.now();
    const { steps, at } = this.#shown;
    if (at > 0) this.#stepMs = now - at;
    this.#shown = { epsilon: Math.max(epsilon, this.#shown.epsilon), steps: steps + 1, at: now, step };
  }

  /** The renderer is gone at once, as when the system takes a tab's memory back. */
  async #killTab() {
    const crashed = this.#page.waitForEvent('crash');
    const session = await this.#context.newCDPSession(this.#page);
    session.send('Page.crash').catch(() => {});
    await crashed;
    await this.#page.close();
  }

  /** The whole browser is gone at once, with what it had not written. */
  async #killBrowser() {
    const closed = this.#context.waitForEvent('close');
    // Chromium names its process in the profile's lock.
    process.kill(Number(readlinkSync(path.join(this.#profile, 'SingletonLock')).split('-').pop()), 'SIGKILL');
    await closed;
    this.#context = null;
  }

  async #comeBack() {
    await this.#open();
    await this.#page.getByTestId('restore').click();
    await this.#page.getByTestId('rows-report').waitFor();
    await idle(this.#page);
    await this.#readLedger();
  }

  async #readLedger() {
    const data = await this.#page.getByTestId('ledger').evaluate(({ dataset }) => ({ ...dataset }));
    this.ledger = { epsilon: Number(data.epsilon), steps: Number(data.steps), runs: Number(data.runs) };
  }

  async #until(reached) {
    for (let waited = 0; !reached(); waited += 5) {
      assert.ok(waited < 60_000, 'no step was shown in a minute');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

/** Reports every step that the page comes to show. */
function watchSteps() {
  let last = null;
  const look = () => {
    const run = document.querySelector('[data-testid=run]')?.dataset;
    const epsilon = Number(document.querySelector('[data-testid=epsilon-spent]')?.dataset.epsilon ?? 0);
    const step = Number(run?.step ?? 0);
    if (run?.end !== 'running') return;
    if (last !== null && step > last) window.reportShown({ epsilon, step });
    last = step;
  };
  new MutationObserver(look).observe(document.querySelector('[data-testid=section-train]'), { subtree: true, childList: true, attributes: true });
}

/** Holds all stores of the page's database for so many milliseconds at a time; others get their turns in between. */
function keepDiskBusy(milliseconds) {
  return new Promise((resolve) => {
    const opening = indexedDB.open('vaultlab');
    opening.onsuccess = () => {
      const database = opening.result;
      const hold = () => {
        const transaction = database.transaction(database.objectStoreNames, 'readwrite');
        const until = performance.now() + milliseconds;
        const store = transaction.objectStore(database.objectStoreNames[0]);
        const again = () => {
          if (performance.now() < until) store.count().onsuccess = again;
        };
        transaction.oncomplete = () => setTimeout(hold, 5);
        again();
      };
      hold();
      resolve();
    };
  });
}
