// What can go wrong with the hub, told apart and said in words.

import { EngineFailure } from '../engine/failure';
import * as format from '../format';
import type { ErrorCode } from '../protocol';
import { HUB, repoPage } from './address';

export type HubProblem =
  | 'gated'
  | 'notAccepted'
  | 'wrongToken'
  | 'forbidden'
  | 'notFound'
  | 'rateLimited'
  | 'unavailable'
  | 'unreachable'
  | 'unsuitable'
  | 'damaged'
  | 'noRoom'
  | 'busy'
  | 'cancelled';

const KEPT = 'The model that was loaded before is still there.';

export class HubFailure extends EngineFailure {
  constructor(
    readonly problem: HubProblem,
    message: string,
    advice: string,
    kept = KEPT,
    code: ErrorCode = 'network',
  ) {
    super({ code, message, kept, advice });
    this.name = 'HubFailure';
  }
}

/** What was asked for: `what` is a file or a repository as the message names it. */
export interface Asked {
  what: string;
  repo: string | null;
  withToken: boolean;
}

/** The failure behind an answer that is not 2xx. */
export function refusal(response: Response, asked: Asked): HubFailure {
  const { what, repo, withToken } = asked;
  const gated = response.headers.get('x-error-code') === 'GatedRepo';
  const licence = repo === null ? 'its page' : repoPage(repo);
  switch (response.status) {
    case 401:
      if (withToken && !gated) {
        return new HubFailure('wrongToken', 'The hub does not know this token.', `Copy it again from ${HUB}/settings/tokens, or clear the field: public models need none.`);
      }
      if (gated) {
        return new HubFailure('gated', `${what} is gated: the hub gives it only to accounts that accepted its licence.`, `Accept the licence at ${licence}, make a read token at ${HUB}/settings/tokens, enter it and try again; or pick a copy that is not gated.`);
      }
      return new HubFailure('notFound', `${what} does not exist, or is private.`, 'Check the name; for a private repository, enter a token that may read it.');
    case 403:
      if (gated) {
        return new HubFailure('notAccepted', `This token's account has no access to ${what} yet.`, `Accept the licence at ${licence} with the account the token is from; some licences are granted by hand, which takes a while. A fine-grained token also needs the right to read gated repositories.`);
      }
      return new HubFailure('forbidden', `The hub refuses ${what} (403).`, withToken ? 'Use a token with the right to read this repository.' : 'Enter a token that may read it.');
    case 404:
      return new HubFailure('notFound', `${what} was not found.`, missingAdvice(response));
    case 429: {
      const wait = retryAfter(response);
      return new HubFailure('rateLimited', 'The hub has had too many requests from this address.', wait === null ? 'Wait five minutes and try again; with a token the limit is higher.' : `Try again in ${format.duration(wait)}; with a token the limit is higher.`, kept());
    }
    default:
      return new HubFailure('unavailable', `The hub could not answer for ${what} (${response.status}).`, 'Try again in a few minutes.', kept());
  }
}

function missingAdvice(response: Response): string {
  switch (response.headers.get('x-error-code')) {
    case 'RevisionNotFound':
      return 'The repository is there, but not this revision: name a branch, a tag or a commit that it has.';
    case 'EntryNotFound':
      return 'The repository is there, but not this file.';
    default:
      return 'Check owner and name.';
  }
}

/** No answer at all. */
export function unreachable(what: string, cause: unknown): HubFailure {
  const detail = cause instanceof Error ? cause.message : 'no answer';
  return new HubFailure('unreachable', `${what} could not be downloaded: ${detail}.`, 'Check the connection and load again; a download goes on where it stopped.', kept());
}

export function cancelled(what: string): HubFailure {
  return new HubFailure('cancelled', `${what} could not be downloaded: it was cancelled.`, 'Load it again to go on where it stopped.', kept());
}

function kept(): string {
  return `${KEPT} What was downloaded so far is kept, if the browser lets this page store it.`;
}

/** Seconds to wait, if the answer says so and a browser may read it. */
export function retryAfter(response: Response): number | null {
  const header = response.headers.get('retry-after');
  if (header !== null) {
    const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
    if (Number.isFinite(seconds)) return Math.max(0, seconds);
  }
  // The hub's own header: "resolvers";r=0;t=120.
  const reset = /(?:^|;)\s*t=(\d+)/.exec(response.headers.get('ratelimit') ?? '');
  return reset === null ? null : Number(reset[1]);
}
