import { expect, it } from 'vitest';
import type { Event } from '../protocol';
import { EngineClient, type WorkerPort } from './client';
import { EngineFailure } from './failure';
import type { FromWorker, ToWorker } from './wire';

/** A worker that keeps what it was sent and says what it is told to. */
class Port implements WorkerPort {
  sent: ToWorker[] = [];
  terminated = false;
  onmessage: ((event: MessageEvent<FromWorker>) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;

  postMessage(message: ToWorker): void {
    this.sent.push(message);
  }

  terminate(): void {
    this.terminated = true;
  }

  say(id: number, event: Event): void {
    this.onmessage!({ data: { kind: 'reply', reply: { id, event }, bytes: null } } as MessageEvent<FromWorker>);
  }
}

const failed: Event = { type: 'failed', code: 'badData', message: 'no rows', kept: 'all', advice: 'another file' };

it('gives each request its own events, however they are interleaved', async () => {
  const port = new Port();
  const client = new EngineClient(port);
  const heard: string[] = [];
  const first = client.send({ type: 'resumeTraining' }, (event) => heard.push(`first ${event.type}`));
  const second = client.send({ type: 'pause' }, (event) => heard.push(`second ${event.type}`));
  const [a, b] = port.sent.map((message) => message.request.id);
  expect(a).not.toBe(b);
  port.say(a!, { type: 'token', text: 'x' });
  port.say(b!, { type: 'done' });
  port.say(a!, { type: 'checkpointSaved', step: 3 });
  await second;
  port.say(a!, { type: 'done' });
  await first;
  expect(heard).toEqual(['first token', 'first checkpointSaved']);
});

it('turns a failure into a typed error and lets other requests live', async () => {
  const port = new Port();
  const client = new EngineClient(port);
  const broken = client.send({ type: 'stop' });
  const sound = client.send({ type: 'pause' });
  port.say(1, failed);
  port.say(2, { type: 'done' });
  await expect(broken).rejects.toThrow(EngineFailure);
  await expect(broken).rejects.toMatchObject({ report: { code: 'badData', kept: 'all', advice: 'another file' } });
  await sound;
});

it('ignores events of requests that are over', async () => {
  const port = new Port();
  const client = new EngineClient(port);
  let events = 0;
  const job = client.send({ type: 'cancel' }, () => events++);
  port.say(1, { type: 'done' });
  port.say(1, { type: 'token', text: 'late' });
  await job;
  expect(events).toBe(0);
});

it('fails what runs, and what comes after, once the worker is gone', async () => {
  const port = new Port();
  const client = new EngineClient(port);
  const running = client.send({ type: 'resumeTraining' });
  client.close();
  expect(port.terminated).toBe(true);
  await expect(running).rejects.toMatchObject({ report: { code: 'internal' } });
  await expect(client.send({ type: 'pause' })).rejects.toMatchObject({ report: { code: 'internal' } });
  expect(port.sent).toHaveLength(1);
});
