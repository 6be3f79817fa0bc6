// Models from the hub, in the browser: a server imitates the hub, and the scripted engine reads what arrives.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { fakeHub, GOOD_TOKEN, someModel } from '../hub/fake.mjs';
import { buildPageWith, host, idle, modelLoaded, open, picture } from './page.mjs';

const SIZE = 6_000_000;
let hub;
let site;

before(async () => {
  hub = await fakeHub();
  hub.repos.set('unsloth/gemma-3-270m-it', { gated: false, files: someModel(SIZE) });
  hub.repos.set('google/gemma-3-270m-it', { gated: true, files: someModel(100_000) });
  const settings = { VITE_HUB_URL: hub.url, VITE_HUB_STORAGE_URL: hub.storageUrl, VITE_ROWS_URL: hub.url };
  site = await host(buildPageWith('engine', settings, '-and-hub'));
});

after(async () => {
  await site?.close();
  await hub?.close();
});

function onHub(name, body, options) {
  test(name, async () => {
    Object.assign(hub.trouble, { drops: [], truncates: [], corrupt: false, noRanges: false, limit: 0, errors: 0, slow: 0 });
    hub.log.length = 0;
    const opened = await open(site, options);
    try {
      await unfold(opened.page);
      await body(opened);
      // What the server refuses, the browser writes on the console by itself.
      assert.deepEqual(opened.errors.filter((error) => !/Failed to load resource|ERR_/.test(error)), []);
    } finally {
      await opened.close();
    }
  });
}

const unfold = (page) => page.getByTestId('other-models').locator('summary').first().click();
const known = (page, repo) => page.locator(`[data-testid=known-model][data-repo="${repo}"]`);
const error = (page) => page.getByTestId('error-model');
const kept = (page) => page.getByTestId('kept-model');

async function named(page, name) {
  await page.getByTestId('model-name').and(page.getByText(name, { exact: true })).waitFor();
  await idle(page);
}

onHub('loads a known model, cancelled and gone on with, and opens it again without a network', async ({ page, context }) => {
  await page.getByTestId('kept-empty').waitFor();
  hub.trouble.slow = 60;
  const load = known(page, 'unsloth/gemma-3-270m-it').getByRole('button');
  await load.click();
  const progress = page.getByTestId('model-loading');
  await progress.getByText(/Downloading model\.safetensors/).waitFor();
  await progress.getByText(/[\d.]+ MB of 6\.0 MB at .*\/s, \d+ s left/).waitFor();
  await picture(page, 'hub-loading', 'model');
  await progress.getByRole('button', { name: 'Cancel' }).click();
  await error(page).getByText(/it was cancelled/).waitFor();
  assert.equal(await page.getByTestId('model-name').innerText(), 'VaultLab demo', 'the model before is still there');
  await kept(page).and(page.locator('[data-whole=false]')).getByText(/of 6\.0 MB/).waitFor();

  hub.trouble.slow = 0;
  hub.log.length = 0;
  await kept(page).getByRole('button', { name: /Go on/ }).click();
  await named(page, 'unsloth/gemma-3-270m-it');
  assert.match(hub.fetches()[0].range, /^bytes=[1-9]\d*-$/, 'what was there is not fetched again');
  await kept(page).and(page.locator('[data-whole=true]')).waitFor();

  await page.reload();
  await modelLoaded(page);
  await idle(page);
  await unfold(page);
  // The loader's own code comes from the page's place; the network goes once it is there.
  hub.log.length = 0;
  await context.route(`${hub.url}/**`, (route) => route.abort('internetdisconnected'));
  await kept(page).getByRole('button', { name: /Open/ }).click();
  await named(page, 'unsloth/gemma-3-270m-it');
  assert.deepEqual(hub.log, []);

  await kept(page).getByRole('button', { name: /Delete/ }).click();
  await page.getByTestId('kept-empty').waitFor();
  const left = await page.evaluate(async () => {
    const names = [];
    for await (const name of (await (await navigator.storage.getDirectory()).getDirectoryHandle('models')).keys()) names.push(name);
    return names;
  });
  assert.deepEqual(left, []);
});

onHub('explains a gate, a wrong token and a wrong name, and opens the gate to the right token', async ({ page }) => {
  const load = known(page, 'google/gemma-3-270m-it').getByRole('button');
  await load.click();
  await error(page).getByText(/is gated/).waitFor();
  await page.getByTestId('hub-token').fill('hf_wrong');
  await load.click();
  await error(page).getByText(/does not know this token/).waitFor();
  await picture(page, 'hub-wrong-token', 'model');
  await page.getByTestId('hub-repo').fill('nobody/nothing');
  await page.getByTestId('hub-token').fill('');
  await page.getByTestId('hub-load').click();
  await error(page).getByText(/does not exist, or is private/).waitFor();
  await page.getByTestId('hub-repo').fill('no name');
  await page.getByTestId('hub-load').click();
  await error(page).getByText(/names no repository/).waitFor();
  await page.getByTestId('hub-token').fill(GOOD_TOKEN);
  await load.click();
  await named(page, 'google/gemma-3-270m-it');
  assert.ok(hub.fetches().every(({ authorization }) => authorization === null), 'the storage never sees the token');
  await page.reload();
  await modelLoaded(page);
  assert.equal(await page.getByTestId('hub-token').inputValue(), '', 'the token was kept in memory only');
});

onHub('survives dropped connections, refuses damaged bytes, and keeps nothing when told so', async ({ page }) => {
  hub.trouble.drops = [1_000_000, 1_500_000];
  await page.getByTestId('hub-keep').uncheck();
  await page.getByTestId('hub-repo').fill(`${hub.url}/unsloth/gemma-3-270m-it`);
  await page.getByTestId('hub-load').click();
  await named(page, 'unsloth/gemma-3-270m-it');
  assert.equal(hub.fetches().length, 3);
  await page.getByTestId('kept-empty').waitFor();
  await page.getByTestId('hub-keep').check();
  hub.trouble.corrupt = true;
  await page.getByTestId('hub-load').click();
  await error(page).getByText(/SHA-256 is not the one the hub lists/).waitFor();
  hub.trouble.corrupt = false;
  await error(page).getByRole('button', { name: 'Try again' }).click();
  await named(page, 'unsloth/gemma-3-270m-it');
  await kept(page).and(page.locator('[data-whole=true]')).waitFor();
});

onHub('fetches a notebook’s data set with its columns and form', async ({ page }) => {
  hub.rows.set('medalpaca/medical_meadow_medical_flashcards', Array.from({ length: 400 }, (_, row) => ({ instruction: 'Answer', input: `Question ${row}?`, output: `Answer ${row}.` })));
  await page.getByTestId('presets').locator('summary').click();
  await page.getByTestId('preset-count').fill('150');
  await page.getByTestId('preset-flashcards').getByRole('button').click();
  await page.getByTestId('rows-report').waitFor();
  assert.match(await page.getByTestId('table-summary').innerText(), /flashcards-150\.jsonl: 150 rows of 2 columns/);
  assert.equal(await page.getByTestId('map-prompt').inputValue(), 'input');
  assert.equal(await page.getByTestId('max-tokens').inputValue(), '128');
  assert.equal(await page.getByTestId('train-rows').innerText(), '135');
  await picture(page, 'hub-presets', 'data');
  assert.equal(hub.log.filter(({ path }) => path === '/rows').length, 2);
});

onHub('reads MTNT’s training pairs out of the release archive', async ({ page }) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'vaultlab-'));
  mkdirSync(path.join(folder, 'MTNT/train'), { recursive: true });
  writeFileSync(path.join(folder, 'MTNT/train/train.en-fr.tsv'), Array.from({ length: 30 }, (_, row) => `${row}\tline ${row}\tligne ${row}\n`).join(''));
  writeFileSync(path.join(folder, 'MTNT/train/train.fr-en.tsv'), '1\ta\tb\n');
  const buffer = execFileSync('tar', ['-czf', '-', '-C', folder, 'MTNT']);
  rmSync(folder, { recursive: true });
  await page.getByTestId('rows-file').setInputFiles({ name: 'MTNT.1.0.tar.gz', mimeType: 'application/gzip', buffer });
  await page.getByTestId('table-summary').getByText(/train\.en-fr\.tsv/).waitFor();
  assert.equal(await page.getByTestId('map-prompt').inputValue(), 'source');
  assert.equal(await page.getByTestId('map-response').inputValue(), 'target');
});

for (const [width, colorScheme] of [[360, 'light'], [360, 'dark'], [1200, 'light'], [1200, 'dark']]) {
  onHub(`shows the picker at ${width} px, ${colorScheme}`, async ({ page }) => {
    await known(page, 'google/vaultgemma-1b').waitFor();
    const content = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(content <= width, `${content} px of content in ${width} px`);
    await picture(page, `hub-picker-${width}-${colorScheme}`, 'model');
  }, { viewport: { width, height: 800 }, colorScheme });
}
