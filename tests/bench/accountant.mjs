// The accountant in wasm, as the page runs it, against dp-accounting in the same run.
//
// Needs the page's wasm (npm run wasm), and for the comparison a Python with dp-accounting: PYTHON.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';

const ROWS = [
  ['8/900', 8 / 900, 0.338821, 226, 1e-5],
  ['256/60000', 256 / 60000, 1.1, 14062, 1e-5],
  ['0.01', 0.01, 4, 10000, 1e-5],
  ['64/900', 64 / 900, 1, 100, 1e-5],
  ['256/900', 256 / 900, 2, 50, 1e-5],
  ['1', 1, 10, 50, 1e-5],
  ['0.001', 0.001, 0.5, 1000, 1e-6],
  ['0.02', 0.02, 0.8, 2000, 1e-6],
];
const RUNS = 5;

const PEER = `
import json, sys, time
from dp_accounting import dp_event as e, pld
out = []
for name, q, sigma, steps, delta in json.load(sys.stdin):
    times = []
    for _ in range(${RUNS}):
        start = time.perf_counter()
        accountant = pld.PLDAccountant()
        accountant.compose(e.PoissonSampledDpEvent(q, e.GaussianDpEvent(sigma)), steps)
        epsilon = accountant.get_epsilon(delta)
        times.append(1000 * (time.perf_counter() - start))
    out.append({"epsilon": epsilon, "ms": sorted(times)[len(times) // 2]})
print(json.dumps(out))
`;

const folder = new URL('../../www/src/wasm/privacy/', import.meta.url);
const wasm = await import(new URL('privacy.js', folder).href);
const bytes = readFileSync(new URL('privacy_bg.wasm', folder));
wasm.initSync({ module: bytes });

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

function timed(run) {
  const times = [];
  let value;
  for (let turn = 0; turn < RUNS; turn += 1) {
    const start = performance.now();
    value = run();
    times.push(performance.now() - start);
  }
  return { value, ms: median(times) };
}

function peer() {
  const python = process.env.PYTHON;
  if (!python) return null;
  const input = JSON.stringify(ROWS);
  return JSON.parse(execFileSync(python, ['-c', PEER], { input, encoding: 'utf8' }));
}

const phase = (q, sigma, steps) => ({ samplingRate: q, noiseMultiplier: sigma, steps, truncation: null });
const theirs = peer();
const report = { cpu: cpus()[0].model, cores: cpus().length, node: process.version, wasmBytes: bytes.length, rows: [] };
console.log(`${report.cpu}, ${report.cores} cores, node ${report.node}; accountant module ${bytes.length} bytes`);
if (!theirs) console.log('dp-accounting: skipped (set PYTHON to a Python that has it)');

for (const [index, [name, q, sigma, steps, delta]] of ROWS.entries()) {
  const epsilon = timed(() => wasm.epsilon(q, sigma, steps, delta));
  const sigmaFound = timed(() => wasm.calibrate(epsilon.value, q, steps, delta));
  const live = new wasm.LiveAccountant();
  const each = [];
  const from = Math.max(0, steps - 100);
  for (let step = from + 1; step <= steps; step += 1) {
    const start = performance.now();
    live.epsilon([phase(q, sigma, step)], delta);
    each.push(performance.now() - start);
  }
  const row = {
    name, q, sigma, steps, delta,
    epsilon: epsilon.value,
    ms: epsilon.ms,
    liveMedianMs: median(each),
    liveWorstMs: Math.max(...each),
    calibrateMs: sigmaFound.ms,
    peerMs: theirs?.[index].ms ?? null,
    peerEpsilon: theirs?.[index].epsilon ?? null,
    ratio: theirs ? theirs[index].ms / epsilon.ms : null,
  };
  report.rows.push(row);
  const ratio = row.ratio === null ? '' : `, dp-accounting ${row.peerMs.toFixed(0)} ms (${row.ratio.toFixed(1)} times)`;
  console.log(
    `q ${name}, σ ${sigma}, T ${steps}: ε ${row.epsilon.toFixed(5)} in ${row.ms.toFixed(1)} ms${ratio}; ` +
      `live ${row.liveMedianMs.toFixed(1)} ms a step, at most ${row.liveWorstMs.toFixed(1)}; calibration ${row.calibrateMs.toFixed(0)} ms`,
  );
}

const out = new URL('../../target/bench/', import.meta.url);
mkdirSync(out, { recursive: true });
writeFileSync(new URL('accountant.json', out), `${JSON.stringify(report, null, 2)}\n`);
console.log('written to target/bench/accountant.json');
