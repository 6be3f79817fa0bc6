// `npm test`: sets up what the tests need, runs all of them, cheap ones first, and sums up.

import { readdirSync } from 'node:fs';
import path from 'node:path';

import { countCargo, countNode, countVitest } from './counts.mjs';
import { findPeftPython } from './peft.mjs';
import { main, root, runAndRead } from './process.mjs';
import { setUpTests } from './setup.mjs';
import { targetDirectory } from './target-directory.mjs';

// The crates without burn: linting the others would compile burn's metadata once more, for minutes.
const LIGHT_CRATES = ['vaultlab-privacy', 'vaultlab-formats', 'vaultlab-protocol', 'vaultlab-web-privacy', 'xtask'];

/**
 * A stage is one command. `count` reads its tests; a stage without it is a check that passes or fails as a whole.
 * `needs` names stages that must have passed. After a failed `cheap` stage nothing slow is started.
 */
function stages() {
  const cargo = (...args) => ['cargo', ...args];
  const node = (...args) => [process.execPath, ...args];
  const nodeTests = (folder) => node('--test', '--test-concurrency=1', '--test-reporter=spec', ...testFiles(folder));
  return [
    { name: 'Rust format', cheap: true, command: cargo('fmt', '--all', '--check') },
    { name: 'Scripts', cheap: true, command: nodeTests('tests/tools'), count: countNode },
    { name: 'Protocol for TypeScript', cheap: true, command: cargo('run', '--quiet', '--package', 'xtask', '--', 'protocol', '--check') },
    { name: 'Page types', cheap: true, command: node('node_modules/svelte-check/bin/svelte-check', '--workspace', 'www', '--tsconfig', './tsconfig.json', '--fail-on-warnings') },
    { name: 'Page units', cheap: true, command: node('node_modules/vitest/vitest.mjs', 'run', '--root', 'www'), count: countVitest },
    {
      name: 'Rust lints',
      cheap: true,
      command: cargo('clippy', '--quiet', '--all-targets', ...LIGHT_CRATES.flatMap((name) => ['--package', name]), '--', '--deny', 'warnings'),
    },
    { name: 'Native build', command: cargo('build', '--workspace', '--all-targets'), refuse: /^warning: `.*generated \d+ warning/m },
    { name: 'Rust tests', needs: ['Native build'], command: cargo('test', '--workspace', '--no-fail-fast'), count: countCargo },
    { name: 'Shaders in Tint', needs: ['Native build'], command: nodeTests('tests/wgsl'), count: countNode },
    { name: 'Wasm build', command: cargo('run', '--quiet', '--package', 'xtask', '--', 'wasm') },
    { name: 'Page build', needs: ['Wasm build'], command: node('-e', "import('./tools/build.mjs').then(({ buildPage }) => buildPage())") },
    { name: 'Engine in Chromium', needs: ['Wasm build'], command: nodeTests('tests/browser'), count: countNode },
    { name: 'Page in Chromium', needs: ['Page build'], command: nodeTests('tests/page'), count: countNode },
    peftStage(node),
  ];
}

function testFiles(folder) {
  return readdirSync(path.join(root, folder))
    .filter((name) => name.endsWith('.test.mjs'))
    .sort()
    .map((name) => path.join(folder, name));
}

// PyTorch is gigabytes, so this stage runs only where it is there already.
function peftStage(node) {
  const name = "Adapters in Python's PEFT";
  if (findPeftPython() === null) return { name, skipped: 'no Python with torch, transformers and peft; set PYTHON to one' };
  const vaultlab = path.join(targetDirectory(), 'debug', 'vaultlab');
  return { name, needs: ['Native build'], command: node('tools/peft.mjs'), env: { VAULTLAB: vaultlab }, count: countPython };
}

/** The round trip prints one `ok` or `FAILED` line for each comparison. */
function countPython(output) {
  const count = (pattern) => [...output.matchAll(pattern)].length;
  return { passed: count(/^ok /gm), failed: count(/^FAILED /gm), skipped: 0 };
}

async function runStage(stage, outcomes) {
  if (stage.skipped) return { state: 'skipped', note: stage.skipped, passed: 0, failed: 0 };
  const blocked = (stage.needs ?? []).find((name) => outcomes.get(name)?.state !== 'passed');
  if (blocked) return { state: 'not run', note: `needs: ${blocked}`, passed: 0, failed: 1 };

  console.log(`\n== ${stage.name}`);
  const { ok, output } = await runAndRead(stage.command[0], stage.command.slice(1), stage.env);
  const refused = stage.refuse?.test(output) ?? false;
  const counts = stage.count?.(output) ?? { passed: 0, failed: 0, skipped: 0 };
  const empty = stage.count !== undefined && counts.passed + counts.failed === 0;
  const passed = ok && !refused && !empty && counts.failed === 0;
  const note = refused ? 'warnings' : ok && empty ? 'found no tests' : counts.skipped ? `${counts.skipped} skipped inside` : '';
  return { state: passed ? 'passed' : 'FAILED', note, passed: counts.passed, failed: passed ? 0 : Math.max(counts.failed, 1) };
}

function report(outcomes) {
  console.log('\n== Summary');
  const width = Math.max(...[...outcomes.keys()].map((name) => name.length));
  for (const [name, { state, note, passed, failed, seconds }] of outcomes) {
    const counts = passed + failed > 0 ? `${passed} passed, ${failed} failed` : '';
    console.log([name.padEnd(width), state.padEnd(7), duration(seconds).padStart(8), counts, note && `(${note})`].join('  ').trimEnd());
  }
}

function duration(seconds) {
  return seconds >= 60 ? `${Math.floor(seconds / 60)} min ${String(Math.round(seconds % 60)).padStart(2, '0')} s` : `${seconds.toFixed(1)} s`;
}

await main(async () => {
  const begun = performance.now();
  setUpTests();
  const outcomes = new Map();
  let cheapFailed = false;
  for (const stage of stages()) {
    if (cheapFailed && !stage.cheap) {
      outcomes.set(stage.name, { state: 'not run', note: 'a cheap check failed', passed: 0, failed: 1, seconds: 0 });
      continue;
    }
    const start = performance.now();
    const outcome = await runStage(stage, outcomes);
    outcomes.set(stage.name, { ...outcome, seconds: (performance.now() - start) / 1000 });
    if (stage.cheap && outcome.state !== 'passed') cheapFailed = true;
  }
  report(outcomes);
  console.log(`All in all ${duration((performance.now() - begun) / 1000)}. A check, build or stage that fails as a whole counts as one failed.`);
  const total = (key) => [...outcomes.values()].reduce((sum, outcome) => sum + outcome[key], 0);
  console.log(`${total('passed')} passed, ${total('failed')} failed`);
  if (total('failed') > 0) process.exitCode = 1;
});
