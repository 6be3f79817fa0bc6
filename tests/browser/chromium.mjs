// The browser that all tests use: Debian's Chromium, headless, with WebGPU on its software adapter.

import { chromium } from 'playwright-core';

import { findChromium } from '../../tools/find-chromium.mjs';

const FLAGS = ['--enable-unsafe-webgpu', '--disable-quic', '--disable-background-networking', '--no-first-run'];

/**
 * Starts Chromium with an empty profile, or with the one in the folder `profile`, and then returns its context.
 * `webgpu: false` takes WebGPU away, as on a machine without it; other options go to Playwright's `launch`.
 */
export async function launchChromium({ webgpu = true, profile = null, args = [], ...options } = {}) {
  const executablePath = findChromium();
  if (executablePath === null) {
    throw new Error('No Chromium found: install it (Debian: apt-get install chromium), or name one in CHROMIUM.');
  }
  const gpu = webgpu
    ? FLAGS
    : FLAGS.filter((flag) => flag !== '--enable-unsafe-webgpu').concat('--disable-features=WebGPU');
  // Chromium's own sandbox needs user namespaces, which containers and root accounts often lack.
  const all = { executablePath, headless: true, chromiumSandbox: false, args: [...gpu, ...args], ...options };
  return profile === null ? chromium.launch(all) : chromium.launchPersistentContext(profile, all);
}
