// The page's end of the protocol: commands out, events in, each request under an id of its own.

import type { Command, Event } from '../protocol';
import type { NetworkEntry } from '../requests/entry';
import { EngineFailure } from './failure';
import type { FromWorker, SourceFile, ToWorker } from './wire';

/** The part of a `Worker` that the client uses, so that tests can stand in for it. */
export interface WorkerPort {
  postMessage(message: ToWorker): void;
  terminate(): void;
  onmessage: ((event: MessageEvent<FromWorker>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
}

export type EventHandler = (event: Event, bytes: Uint8Array[] | null) => void;

interface Pending {
  onEvent: EventHandler;
  resolve: () => void;
  reject: (failure: EngineFailure) => void;
}

export class EngineClient {
  #nextId = 1;
  #pending = new Map<number, Pending>();
  #dead: EngineFailure | null = null;

  constructor(
    readonly port: WorkerPort,
    onNetwork: (entries: NetworkEntry[]) => void = () => {},
  ) {
    port.onmessage = ({ data }) => {
      if (data.kind === 'network') onNetwork(data.entries);
      else this.#receive(data.reply.id, data.reply.event, data.bytes);
    };
    port.onerror = (event) => this.#die(event.message || 'the worker script could not be loaded');
  }

  /** Sends a command. Resolves at `done`, rejects with an {@link EngineFailure} at `failed`. */
  send(command: Command, onEvent: EventHandler = () => {}, files: SourceFile[] | null = null): Promise<void> {
    if (this.#dead) return Promise.reject(this.#dead);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { onEvent, resolve, reject });
      this.port.postMessage({ request: { id, command }, files });
    });
  }

  /** Ends the worker; whatever still ran is rejected. */
  close(): void {
    this.port.terminate();
    this.#die('the engine was restarted');
  }

  #receive(id: number, event: Event, bytes: Uint8Array[] | null): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    if (event.type === 'done') {
      this.#pending.delete(id);
      pending.resolve();
    } else if (event.type === 'failed') {
      this.#pending.delete(id);
      const { code, message, kept, advice } = event;
      pending.reject(new EngineFailure({ code, message, kept, advice }));
    } else {
      pending.onEvent(event, bytes);
    }
  }

  #die(reason: string): void {
    this.#dead ??= new EngineFailure({
      code: 'internal',
      message: `The engine has stopped: ${reason}.`,
      kept: 'Rows, ledger, checkpoint and adapters in this browser are untouched.',
      advice: 'Restart the engine; the page loads the model again and goes on from there.',
    });
    for (const pending of this.#pending.values()) pending.reject(this.#dead);
    this.#pending.clear();
  }
}
