// One request, asked again for as long as that is polite.

import { cancelled, refusal, retryAfter, unreachable, type Asked } from './failure';

/** How often and how long to wait; tests make it short. */
export interface Patience {
  /** Attempts in a row that bring nothing. */
  attempts: number;
  /** Wait before the second attempt, in seconds; doubles after each. */
  firstWait: number;
  /** Longest wait between attempts; a server that asks for more is not asked again. */
  longestWait: number;
  /** Seconds without a byte after which a connection counts as dead. */
  silence: number;
}

export const PATIENCE: Patience = { attempts: 6, firstWait: 1, longestWait: 60, silence: 30 };

export interface Ask extends Asked {
  url: string;
  token: string | null;
  /** First byte wanted, and the one after the last; null asks without a Range header. */
  range: { start: number; end: number | null } | null;
  signal: AbortSignal;
  patience: Patience;
}

/** An answer worth reading, and what ends its connection. */
export interface Answer {
  response: Response;
  abort: () => void;
}

/** Sends one request. Rejects with a {@link HubFailure} when asking again is pointless, or with {@link Passing}. */
export async function askOnce(ask: Ask): Promise<Answer> {
  const headers = new Headers();
  if (ask.token) headers.set('Authorization', `Bearer ${ask.token}`);
  // One plain range is the form that needs no preflight of its own.
  if (ask.range) headers.set('Range', `bytes=${ask.range.start}-${ask.range.end === null ? '' : ask.range.end - 1}`);
  const control = new AbortController();
  const abort = (): void => {
    ask.signal.removeEventListener('abort', abort);
    control.abort();
  };
  ask.signal.addEventListener('abort', abort, { once: true });
  const timer = setTimeout(abort, ask.patience.silence * 1000);
  try {
    const response = await fetch(ask.url, { headers, signal: control.signal });
    if (response.ok) return { response, abort };
    await response.body?.cancel();
    const failure = refusal(response, ask);
    if (response.status === 429 || response.status === 408 || response.status >= 500) throw new Passing(failure, retryAfter(response), false);
    throw failure;
  } catch (cause) {
    if (ask.signal.aborted) throw cancelled(ask.what);
    // A browser says the same of a dropped connection and of a preflight that failed on the way.
    if (cause instanceof TypeError || (cause instanceof DOMException && cause.name === 'AbortError')) {
      throw new Passing(unreachable(ask.what, cause instanceof TypeError ? cause : new Error('no answer')), null, ask.range !== null);
    }
    throw cause;
  } finally {
    clearTimeout(timer);
  }
}

/** A failure that may pass. */
export class Passing extends Error {
  constructor(
    readonly failure: Error,
    /** Seconds the server asks to wait. */
    readonly wait: number | null,
    /** True if the Range header may be the reason. */
    readonly blameRange: boolean,
  ) {
    super(failure.message);
  }
}

/** Waits before attempt number `failed + 1`, or gives up by throwing what failed. */
export async function wait(passing: Passing, failed: number, patience: Patience, signal: AbortSignal, what: string): Promise<void> {
  // Spread by up to a quarter, so that many tabs do not come back together.
  const own = Math.min(patience.longestWait, patience.firstWait * 2 ** (failed - 1)) * (0.75 + Math.random() / 4);
  const seconds = Math.max(own, passing.wait ?? 0);
  if (failed >= patience.attempts || seconds > Math.max(patience.longestWait, own)) throw passing.failure;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, seconds * 1000);
    const stop = (): void => {
      clearTimeout(timer);
      reject(cancelled(what));
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}

/** Asks until there is an answer. */
export async function ask(asked: Ask): Promise<Answer> {
  for (let failed = 1; ; failed++) {
    try {
      return await askOnce(asked);
    } catch (cause) {
      if (!(cause instanceof Passing)) throw cause;
      await wait(cause, failed, asked.patience, asked.signal, asked.what);
    }
  }
}

/** The whole of a small answer; its body is part of the attempt. */
export async function askForText(asked: Omit<Ask, 'range'>): Promise<string> {
  for (let failed = 1; ; failed++) {
    const { response } = await ask({ ...asked, range: null });
    try {
      return await response.text();
    } catch (cause) {
      if (asked.signal.aborted) throw cancelled(asked.what);
      await wait(new Passing(unreachable(asked.what, cause), null, false), failed, asked.patience, asked.signal, asked.what);
    }
  }
}
