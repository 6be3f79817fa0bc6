/** One network request that the page or its worker made. */
export interface NetworkEntry {
  /** Who asked. */
  from: 'page' | 'engine';
  url: string;
  /** What asked for it: document, script, link, fetch, ... as Resource Timing names it. */
  kind: string;
  outcome: 'answered' | 'failed' | 'blocked';
  /** Bytes over the network; null if the browser does not tell. */
  bytes: number | null;
  /** Milliseconds since 1970. */
  at: number;
}
