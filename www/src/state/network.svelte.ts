import type { NetworkEntry } from '../requests/entry';

/** Every request that page and engine made, in order. */
export class Network {
  entries = $state.raw<NetworkEntry[]>([]);

  add = (entries: NetworkEntry[]): void => {
    if (entries.length === 0) return;
    this.entries = [...this.entries, ...entries].sort((a, b) => a.at - b.at);
  };
}
