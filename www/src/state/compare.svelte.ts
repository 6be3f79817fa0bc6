// The same question to the base model and to adapters, side by side.

import type { Adapters } from './adapters.svelte';
import { blank, type Exchange, type Talk } from './talk.svelte';

export class Compare {
  question = $state('');
  columns = $state<Exchange[]>([]);

  constructor(
    readonly talk: Talk,
    readonly adapters: Adapters,
  ) {}

  /** The last private and the last non-private adapter: what a comparison is mostly about. */
  get usual(): string[] {
    const newest = [...this.adapters.list].reverse();
    const picked = [newest.find((adapter) => !adapter.withoutPrivacy), newest.find((adapter) => adapter.withoutPrivacy)];
    return picked.flatMap((adapter) => (adapter ? [adapter.name] : []));
  }

  async run(question: string, adapters: string[]): Promise<void> {
    this.question = question;
    this.columns = [null, ...adapters].map((adapter) => blank(question, adapter));
    for (const column of this.columns) await this.talk.answer('compare', column);
  }
}
