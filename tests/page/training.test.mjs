// Training, adapters, and what survives a reload, a lost device or a crash, over a scripted engine.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { unzipSync, zipSync } from 'fflate';

import { ask, giveRows, idle, modelLoaded, open, planned, runEnds, setField, someRows } from './page.mjs';
import { scriptedSuite } from './suite.mjs';

const { site, onPage } = scriptedSuite();

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
  assert.match(await page.getByTestId('plan-answer').innerText(), /Earlier runs have spent ε = 2\.00/);
});

onPage('a run that no step is left for leaves no empty adapter behind', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(200));
  await setField(page, 'steps', 10);
  // The second time, less is left of the budget than a step of this engine costs.
  for (const [target, end] of [[1, 'finished'], [1.05, 'budgetSpent']]) {
    await setField(page, 'target-epsilon', target);
    await page.getByTestId('train-private').click();
    await runEnds(page, end);
    await idle(page);
  }
  await page.waitForFunction(() => document.querySelectorAll('[data-adapter]').length === 1);
});

onPage('no private run starts on a spent budget; one without privacy still does', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(200));
  await setField(page, 'target-epsilon', 1);
  await setField(page, 'steps', 10);
  await page.getByTestId('train-private').click();
  await runEnds(page, 'finished');
  await idle(page);
  await planned(page);
  assert.match(await page.getByTestId('plan-answer').innerText(), /used up/);
  assert.match(await page.getByTestId('why-not').innerText(), /used up/);
  assert.ok(await page.getByTestId('train-private').isDisabled());
  await page.getByTestId('train-without-privacy').click();
  await page.getByTestId('without-privacy-banner').waitFor();
  await runEnds(page, 'finished');
});

onPage('plans a further run for what is left of the budget', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(200));
  await setField(page, 'target-epsilon', 2);
  await setField(page, 'steps', 10);
  const read = async (name) => Number(await page.getByTestId(`plan-${name}`).innerText());
  const fresh = { sigma: await read('sigma'), epsilon: await read('epsilon') };
  assert.equal(await read('epsilon-after'), fresh.epsilon);
  await page.getByTestId('train-private').click();
  await runEnds(page, 'finished');
  await idle(page);
  await planned(page);
  assert.ok((await read('sigma')) > fresh.sigma, 'less is left, so more noise is needed');
  assert.ok((await read('epsilon')) < fresh.epsilon);
  const after = await read('epsilon-after');
  assert.ok(after > 1.98 && after <= 2, `the budget is used and kept: ${after}`);
  const ledger = page.getByTestId('ledger');
  assert.deepEqual(
    await ledger.evaluate(({ dataset }) => [dataset.epsilon, dataset.steps, dataset.runs].map(Number)),
    [1, 10, 1],
  );
  await ledger.getByRole('img', { name: 'ε = 1.00 of 2.00 spent, 2.00 after the planned run.' }).waitFor();
});

onPage('says what other data sets have spent of these rows', async ({ page }) => {
  await giveRows(page, 'overlapping.csv', someRows(200));
  assert.equal(
    await page.getByTestId('overlap').innerText(),
    '17 of these 180 rows were used before as part of another data set of 300 rows, in 2 runs, 12 steps in all. What was spent there counts here too.',
  );
  assert.match(await page.getByTestId('spent-before').innerText(), /ε = 1\.20/);
  assert.doesNotMatch(await page.getByTestId('ledger').innerText(), /another$|rows-200/, 'no fingerprint is shown');
  await setField(page, 'target-epsilon', 2);
  await page.getByTestId('train-private').click();
  await runEnds(page, 'budgetSpent');
  assert.ok(Number(await page.getByTestId('epsilon-spent').getAttribute('data-epsilon')) <= 2 + 1e-9, 'the shared budget holds');
});

onPage('a limit on the batch is planned for, priced, and passed on', async ({ page }) => {
  await giveRows(page, 'rows.csv', someRows(200));
  await setField(page, 'steps', 5);
  const sigma = async () => Number(await page.getByTestId('plan-sigma').innerText());
  const unlimited = await sigma();
  await setField(page, 'batch-cap', 33);
  assert.ok((await sigma()) > unlimited, 'it costs noise');
  assert.ok((await page.getByTestId('cap-cost').innerText()).includes(unlimited.toFixed(3)));
  await page.getByTestId('train-private').click();
  await runEnds(page, 'finished');
  await idle(page);
  assert.equal(JSON.parse((await statementJson(page)).text).plan.batchCap, 33);
});

/** The statement that the page gives as a file. */
async function statementJson(page) {
  await page.getByTestId('statement').locator('summary').click();
  const download = page.waitForEvent('download');
  await page.getByTestId('statement-json').click();
  const file = await download;
  return { name: file.suggestedFilename(), text: readFileSync(await file.path(), 'utf8') };
}

onPage('gives the privacy statement as text and as JSON, with the way to verify it', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await giveRows(page, 'rows.csv', someRows(100));
  await setField(page, 'steps', 5);
  await page.getByTestId('train-private').click();
  await runEnds(page, 'finished');
  await idle(page);
  const { name, text } = await statementJson(page);
  assert.equal(name, 'privacy_statement.json');
  assert.equal(JSON.parse(text).steps, 5);
  const statement = page.getByTestId('statement');
  assert.match(await statement.innerText(), /vaultlab verify privacy_statement\.json/);
  await page.getByTestId('copy-statement').click();
  await statement.getByText('Copied.').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await page.getByTestId('statement-text').innerText());
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
  assert.deepEqual(Object.keys(entries).sort(), ['adapter_config.json', 'adapter_model.safetensors', 'privacy_statement.json', 'privacy_statement.txt']);
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
  const { page, errors, close } = await open(site());
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

onPage('two tabs do not train at once, and the second one spoils nothing', async ({ page, context }) => {
  await giveRows(page, 'rows.csv', someRows(200));
  await setField(page, 'steps', 3000);
  await setField(page, 'target-epsilon', 900);
  await setField(page, 'checkpoint-every', 1);
  await page.getByTestId('train-private').click();
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=epsilon-spent]')?.dataset.epsilon) > 0.2);
  const other = await context.newPage();
  await other.goto(site().url);
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
