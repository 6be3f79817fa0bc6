// What `npm test` runs, in order.

import { readdirSync } from 'node:fs';
import path from 'node:path';

import { countCargo, countNode, countRoundTrip, countVitest } from './counts.mjs';
import { findPeftPython } from './peft.mjs';
import { root } from './process.mjs';
import { targetDirectory } from './target-directory.mjs';

// The crates without burn: linting the others would compile burn's metadata once more, for minutes.
const LIGHT_CRATES = '-p vaultlab-privacy -p vaultlab-formats -p vaultlab-protocol -p vaultlab-web-privacy -p xtask';

/**
 * A stage is one command (words apart by single spaces). `count` reads its tests; a stage without it is a check,
 * which passes or fails as a whole. `needs` names stages that must have passed, and after a failed `cheap` stage
 * nothing slow is started. Output that matches `refuse` fails the stage. `skipped` says why a stage cannot run here.
 */
export function stages() {
  return [
    { name: 'Rust format', cheap: true, command: 'cargo fmt --all --check' },
    { name: 'Scripts', cheap: true, command: nodeTests('tests/tools'), count: countNode },
    { name: 'Page types', cheap: true, command: 'npm run --silent check' },
    { name: 'Page units', cheap: true, command: 'npm run --silent test:page', count: countVitest },
    { name: 'TypeScript protocol', cheap: true, command: 'cargo run --quiet -p xtask -- protocol --check' },
    {
      name: 'Rust lints',
      cheap: true,
      command: `cargo clippy --quiet --all-targets ${LIGHT_CRATES} -- --deny warnings`,
    },
    {
      name: 'Native build',
      // With all targets, so that tests and command line share one set of features, and burn is built once.
      command: 'cargo build --workspace --all-targets',
      refuse: /^warning: `.*` .*generated \d+ warning/m,
    },
    {
      name: 'Rust tests',
      needs: ['Native build'],
      command: 'cargo test --workspace --no-fail-fast',
      count: countCargo,
    },
    { name: 'Shaders in Tint', needs: ['Native build'], command: nodeTests('tests/wgsl'), count: countNode },
    peftStage(),
    { name: 'Wasm build', command: 'cargo run --quiet -p xtask -- wasm privacy engine parity' },
    { name: 'Page build', needs: ['Wasm build'], command: 'npm run --silent build:page' },
    { name: 'Engine in Chromium', needs: ['Wasm build'], command: nodeTests('tests/browser'), count: countNode },
    { name: 'Page in Chromium', needs: ['Page build'], command: nodeTests('tests/page'), count: countNode },
  ];
}

/** One test file after the other: they measure time, and two Chromiums on two cores would disturb each other. */
function nodeTests(folder) {
  const files = readdirSync(path.join(root, folder)).filter((name) => name.endsWith('.test.mjs'));
  const paths = files.sort().map((name) => `${folder}/${name}`);
  return ['node --test --test-concurrency=1 --test-reporter=spec', ...paths].join(' ');
}

/** PyTorch is gigabytes, so this stage runs only where it is there already. */
function peftStage() {
  const name = 'Adapters in PEFT';
  if (findPeftPython() === null) {
    return { name, skipped: 'no Python with torch, transformers and peft; set PYTHON to one' };
  }
  return {
    name,
    needs: ['Native build'],
    command: 'node tools/peft.mjs',
    env: { VAULTLAB: path.join(targetDirectory(), 'debug', 'vaultlab') },
    count: countRoundTrip,
  };
}
