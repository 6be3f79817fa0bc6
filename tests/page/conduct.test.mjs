// How the page behaves everywhere: its policy, on a phone, for assistive technology, in both colours.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { ask, giveRows, idle, modelLoaded, picture, runEnds, setField, someRows } from './page.mjs';
import { scriptedSuite } from './suite.mjs';

const { onPage } = scriptedSuite();

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
  // The scripted engine finds that these rows were used before.
  await giveRows(page, 'overlapping.csv', `${someRows(120)}\nbroken`);
  await page.getByTestId('incomparable').waitFor();
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
