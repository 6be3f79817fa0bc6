// Starts the worker.

import workerUrl from './worker?worker&url';
import type { WorkerPort } from './client';

/**
 * A worker made from a blob inherits the page's content-security policy; one made from an address
 * would follow that response's headers, which a static host does not send. Hence the detour: the
 * policy that keeps the page from connecting anywhere binds the engine too.
 */
export function spawnEngineWorker(): WorkerPort {
  const script = `import ${JSON.stringify(new URL(workerUrl, import.meta.url).href)};`;
  const blobUrl = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
  return new Worker(blobUrl, { type: 'module', name: 'vaultlab-engine' });
}
