// The worker's whole job: open files, hand requests to the engine, pass its events on.

import init, { Engine, type Host } from 'engine-module';
import type { Event } from '../protocol';
import { watchNetwork } from '../requests/watch';
import { ledgerDataSets, loadLedger, loadRowHashes, saveCheckpoint, saveLedger, saveRowHashes } from '../storage/durable';
import { asReport } from './failure';
import { openSources } from './sources';
import type { FromWorker, ToWorker } from './wire';

const post = (message: FromWorker): void => self.postMessage(message);
const emit = (id: number, event: Event): void => post({ kind: 'reply', reply: { id, event }, bytes: null });

watchNetwork('engine', (entries) => post({ kind: 'network', entries }));

const host: Host = {
  emit: (reply, bytes) => post({ kind: 'reply', reply, bytes }),
  loadLedger,
  saveLedger,
  ledgerDataSets,
  loadRowHashes,
  saveRowHashes,
  saveCheckpoint,
};

const engine = init().then(() => new Engine(host));
const downloads = new Set<AbortController>();

self.onmessage = async ({ data }: MessageEvent<ToWorker>): Promise<void> => {
  const { request, files } = data;
  try {
    if (request.command.type === 'cancel') for (const download of downloads) download.abort();
    const sources = files && (await open(request.id, files));
    await (await engine).handle(request, sources);
  } catch (cause) {
    emit(request.id, { type: 'failed', ...asReport(cause) });
  }
};

async function open(id: number, files: NonNullable<ToWorker['files']>) {
  const control = new AbortController();
  downloads.add(control);
  try {
    return await openSources(files, control.signal, ({ name, done, total, etaSeconds }) =>
      emit(id, { type: 'progress', stage: `Downloading ${name}`, done, total, unit: 'bytes', etaSeconds }),
    );
  } finally {
    downloads.delete(control);
  }
}

// A trap inside the module leaves its promise unsettled forever. As an uncaught error it reaches the
// page, which ends the worker and offers a fresh one.
self.addEventListener('unhandledrejection', (event) => self.reportError(event.reason));
