// `npm start`: sets up what is missing, builds, and serves the page on localhost.

import path from 'node:path';

import { buildPage, buildWasm, reportSizes } from './build.mjs';
import { main, root } from './process.mjs';
import { serve } from './serve.mjs';
import { setUpBuild } from './setup.mjs';

await main(async () => {
  setUpBuild();
  console.log('Building the wasm modules. The first time compiles everything, which takes minutes.');
  buildWasm();
  buildPage();
  reportSizes();
  const { url } = await serve({ root: path.join(root, 'dist'), port: Number(process.env.PORT ?? 8080) });
  console.log(`\nVaultLab is at ${url} (Ctrl+C stops it)`);
});
