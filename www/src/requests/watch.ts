// Reports every request that the current thread makes. The browser's own record (Resource Timing) is
// the source; `fetch` is wrapped and policy violations are heard for those that never got an answer.

import type { NetworkEntry } from './entry';

type Report = (entries: NetworkEntry[]) => void;

export function watchNetwork(from: NetworkEntry['from'], report: Report): void {
  const blocked = new Set<string>();

  const observer = new PerformanceObserver((list) => report(list.getEntries().flatMap((entry) => fromTiming(from, entry))));
  for (const type of ['navigation', 'resource']) {
    if (PerformanceObserver.supportedEntryTypes.includes(type)) observer.observe({ type, buffered: true });
  }

  self.addEventListener('securitypolicyviolation', (violation) => {
    if (!isRemote(violation.blockedURI)) return;
    blocked.add(violation.blockedURI);
    report([{ from, url: violation.blockedURI, kind: violation.effectiveDirective, outcome: 'blocked', bytes: null, at: Date.now() }]);
  });

  const plainFetch = self.fetch.bind(self);
  self.fetch = async (input, init) => {
    try {
      return await plainFetch(input, init);
    } catch (cause) {
      const url = new Request(input, init).url;
      // The violation event, if there is one, is delivered in a task of its own.
      setTimeout(() => {
        const refused = [...blocked].some((uri) => url.startsWith(uri));
        if (!refused) report([{ from, url, kind: 'fetch', outcome: 'failed', bytes: null, at: Date.now() }]);
      });
      throw cause;
    }
  };
}

function fromTiming(from: NetworkEntry['from'], entry: PerformanceEntry): NetworkEntry[] {
  const timing = entry as PerformanceResourceTiming;
  if (!isRemote(timing.name)) return [];
  // A status of 0 is a response that the browser may not look into, or none at all; the wrapped `fetch` tells those.
  const failed = timing.responseStatus >= 400;
  return [
    {
      from,
      url: timing.name,
      kind: timing.entryType === 'navigation' ? 'document' : timing.initiatorType,
      outcome: failed ? 'failed' : 'answered',
      bytes: timing.transferSize > 0 ? timing.transferSize : null,
      at: performance.timeOrigin + timing.startTime,
    },
  ];
}

/** Blobs and data addresses stay inside the browser. */
function isRemote(url: string): boolean {
  return /^(https?|wss?):/.test(url);
}
