// Builds the page into dist/: wasm modules, then Vite. `npm run build` also sets up what building needs.

import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { main, root, run } from './process.mjs';
import { setUpBuild } from './setup.mjs';

/** Builds the wasm modules into www/src/wasm/. Cargo, and then xtask, skip what has not changed. */
export function buildWasm() {
  run('npm', ['run', '--silent', 'wasm']);
}

/** Bundles the page into dist/. */
export function buildPage() {
  run('npm', ['run', '--silent', 'build:page']);
}

/** Prints the sizes of the built wasm modules, as they are and as a web host sends them. */
export function reportSizes() {
  const names = readdirSync(path.join(root, 'dist'), { recursive: true });
  for (const name of names.filter((name) => name.endsWith('.wasm'))) {
    const bytes = readFileSync(path.join(root, 'dist', name));
    console.log(`${name}: ${kilobytes(bytes.length)}, gzipped ${kilobytes(gzipSync(bytes, { level: 9 }).length)}`);
  }
}

function kilobytes(count) {
  return `${(count / 1000).toLocaleString('en', { maximumFractionDigits: 0 })} kB`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(() => {
    setUpBuild();
    buildWasm();
    buildPage();
    reportSizes();
  });
}
