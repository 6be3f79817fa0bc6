// The built page in a browser, for the tests of this folder: build it once, serve it as any static host
// would under a sub-path, open it in Chromium.

import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';

import { root } from '../../tools/process.mjs';
import { serve } from '../../tools/serve.mjs';
import { launchChromium } from '../browser/chromium.mjs';

/** Not the root of the host, so that an absolute address in the page shows. */
const SUB_PATH = '/some/where/';

/** How long anything may take here; far more than it needs on a machine that is not busy. */
const PATIENCE = 60_000;

/** Screenshots of the stages, for people to look at. */
const PICTURES = path.join(root, '.cache', 'page-pictures');

/**
 * Builds the page with a stand-in of this folder in the engine's place; returns the folder it is built into. `settings`
 * are variables of the build, and get a folder of their own, named by `variant`.
 */
export function buildPageWith(standIn, settings = {}, variant = '') {
  const folder = path.join(root, '.cache', `page-with-${standIn}${variant}`);
  const result = spawnSync(process.execPath, ['node_modules/vite/bin/vite.js', 'build', 'www', '--logLevel', 'warn'], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...settings, VAULTLAB_PAGE_ENGINE: path.join(root, `tests/page/standin/${standIn}.mjs`), VAULTLAB_PAGE_OUT: folder },
  });
  if (result.status !== 0) throw new Error(`the page does not build:\n${result.stdout}${result.stderr}`);
  return folder;
}

/** Serves a built page and starts a browser; `close` ends both. */
export async function host(folder, browserOptions = {}) {
  const server = await serve({ root: folder, port: 0, base: SUB_PATH });
  const browser = await launchChromium(browserOptions);
  return {
    url: server.url,
    browser,
    async close() {
      await browser.close();
      await server.close();
    },
  };
}

/**
 * A page in a fresh profile, opened and with its model loaded. Uncaught errors, and console errors other than
 * the policy's own reports, are collected in `errors`.
 */
export async function open({ browser, url }, { timeout = PATIENCE, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('Content Security Policy')) errors.push(message.text());
  });
  await page.goto(url);
  await modelLoaded(page, timeout);
  return { page, context, errors, close: () => context.close() };
}

export function modelLoaded(page, timeout = PATIENCE) {
  return page.getByTestId('model-name').waitFor({ timeout });
}

/** Asks a question and waits for the whole answer; returns its text. */
export async function ask(page, question, timeout = PATIENCE) {
  const before = await page.getByTestId('answer').count();
  await page.getByTestId('question').fill(question);
  await page.getByTestId('ask').click();
  const answer = page.getByTestId('answer').nth(before);
  await answer.and(page.locator('[data-state="finished"]')).waitFor({ timeout });
  return (await answer.getByTestId('answer-text').innerText()).trim();
}

/** Gives the page a data file and waits until its rows are prepared. */
export async function giveRows(page, name, text, timeout = PATIENCE) {
  await page.getByTestId('rows-file').setInputFiles({ name, mimeType: 'text/plain', buffer: Buffer.from(text) });
  await page.getByTestId('rows-report').waitFor({ timeout });
  await idle(page, timeout);
}

/** Waits until the engine is free. */
export function idle(page, timeout = PATIENCE) {
  return page.waitForFunction(() => document.querySelector('[data-testid=status]')?.textContent.trim().startsWith('Ready'), null, { timeout });
}

export async function setField(page, testid, value) {
  const field = page.getByTestId(testid);
  await page.evaluate((id) => {
    const details = document.querySelector(`[data-testid="${id}"]`)?.closest('details');
    if (details) details.open = true;
  }, testid);
  await field.fill(String(value));
  await field.blur();
  await planned(page);
}

/** Waits until the accountant has answered what is on the form. */
export function planned(page) {
  return page.locator('[data-testid=plan-answer][aria-busy=false]').waitFor();
}

/** Waits for a run to end in the given way. */
export function runEnds(page, end, timeout = PATIENCE) {
  return page.locator(`[data-testid="run"][data-end="${end}"]`).waitFor({ timeout });
}

export function picturesFolder() {
  mkdirSync(PICTURES, { recursive: true });
  return PICTURES;
}

/** A screenshot of the whole page, or of one of its sections. */
export async function picture(page, name, section = null) {
  const file = path.join(picturesFolder(), `${name}.png`);
  // The header sticks to the window and would lie across the picture.
  const pinned = (position) => page.evaluate((value) => (document.querySelector('header').style.position = value), position);
  await pinned('static');
  // Charts take their size a moment after they appear.
  await page.waitForTimeout(200);
  if (section) await page.getByTestId(`section-${section}`).screenshot({ path: file });
  else await page.screenshot({ path: file, fullPage: true });
  await pinned('');
}

/** CSV of made-up rows. */
export function someRows(count) {
  const rows = Array.from({ length: count }, (_, index) => `What does drug ${index} do?,It lowers value ${index % 7}.`);
  return ['question,answer', ...rows].join('\n');
}
