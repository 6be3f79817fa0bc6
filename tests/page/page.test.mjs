// Opening, talking, rows and plan over a scripted engine: what is the page's own work, in seconds. The story
// with the real engine is in story.test.mjs.

import assert from 'node:assert/strict';

import { ask, giveRows, idle, modelLoaded, setField, someRows } from './page.mjs';
import { scriptedSuite } from './suite.mjs';

const { onPage } = scriptedSuite();

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
  // The demo's questions come first; the field follows them.
  const focused = () => page.evaluate(() => document.activeElement.dataset.testid);
  for (let presses = 0; presses < 12 && (await focused()) !== 'question'; presses++) await page.keyboard.press('Tab');
  assert.equal(await focused(), 'question');
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
  const error = Number(await page.getByTestId('plan-error').innerText());
  assert.ok(error > 0 && error < 0.01, `ε comes with how exact it is: ${error}`);
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
  const good = await steps.inputValue();
  await steps.fill('-3');
  assert.equal(await steps.getAttribute('aria-invalid'), 'true');
  await page.getByText('Needs a whole number from 1').waitFor();
  await steps.blur();
  assert.equal(await steps.inputValue(), good, 'the last good value is back');
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
