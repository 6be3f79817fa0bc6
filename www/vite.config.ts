import { svelte } from '@sveltejs/vite-plugin-svelte';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** A mirror of the hub, or the tests' stand-in, takes the hub's place in the policy too. */
const hosts = (names: string[], otherwise: string): string => {
  const named = names.flatMap((name) => process.env[name] ?? []);
  return named.length > 0 ? named.join(' ') : otherwise;
};
const HUB_HOSTS = hosts(['VITE_HUB_URL', 'VITE_HUB_STORAGE_URL', 'VITE_ROWS_URL'], 'https://huggingface.co https://*.huggingface.co https://*.hf.co');

/** What the page may do. The worker is made from a blob, so that the same policy binds it. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self'",
  `connect-src 'self' ${HUB_HOSTS}`,
  // The blob only imports the worker's script, which the policy counts as a worker of this origin.
  "worker-src 'self' blob:",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

/** Puts the policy first in the built page; the development server needs inline scripts and styles. */
function contentSecurityPolicy(): Plugin {
  return {
    name: 'content-security-policy',
    apply: 'build',
    transformIndexHtml: () => [
      {
        tag: 'meta',
        attrs: { 'http-equiv': 'Content-Security-Policy', content: POLICY },
        injectTo: 'head-prepend',
      },
      { tag: 'meta', attrs: { name: 'referrer', content: 'no-referrer' }, injectTo: 'head-prepend' },
    ],
  };
}

// The page's own tests put a scripted engine in the place of the wasm module; the product build never does.
const engineModule = process.env['VAULTLAB_PAGE_ENGINE'] ?? here('./src/wasm/engine/engine.js');
const alias = { 'engine-module': engineModule, 'privacy-module': here('./src/wasm/privacy/privacy.js') };

export default defineConfig({
  root: here('.'),
  // Relative addresses: the built page works under any sub-path.
  base: './',
  publicDir: false,
  plugins: [svelte(), contentSecurityPolicy()],
  // Unit tests run in Node, but the code under test is the browser's.
  ...(process.env['VITEST'] ? { resolve: { alias, conditions: ['browser'] } } : { resolve: { alias } }),
  test: { include: ['src/**/*.test.ts'] },
  worker: { format: 'es' },
  build: {
    outDir: process.env['VAULTLAB_PAGE_OUT'] ?? here('../dist'),
    emptyOutDir: true,
    target: 'es2022',
    // A file as a data address would need a wider policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
