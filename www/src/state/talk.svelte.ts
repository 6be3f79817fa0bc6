// Questions and streamed answers.

import type { Answer, Sampling } from '../protocol';
import { type Data, NOTEBOOK_TEMPLATE } from './data.svelte';
import type { Place } from './notices.svelte';
import type { Session } from './session.svelte';

export interface Exchange {
  question: string;
  /** Adapter by name; null is the base model. */
  adapter: string | null;
  text: string;
  answer: Answer | null;
  state: 'waiting' | 'streaming' | 'finished' | 'failed';
}

export const GREEDY: Sampling = {
  maxNewTokens: 64,
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  seed: 0,
  stop: [],
};

export class Talk {
  exchanges = $state<Exchange[]>([]);
  sampling = $state<Sampling>({ ...GREEDY });
  adapter = $state<string | null>(null);
  /** Puts the question into the form that the rows have in training, or the demo model had. */
  useTemplate = $state(true);

  constructor(
    readonly session: Session,
    readonly data: Data,
  ) {}

  async ask(question: string): Promise<void> {
    this.exchanges.push(blank(question, this.adapter));
    await this.answer('talk', this.exchanges.at(-1)!);
  }

  /** Streams an answer into an exchange; comparisons use it as well. */
  async answer(place: Place, exchange: Exchange): Promise<void> {
    try {
      await this.session.run(
        place,
        'Answering',
        {
          type: 'generate',
          prompt: exchange.question,
          template: this.useTemplate ? $state.snapshot(this.data.settings?.template ?? NOTEBOOK_TEMPLATE) : null,
          adapter: exchange.adapter,
          sampling: $state.snapshot(this.sampling),
        },
        (event) => {
          if (event.type === 'token') {
            exchange.state = 'streaming';
            exchange.text += event.text;
          } else if (event.type === 'answer') {
            exchange.text = event.text;
            exchange.answer = event;
            exchange.state = 'finished';
          }
        },
      );
      exchange.state = 'finished';
    } catch (failure) {
      exchange.state = 'failed';
      throw failure;
    }
  }
}

export function blank(question: string, adapter: string | null): Exchange {
  return { question, adapter, text: '', answer: null, state: 'waiting' };
}
