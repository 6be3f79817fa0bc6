// The real engine over a storage with a fault put in: charges are read back from memory, and reach the disk a moment
// after the engine was told that they are there. The test that kills tabs must notice it.

import init, { Engine as RealEngine } from '../../../www/src/wasm/engine/engine.js';

export default init;

const LATE_MS = 2000;

export class Engine extends RealEngine {
  constructor(host) {
    const records = new Map();
    super({
      ...host,
      async saveLedger(fingerprint, session, record) {
        records.set(fingerprint, record);
        setTimeout(() => host.saveLedger(fingerprint, session, record), LATE_MS);
      },
      async loadLedger(fingerprint) {
        const late = records.get(fingerprint);
        return [...(await host.loadLedger(fingerprint)), ...(late ? [late] : [])];
      },
    });
  }
}
