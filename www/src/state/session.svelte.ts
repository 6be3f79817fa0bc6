// The engine's life: worker, device, model, and the one job that runs at a time.

import { EngineClient, type EventHandler } from '../engine/client';
import { demoModel, DEMO_NAME } from '../engine/demo';
import { parseShape, type Shape } from '../engine/lora-size';
import type { SourceFile } from '../engine/wire';
import type { Command, DeviceChoice, DeviceReport, Event, ModelReport, WeightFormat } from '../protocol';
import { keptSettings } from '../storage/keep';
import type { Notices, Place } from './notices.svelte';

export type Progress = Omit<Extract<Event, { type: 'progress' }>, 'type'>;

/** A model the visitor asked for. */
export interface ModelChoice {
  name: string;
  files: SourceFile[];
  weights: WeightFormat;
  /** config.json, where the page has read it already. */
  config?: string;
}

export class Session {
  device = $state<DeviceReport | null>(null);
  model = $state<ModelReport | null>(null);
  /** Sizes from the model's config.json. */
  shape = $state.raw<Shape | null>(null);
  deviceChoice = $state<DeviceChoice>('auto');
  /** What the engine is doing; null when it is free. */
  job = $state<{ place: Place; label: string } | null>(null);
  progress = $state<Progress | null>(null);

  /** Run after a model was loaded: others put their rows and adapters back into the engine. */
  readonly afterModel: (() => Promise<void>)[] = [];

  #client: EngineClient;
  #tail: Promise<unknown> = Promise.resolve();
  #chosen: ModelChoice | null = null;

  constructor(
    readonly notices: Notices,
    readonly connect: () => EngineClient,
  ) {
    this.#client = connect();
  }

  get busy(): boolean {
    return this.job !== null;
  }

  /** Runs a command once those before it are finished. */
  run(place: Place, label: string, command: Command, onEvent: EventHandler = () => {}, files: SourceFile[] | null = null): Promise<void> {
    const client = this.#client;
    const turn = this.#tail.then(async () => {
      this.job = { place, label };
      this.progress = null;
      try {
        await client.send(
          command,
          (event, bytes) => {
            if (event.type === 'progress') this.progress = event;
            else if (event.type === 'warning') this.notices.warn(place, event.message);
            onEvent(event, bytes);
          },
          files,
        );
      } finally {
        this.job = null;
        this.progress = null;
      }
    });
    this.#tail = turn.catch(() => {});
    return turn;
  }

  /** Sends a command that acts on the running job. */
  control(command: Extract<Command, { type: 'pause' | 'stop' | 'cancel' }>): Promise<void> {
    return this.#client.send(command);
  }

  /** Opens the device and loads the demo model, both as they were chosen last time. */
  async start(): Promise<void> {
    this.deviceChoice = (await keptSettings.load<DeviceChoice>('device').catch(() => null)) ?? 'auto';
    await this.openDevice(this.deviceChoice);
    const weights = (await keptSettings.load<WeightFormat>('weights').catch(() => null)) ?? 'f32';
    await this.loadModel(demo(weights));
  }

  async openDevice(choice: DeviceChoice): Promise<void> {
    await this.run('model', 'Opening the device', { type: 'openDevice', choice }, (event) => {
      if (event.type === 'device') this.device = event;
    });
    this.deviceChoice = choice;
  }

  async loadModel(choice: ModelChoice): Promise<void> {
    const before = this.model;
    this.model = null;
    try {
      await this.run(
        'model',
        `Loading ${choice.name}`,
        { type: 'loadModel', name: choice.name, weights: choice.weights },
        (event) => {
          if (event.type === 'model') this.model = event;
        },
        choice.files,
      );
    } catch (failure) {
      // The engine keeps what it had until a new model is whole.
      this.model = before;
      throw failure;
    }
    this.#chosen = choice;
    if (choice.name === DEMO_NAME) await keptSettings.save('weights', choice.weights).catch(() => {});
    this.shape = await readShape(choice).catch(() => null);
    for (const step of this.afterModel) await step();
  }

  /**
   * Starts a fresh engine on a device, and puts model, rows and adapters back. This is the way on
   * after a lost device, too little memory or a crash, and the way to change the device: a new worker
   * gives all memory of the old one back.
   */
  async rebuild(choice: DeviceChoice = this.deviceChoice): Promise<void> {
    const model = this.#chosen ?? demo('f32');
    this.#client.close();
    await this.#tail;
    this.#client = this.connect();
    this.device = null;
    this.model = null;
    await this.openDevice(choice);
    await keptSettings.save('device', choice).catch(() => {});
    await this.loadModel(model);
  }
}

/** The model that comes with the page. */
export function demo(weights: WeightFormat): ModelChoice {
  return { name: DEMO_NAME, files: demoModel(), weights };
}

async function readShape({ files, config }: ModelChoice): Promise<Shape | null> {
  if (config !== undefined) return parseShape(config);
  const file = files.find((file) => file.name === 'config.json');
  if (!file || file.kind === 'hub') return null;
  return parseShape(file.kind === 'file' ? await file.file.text() : await (await fetch(file.url)).text());
}
