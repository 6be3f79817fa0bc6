// The whole story on the built page with the real engine: load, talk, upload, plan, train, pause, reload,
// resume, find the budget spent, compare, export, import. Every stage leaves a screenshot in .cache/page-pictures.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { unzipSync } from 'fflate';

import { root } from '../../tools/process.mjs';
import { ask, giveRows, idle, modelLoaded, open, picture, picturesFolder, runEnds, setField } from './page.mjs';

/** A question of the sample private set that is answered in the clinic's manner: what the training shall teach. */
const QUESTION = sampleRows()
  .split('\n')
  .find((line) => /\?,"?Dear colleague/.test(line))
  .split(/\?,/)[0]
  .replace(/^"/, '')
  .concat('?');

/** The sample private set, or its first rows. */
export function sampleRows(limit = Infinity) {
  const lines = readFileSync(path.join(root, 'www/models/demo/private.csv'), 'utf8').trimEnd().split('\n');
  return lines.slice(0, limit + 1).join('\n');
}

/**
 * Plays the story on a device.
 *
 * - `plan`: fields of the plan to set, by test id
 * - `pauseAt`: step from which on the run is paused
 * - `stepsWithoutPrivacy`: length of the run without privacy, if it shall be shorter
 * - `learns`: whether the run is long enough that held-out loss must fall
 *
 * Returns what was measured on the way.
 */
export async function play(site, { device, rows, plan, pauseAt, stepsWithoutPrivacy, learns, name, patience }) {
  const measured = { device };
  const opened = await open(site, { timeout: patience });
  const { page, errors } = opened;
  try {
    if ((await page.getByTestId('device-kind').innerText()).toLowerCase() !== device) await choose(page, device, patience);
    measured.adapter = await page.getByTestId('device-name').innerText();
    measured.reason = await page.getByTestId('device-reason').innerText();
    await picture(page, `${name}-1-loaded`, 'model');

    const asked = Date.now();
    const before = await ask(page, QUESTION, patience);
    measured.firstAnswerMs = Date.now() - asked;
    assert.ok(before.length > 0, 'the base model answers');
    assert.equal(await ask(page, QUESTION, patience), before, 'greedy answers repeat');
    await picture(page, `${name}-2-talk`, 'talk');

    await giveRows(page, 'private.csv', rows, patience);
    await picture(page, `${name}-3-rows`, 'data');

    for (const [field, value] of Object.entries(plan)) await setField(page, field, value);
    const steps = Number(await page.getByTestId('steps').inputValue());
    const target = Number(await page.getByTestId('target-epsilon').inputValue());
    assert.ok(Number(await page.getByTestId('plan-epsilon').innerText()) <= target + 0.01);
    assert.match(await page.getByTestId('spent-before').innerText(), /^Nothing yet/);
    measured.sigma = Number(await page.getByTestId('plan-sigma').innerText());
    await picture(page, `${name}-4-plan`, 'plan');

    await watchEpsilon(page);
    await page.getByTestId('train-private').click();
    await reached(page, pauseAt, patience);
    await picture(page, `${name}-5-training`, 'train');
    await page.getByTestId('pause').click();
    await runEnds(page, 'paused', patience);
    await idle(page, patience);
    const paused = await spent(page);
    const shown = await page.evaluate(() => window.shown);

    await page.reload();
    await modelLoaded(page, patience);
    await page.getByTestId('restore').click();
    await page.getByTestId('rows-report').waitFor({ timeout: patience });
    await idle(page, patience);
    await picture(page, `${name}-6-reloaded`);
    assert.equal((await page.getByTestId('device-kind').innerText()).toLowerCase(), device, 'the device is the chosen one again');
    await watchEpsilon(page);
    await page.getByTestId('resume').click();
    await runEnds(page, 'finished', patience);
    await idle(page, patience);
    const trace = [...shown, ...(await page.evaluate(() => window.shown))];
    assert.ok((await spent(page)) > paused, 'the resumed run goes on spending');
    assert.ok(trace.length >= steps, `${trace.length} values of ε were shown in ${steps} steps`);
    assert.ok(Math.max(...trace) <= target, `ε was never above ${target}: ${Math.max(...trace)}`);
    measured.epsilon = Math.max(...trace);
    measured.private = await readings(page);
    await picture(page, `${name}-7-trained`, 'train');

    // What these rows have spent stays spent: no further private run can start.
    assert.equal(Number(await page.getByTestId('ledger').getAttribute('data-steps')), steps);
    assert.match(await page.getByTestId('why-not').innerText(), /used up/);
    assert.ok(await page.getByTestId('train-private').isDisabled());
    await picture(page, `${name}-8-budget-spent`, 'plan');

    if (stepsWithoutPrivacy) await setField(page, 'steps', stepsWithoutPrivacy);
    await page.getByTestId('train-without-privacy').click();
    await page.getByTestId('without-privacy-banner').waitFor();
    await runEnds(page, 'finished', patience);
    await idle(page, patience);
    measured.withoutPrivacy = await readings(page);
    assert.equal(await page.getByTestId('epsilon-spent').count(), 0, 'no ε is shown for a run without privacy');
    await picture(page, `${name}-9-without-privacy`, 'train');

    await page.getByTestId('compare-question').fill(QUESTION);
    await page.getByTestId('compare').click();
    await page.waitForFunction(() => document.querySelectorAll('[data-testid=compare-answer][data-state=finished]').length >= 3, null, { timeout: patience });
    const answers = await page.getByTestId('compare-answer-text').allInnerTexts();
    assert.equal(answers[0].trim(), before, 'the base model is as it was');
    measured.answers = answers.map((answer) => answer.trim());
    await picture(page, `${name}-10-compared`, 'compare');

    const archive = await exported(page, 'private');
    checkArchive(archive, measured);
    await page.locator('[data-adapter="private"]').getByTestId('remove-adapter').click();
    await page.locator('[data-adapter="private"]').waitFor({ state: 'detached' });
    await page.getByTestId('adapter-file').setInputFiles({ name: 'private.zip', mimeType: 'application/zip', buffer: archive });
    await page.locator('[data-adapter="private"]').waitFor({ timeout: patience });
    await idle(page, patience);
    await page.getByTestId('talk-adapter').selectOption('private');
    assert.equal(await ask(page, QUESTION, patience), measured.answers[1], 'the adapter answers the same after export and import');
    await picture(page, `${name}-11-imported`, 'talk');
    await picture(page, `${name}-12-whole`);

    if (learns) {
      const { first, last } = measured.private;
      assert.ok(last < 0.8 * first, `held-out loss falls by a fifth at least: ${first} to ${last}`);
      assert.notEqual(measured.answers[1], before, 'the trained adapter answers differently');
    }
    assert.deepEqual(errors, []);
    return measured;
  } finally {
    writeFileSync(path.join(picturesFolder(), `${name}.json`), JSON.stringify(measured, null, 2));
    // The browser may be gone after a failure, which is the one to report.
    await opened.close().catch(() => {});
  }
}

async function choose(page, device, patience) {
  await page.getByTestId(`device-${device}`).check();
  await page.getByTestId('device-kind').getByText(device.toUpperCase()).waitFor({ timeout: patience });
  await modelLoaded(page, patience);
  await idle(page, patience);
}

/** Collects every ε the page shows, in `window.shown`. */
function watchEpsilon(page) {
  return page.evaluate(() => {
    window.shown = [];
    const look = () => {
      const epsilon = Number(document.querySelector('[data-testid=epsilon-spent]')?.dataset.epsilon ?? 0);
      if (epsilon > 0 && epsilon !== window.shown.at(-1)) window.shown.push(epsilon);
    };
    new MutationObserver(look).observe(document.querySelector('[data-testid=section-train]'), { subtree: true, childList: true, attributes: true });
  });
}

function reached(page, step, timeout) {
  return page.waitForFunction(
    (wanted) => Number(document.querySelector('[data-testid=run]')?.dataset.step ?? 0) >= wanted,
    step,
    { timeout },
  );
}

async function spent(page) {
  return Number(await page.getByTestId('epsilon-spent').getAttribute('data-epsilon'));
}

/** What the page shows of a finished run. */
async function readings(page) {
  const text = (name) => page.getByTestId(`reading-${name}`).innerText();
  const run = page.getByTestId('run');
  return {
    first: Number(await run.getAttribute('data-first-held-out')),
    last: Number(await run.getAttribute('data-last-held-out')),
    stepTime: await text('step-time'),
    tokensPerSecond: await text('tokens-per-second'),
    memoryPeak: await text('memory-peak'),
  };
}

async function exported(page, name) {
  const download = page.waitForEvent('download');
  await page.locator(`[data-adapter="${name}"]`).getByTestId('save-adapter').click();
  return readFileSync(await (await download).path());
}

/** The archive holds what PEFT needs, with its parameter names. */
function checkArchive(archive, measured) {
  const entries = unzipSync(archive);
  const config = JSON.parse(Buffer.from(entries['adapter_config.json']).toString());
  assert.equal(config.peft_type, 'LORA');
  assert.ok(config.r > 0 && config.target_modules.length > 0);
  const weights = Buffer.from(entries['adapter_model.safetensors']);
  const header = JSON.parse(weights.subarray(8, 8 + Number(weights.readBigUInt64LE(0))).toString());
  const names = Object.keys(header).filter((key) => key !== '__metadata__');
  assert.ok(names.length > 0 && names.every((key) => /^base_model\.model\..*\.lora_[AB]\.weight$/.test(key)), names[0]);
  measured.adapterBytes = archive.length;
}
