// The page over a scripted engine: everything that is the page's own work, in seconds. The story with the
// real engine is in story.test.mjs.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { unzipSync, zipSync } from 'fflate';

import { ask, buildScriptedPage, giveRows, host, idle, modelLoaded, open, picture, runEnds, setField, someRows } from './page.mjs';

let site;

before(async () => {
  site = await host(buildScriptedPage());
});

after(() => site?.close());

/** Runs a test on a page of its own; anything on the console that is an error fails it. */
function onPage(name, body, options) {
  test(name, async () => {
    const opened = await open(site, options);
    try {
      await body(opened);
      assert.deepEqual(opened.errors, []);
    } finally {
      await opened.close();
    }
  });
}

onPage('opens under a sub-path, names the device with its reason, and asks no other host', async ({ page }) => {
  assert.equal(await page.getByTestId('device-kind').innerText(), 'CPU');
  assert.match(await page.getByTestId('device-reason').innerText(), /no hardware WebGPU/);
  await page.getByTestId('request-log').locator('summary').click();
  const requests = page.getByTestId('request');
  const addresses = await requests.locator('.address').allInnerTexts();
  assert.ok(addresses.length >= 5, 'document, scripts, styles and model files are listed');
  assert.ok(addresses.every((address) => address.startsWith('/some/where/')), addresses.join(' '));
  assert.ok((await page.locator('[data-testid=request][data-from=engine]').count()) > 0, 'the worker’s own requests are listed');
});

onPage('the log shows every request that the browser saw', async ({ page, context }) => {
  const seen = new Set();
  context.on('request', (request) => seen.add(request.url()));
  await page.reload();
  await modelLoaded(page);
  await page.getByTestId('sample-rows').click();
  await page.getByTestId('rows-report').waitFor();
  await page.getByTestId('request-log').locator('summary').click();
  await page.waitForTimeout(300);
  const listed = new Set(await page.getByTestId('request').locator('.address').allInnerTexts());
  const missing = [...seen].filter((url) => url.startsWith('http')).map((url) => new URL(url).pathname).filter((path) => !listed.has(path));
  assert.deepEqual(missing, []);
});

onPage('streams an answer, shows how it ended, and stops on demand', async ({ page }) => {
  assert.match(await ask(page, 'What is it?'), /^As the base model knows, the answer to “What is it\?” is forty-two\.$/);
  await page.getByTestId('question').fill('never end');
  await setField(page, 'max-new-tokens', 8000);
  await page.getByTestId('ask').click();
  await page.getByTestId('stop-answer').click();
  const answer = page.getByTestId('answer').nth(1);
  await answer.and(page.locator('[data-state="finished"]')).waitFor();
  assert.match(await answer.innerText(), /stopped/);
});

onPage('works by keyboard alone', async ({ page }) => {
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the conversation');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.dataset.testid), 'question');
  await page.keyboard.type('By keyboard?');
  await page.keyboard.press('Enter');
  await page.locator('[data-testid=answer][data-state=finished]').waitFor();
  const outlined = await page.evaluate(() => {
    document.querySelector('[data-testid=sample-rows]').focus({ focusVisible: true });
    return getComputedStyle(document.activeElement).outlineStyle;
  });
  assert.equal(outlined, 'solid', 'focus is visible');
});

onPage('names the lines it could not read, and counts the rest', async ({ page }) => {
  await giveRows(page, 'rows.csv', `${someRows(20)}\nonly one cell\na,b,c`);
  assert.match(await page.getByTestId('table-summary').innerText(), /rows\.csv: 20 rows of 2 columns/);
  const problems = await page.getByTestId('line-problems').innerText();
  assert.match(problems, /2 lines were left out/);
  assert.match(problems, /Line 22: has 1 cells/);
  assert.match(problems, /Line 23: has 3 cells/);
  assert.equal(await page.getByTestId('train-rows').innerText(), '18');
  assert.equal(await page.getByTestId('held-out-rows').innerText(), '2');
});

onPage('lets the visitor change the mapping, and shows what the model would see', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(20));
  assert.equal(await page.getByTestId('map-response').inputValue(), 'answer');
  await page.getByTestId('map-response').selectOption('question');
  await page.getByRole('cell', { name: 'What does drug 0 do?' }).nth(1).waitFor();
  await setField(page, 'max-tokens', 5);
  await page.waitForFunction(() => document.querySelector('[data-testid=truncated-rows]').textContent === '20');
});

onPage('takes pasted rows', async ({ page }) => {
  await page.getByTestId('paste').locator('summary').click();
  await page.getByTestId('pasted').fill(someRows(12));
  await page.getByTestId('use-pasted').click();
  await page.getByTestId('rows-report').waitFor();
  assert.match(await page.getByTestId('table-summary').innerText(), /12 rows/);
});

onPage('takes a dropped file', async ({ page }) => {
  const transfer = await page.evaluateHandle((text) => {
    const data = new DataTransfer();
    data.items.add(new File([text], 'dropped.csv'));
    return data;
  }, someRows(15));
  await page.getByTestId('drop').dispatchEvent('drop', { dataTransfer: transfer });
  await page.getByTestId('rows-report').waitFor();
  assert.match(await page.getByTestId('table-summary').innerText(), /dropped\.csv: 15 rows/);
});

onPage('says clearly that a mangled file is no table, and keeps the rows it had', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(20));
  await page.getByTestId('rows-file').setInputFiles({ name: 'broken.csv', mimeType: 'text/csv', buffer: Buffer.from('PK\0\0\u0003') });
  const error = page.getByTestId('error-data');
  await error.waitFor();
  const text = await error.innerText();
  assert.match(text, /not text/);
  assert.match(text, /Kept:/);
  assert.match(text, /What you can do:/);
  assert.equal(await page.getByTestId('train-rows').innerText(), '18');
  await page.getByTestId('dismiss-data').click();
  assert.equal(await error.count(), 0);
});

onPage('answers a plan at once, in both directions, and advises', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(400));
  const epsilon = page.getByTestId('plan-epsilon');
  const sigma = async () => Number(await page.getByTestId('plan-sigma').innerText());
  assert.ok(Number(await epsilon.innerText()) <= 8.01);
  const before = await sigma();
  await setField(page, 'target-epsilon', 2);
  assert.ok((await sigma()) > before, 'a smaller ε needs more noise');
  await page.getByText('I set the noise σ').click();
  await setField(page, 'sigma-input', 1);
  const one = Number(await epsilon.innerText());
  await setField(page, 'sigma-input', 2);
  assert.ok(Number(await epsilon.innerText()) < one, 'more noise spends less');
  await setField(page, 'delta', 0.1);
  await page.getByTestId('advice').getByText('δ').first().waitFor();
  await page.getByTestId('epsilon-claim').first().getByText('What it does not cover').waitFor();
});

onPage('refuses numbers that make no sense, and says which would', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(50));
  const steps = page.getByTestId('steps');
  await steps.fill('-3');
  assert.equal(await steps.getAttribute('aria-invalid'), 'true');
  await page.getByText('Needs a whole number from 1').waitFor();
  await steps.blur();
  assert.equal(await steps.inputValue(), '200', 'the last good value is back');
});

onPage('trains, stops by itself at the budget, and shows what ε does not cover', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(200));
  await setField(page, 'target-epsilon', 2);
  await setField(page, 'steps', 60);
  await page.getByTestId('train-private').click();
  await runEnds(page, 'budgetSpent');
  const spent = page.getByTestId('epsilon-spent');
  assert.ok(Number(await spent.getAttribute('data-epsilon')) <= 2 + 1e-9);
  assert.match(await page.getByTestId('train-status').innerText(), /by itself/);
  assert.equal(await page.getByTestId('not-covered').innerText(), 'not covered by ε');
  await idle(page);
  assert.match(await page.getByTestId('spent-before').innerText(), /2\.00/);
  assert.ok((await page.getByTestId('advice').innerText()).includes('Earlier runs'));
});

onPage('a run on a spent budget leaves no empty adapter behind', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(200));
  await setField(page, 'target-epsilon', 1);
  await setField(page, 'steps', 10);
  for (let run = 0; run < 2; run++) {
    await page.getByTestId('train-private').click();
    await runEnds(page, run === 0 ? 'finished' : 'budgetSpent');
    await idle(page);
  }
  await page.waitForFunction(() => document.querySelectorAll('[data-adapter]').length === 1);
  assert.match(await page.getByTestId('advice').innerText(), /used up/);
});

onPage('labels a run without privacy wherever its adapter is named', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(100));
  await setField(page, 'steps', 8);
  await page.getByTestId('train-without-privacy').click();
  await page.getByTestId('without-privacy-banner').waitFor();
  await runEnds(page, 'finished');
  await idle(page);
  assert.equal(await page.getByTestId('epsilon-spent').count(), 0);
  const badges = page.getByTestId('badge-without-privacy');
  assert.equal(await badges.count(), 2, 'in Compare and in Take away');
  assert.match(await page.getByTestId('talk-adapter').innerText(), /trained without privacy/);
  await page.getByTestId('talk-adapter').selectOption('without-privacy');
  assert.match(await ask(page, 'Now?'), /As without-privacy learnt/);
  assert.equal(await badges.count(), 3, 'and beside its answers');
});

onPage('pauses, survives a reload in the middle, and goes on where it was', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(200));
  await page.getByTestId('map-prompt').selectOption('answer');
  await idle(page);
  await setField(page, 'steps', 40);
  await setField(page, 'checkpoint-every', 5);
  await page.getByTestId('train-private').click();
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=epsilon-spent]')?.dataset.epsilon) > 0.8);
  await page.getByTestId('pause').click();
  await runEnds(page, 'paused');
  await idle(page);
  const paused = Number(await page.getByTestId('epsilon-spent').getAttribute('data-epsilon'));

  await page.reload();
  await modelLoaded(page);
  const welcome = await page.getByTestId('welcome-back').innerText();
  assert.match(welcome, /rows\.csv/);
  assert.match(welcome, /at step \d+ of 40/);
  await page.getByTestId('restore').click();
  await page.getByTestId('rows-report').waitFor();
  assert.equal(await page.getByTestId('map-prompt').inputValue(), 'answer', 'the mapping is the visitor’s');
  await idle(page);
  await page.getByTestId('resume').click();
  await runEnds(page, 'finished');
  const spent = Number(await page.getByTestId('epsilon-spent').getAttribute('data-epsilon'));
  assert.ok(Math.abs(spent - 4) < 1e-9, `40 steps at a tenth each, none twice and none free: ${spent} after ${paused}`);
  await page.reload();
  await modelLoaded(page);
  assert.doesNotMatch(await page.getByTestId('welcome-back').innerText(), /at step/, 'a finished run is not offered again');
});

onPage('a tab closed in the middle of a run offers its last checkpoint', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(200));
  await setField(page, 'steps', 400);
  await setField(page, 'target-epsilon', 100);
  await setField(page, 'checkpoint-every', 2);
  await page.getByTestId('train-private').click();
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=epsilon-spent]')?.dataset.epsilon) > 0.5);
  await page.reload();
  await modelLoaded(page);
  await page.getByTestId('restore').click();
  await page.getByTestId('resume').waitFor();
  await idle(page);
  await page.getByTestId('give-up').click();
  await page.getByTestId('resume').waitFor({ state: 'detached' });
  assert.match(await page.getByTestId('spent-before').innerText(), /ε = /, 'what was spent stays spent');
});

onPage('cancelling a run discards its adapter but not its charge', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(200));
  await setField(page, 'steps', 500);
  await setField(page, 'target-epsilon', 100);
  await page.getByTestId('train-private').click();
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=epsilon-spent]')?.dataset.epsilon) > 0.3);
  await page.getByTestId('cancel-training').click();
  await runEnds(page, 'stopped');
  await idle(page);
  assert.equal(await page.getByTestId('adapter-list').count(), 0);
  assert.match(await page.getByTestId('spent-before').innerText(), /ε = /);
});

onPage('compares answers before and after', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(100));
  await setField(page, 'steps', 5);
  for (const button of ['train-private', 'train-without-privacy']) {
    await page.getByTestId(button).click();
    await runEnds(page, 'finished');
    await idle(page);
  }
  await page.getByTestId('compare-question').fill('Which one?');
  await page.getByTestId('compare').click();
  await page.waitForFunction(() => document.querySelectorAll('[data-testid=compare-answer][data-state=finished]').length === 3);
  const answers = await page.getByTestId('compare-answer-text').allInnerTexts();
  assert.match(answers[0], /base model/);
  assert.match(answers[1], /As private learnt/);
  assert.match(answers[2], /As without-privacy learnt/);
});

onPage('saves an adapter as a zip in PEFT’s form, and loads it again', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(100));
  await setField(page, 'steps', 5);
  await page.getByTestId('train-private').click();
  await runEnds(page, 'finished');
  await idle(page);
  const download = page.waitForEvent('download');
  await page.getByTestId('save-adapter').click();
  const file = await download;
  assert.equal(file.suggestedFilename(), 'private.zip');
  const archive = readFileSync(await file.path());
  const entries = unzipSync(archive);
  assert.deepEqual(Object.keys(entries).sort(), ['adapter_config.json', 'adapter_model.safetensors', 'privacy_statement.txt']);
  await page.getByTestId('remove-adapter').click();
  await page.getByTestId('adapter-list').waitFor({ state: 'detached' });
  await page.getByTestId('adapter-file').setInputFiles({ name: 'private.zip', mimeType: 'application/zip', buffer: archive });
  await page.locator('[data-adapter=private]').waitFor();
  const loaded = page.locator('[data-adapter=private]');
  assert.match(await loaded.innerText(), /privacy unknown/, 'a file’s own claim is shown as no more than that');
  await loaded.locator('summary').click();
  assert.match(await loaded.innerText(), /cannot check it: A scripted statement/);
});

onPage('keeps the label of a run without privacy through reload, export and import', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(100));
  await setField(page, 'steps', 5);
  await page.getByTestId('train-without-privacy').click();
  await runEnds(page, 'finished');
  await idle(page);
  await page.reload();
  await modelLoaded(page);
  const adapter = page.locator('[data-adapter=without-privacy]');
  await adapter.getByTestId('badge-without-privacy').waitFor();
  await idle(page);
  const download = page.waitForEvent('download');
  await adapter.getByTestId('save-adapter').click();
  const archive = readFileSync(await (await download).path());
  await adapter.getByTestId('remove-adapter').click();
  await adapter.waitFor({ state: 'detached' });
  await page.getByTestId('adapter-file').setInputFiles({ name: 'renamed.zip', mimeType: 'application/zip', buffer: archive });
  await page.locator('[data-adapter=renamed]').getByTestId('badge-without-privacy').waitFor();
});

onPage('refuses a wrong adapter with a way on', async ({ page }) => {
  const give = (name, buffer) => page.getByTestId('adapter-file').setInputFiles({ name, mimeType: 'application/zip', buffer: Buffer.from(buffer) });
  const error = page.getByTestId('error-adapters');
  await give('broken.zip', 'not a zip at all');
  await error.getByText('not a readable zip').waitFor();
  const foreign = zipSync({ 'adapter_config.json': Buffer.from('{"peft_type":"PREFIX_TUNING"}'), 'adapter_model.safetensors': new Uint8Array(4) });
  await give('foreign.zip', foreign);
  await error.getByText('not a LoRA adapter').waitFor();
  assert.match(await error.innerText(), /What you can do:/);
});

onPage('after a lost device goes on with the CPU, with rows and adapters', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(100));
  await setField(page, 'steps', 5);
  await page.getByTestId('train-private').click();
  await runEnds(page, 'finished');
  await idle(page);
  await page.getByTestId('device-gpu').check();
  await page.getByTestId('device-kind').getByText('GPU').waitFor();
  await modelLoaded(page);
  await idle(page);
  await page.getByTestId('question').fill('lose the device');
  await page.getByTestId('ask').click();
  await page.getByTestId('error-talk').getByText('device was lost').waitFor();
  await page.getByRole('button', { name: 'Go on with the CPU' }).click();
  await page.getByTestId('device-kind').getByText('CPU').waitFor();
  await idle(page);
  assert.equal(await page.getByTestId('train-rows').innerText(), '90');
  await page.locator('[data-adapter=private]').waitFor();
  assert.match(await ask(page, 'Still there?'), /forty-two/);
});

test('a crash of the engine ends in a message and a fresh engine, not in waiting', async () => {
  const { page, errors, close } = await open(site);
  await giveRows(page, 'rows.csv', someRows(50));
  await page.getByTestId('question').fill('trap');
  await page.getByTestId('ask').click();
  await page.getByTestId('error-talk').getByText('engine has stopped').waitFor();
  await page.getByRole('button', { name: 'Restart the engine' }).click();
  await modelLoaded(page);
  await idle(page);
  assert.equal(await page.getByTestId('train-rows').innerText(), '45');
  assert.match(await ask(page, 'Still there?'), /forty-two/);
  assert.ok(errors.every((error) => error.includes('unreachable')), errors.join());
  await close();
});

onPage('loads a checkpoint from the disk, in four bits', async ({ page }) => {
  await page.getByTestId('other-models').locator('summary').click();
  const config = JSON.stringify({ model_type: 'gemma3_text', num_hidden_layers: 18, hidden_size: 640, vocab_size: 262144, max_position_embeddings: 32768 });
  const files = [
    ['config.json', config],
    ['tokenizer.json', '{}'],
    ['model.safetensors', '0'],
    ['README.md', 'no part of a model'],
  ].map(([name, text]) => ({ name, mimeType: 'application/json', buffer: Buffer.from(text) }));
  await page.getByTestId('model-files').setInputFiles(files);
  await page.getByTestId('model-facts').getByText('gemma3_text').waitFor();
  assert.equal(await page.getByTestId('model-name').innerText(), 'Local checkpoint');
  assert.match(await page.getByTestId('model-facts').innerText(), /NF4/);
  await idle(page);
  await page.getByTestId('model-files').setInputFiles(files.slice(1));
  await page.getByTestId('error-model').getByText('config.json is missing').waitFor();
  await page.getByTestId('load-demo').click();
  await page.getByTestId('model-facts').getByText('vaultgemma').waitFor();
});

onPage('two tabs do not train at once, and the second one spoils nothing', async ({ page, context }) => {
  await giveRows(page, 'rows.csv', someRows(200));
  await setField(page, 'steps', 3000);
  await setField(page, 'target-epsilon', 900);
  await setField(page, 'checkpoint-every', 1);
  await page.getByTestId('train-private').click();
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=epsilon-spent]')?.dataset.epsilon) > 0.2);
  const other = await context.newPage();
  await other.goto(site.url);
  await modelLoaded(other);
  await other.getByTestId('restore').click();
  await other.getByTestId('resume').waitFor();
  await idle(other);
  await other.getByTestId('resume').click();
  await other.getByTestId('error-train').getByText('Another tab').waitFor();
  await page.getByTestId('pause').click();
  await runEnds(page, 'paused');
  await page.getByTestId('resume').waitFor();
});

onPage('connects to no foreign host, neither the page nor its worker', async ({ page }) => {
  const reached = [];
  await page.context().route('https://example.com/**', (route) => {
    reached.push(route.request().url());
    return route.fulfill({ body: 'reached', headers: { 'Access-Control-Allow-Origin': '*' } });
  });
  const outcome = await page.evaluate(() => fetch('https://example.com/').then(() => 'reached', (error) => error.name));
  assert.equal(outcome, 'TypeError');
  await ask(page, 'call out');
  assert.deepEqual(reached, []);
  await page.getByTestId('request-log').locator('summary').click();
  for (const from of ['page', 'engine']) {
    const row = page.locator(`[data-testid=request][data-from=${from}][data-outcome=blocked]`);
    await row.waitFor();
    assert.match(await row.innerText(), /example\.com/);
  }
  const inline = await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'window.injected = true';
    document.body.append(script);
    return window.injected ?? false;
  });
  assert.equal(inline, false, 'inline scripts do not run');
});

/** Everything the page can show, unfolded. */
async function fullPage(page) {
  await giveRows(page, 'rows.csv', `${someRows(120)}\nbroken`);
  await setField(page, 'steps', 12);
  for (const button of ['train-private', 'train-without-privacy']) {
    await page.getByTestId(button).click();
    await runEnds(page, 'finished');
    await idle(page);
  }
  await ask(page, `A long${'-long'.repeat(40)} word?`);
  await page.getByTestId('compare-question').fill('Which one?');
  await page.getByTestId('compare').click();
  await page.waitForFunction(() => document.querySelectorAll('[data-testid=compare-answer][data-state=finished]').length === 3);
  await page.getByTestId('rows-file').setInputFiles({ name: 'broken.csv', mimeType: 'text/csv', buffer: Buffer.from('PK\0') });
  await page.getByTestId('error-data').waitFor();
  await page.evaluate(() => document.querySelectorAll('details').forEach((details) => (details.open = true)));
}

onPage(
  'fits a phone without sideways scrolling',
  async ({ page }) => {
    await fullPage(page);
    const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(content <= window, `${content} px of content in ${window} px`);
    await picture(page, 'scripted-phone');
  },
  { viewport: { width: 360, height: 740 } },
);

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

for (const colorScheme of ['light', 'dark']) {
  onPage(
    `has no accessibility fault that axe finds, ${colorScheme}`,
    async ({ page }) => {
      await fullPage(page);
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(background, colorScheme === 'dark' ? 'rgb(21, 25, 23)' : 'rgb(247, 246, 242)');
      await page.evaluate(axe);
      const violations = await page.evaluate(async () => (await window.axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 120)).join(' | ')}`));
      assert.deepEqual(violations, []);
      await picture(page, `scripted-${colorScheme}`);
    },
    { colorScheme },
  );
}

onPage('keeps the visitor’s choice of colours', async ({ page }) => {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.getByTestId('theme').click();
  await page.getByTestId('theme').click();
  assert.equal(await background(), 'rgb(21, 25, 23)');
  await page.reload();
  await modelLoaded(page);
  assert.equal(await background(), 'rgb(21, 25, 23)');
});
