// `npm test`: sets up what the tests need, runs all of them, cheap ones first, and sums up.
// `npm test -- page protocol` runs only the stages with one of these words in their names.

import { main, runAndRead } from './process.mjs';
import { setUpTests } from './setup.mjs';
import { stages } from './stages.mjs';

const NOTHING = { passed: 0, failed: 0, skipped: 0 };

/** Runs one stage unless something before it failed. A check that fails as a whole counts as one failed. */
async function runStage(stage, outcomes) {
  if (stage.skipped) return { ...NOTHING, state: 'skipped', note: stage.skipped };
  const obstacle = findObstacle(stage, outcomes);
  if (obstacle) return { ...NOTHING, state: 'not run', note: `${obstacle} failed`, failed: 1 };

  console.log(`\n== ${stage.name}`);
  const [command, ...words] = stage.command.split(' ');
  const { ok, output } = await runAndRead(command, words, stage.env);

  const counts = stage.count?.(output) ?? NOTHING;
  const problem = findProblem(stage, ok, output, counts);
  if (problem === null) return { ...counts, state: 'passed', note: '' };
  return { ...counts, state: 'FAILED', note: problem, failed: Math.max(counts.failed, 1) };
}

/** Name of a failed stage that this one needs, or of a failed cheap one if this one is slow. */
function findObstacle(stage, outcomes) {
  const failed = [...outcomes].filter(([, { state }]) => state === 'FAILED' || state === 'not run');
  return failed.find(([name, { cheap }]) => stage.needs?.includes(name) || (cheap && !stage.cheap))?.[0];
}

function findProblem(stage, ok, output, counts) {
  if (stage.refuse?.test(output)) return 'it warns';
  if (counts.failed > 0) return '';
  if (!ok) return 'exit status';
  if (stage.count && counts.passed === 0) return 'found no tests';
  if (counts.skipped > 0) return `${counts.skipped} tests are switched off`;
  return null;
}

function report(outcomes) {
  console.log('\n== Summary');
  const width = Math.max(...[...outcomes.keys()].map((name) => name.length));
  for (const [name, { state, note, passed, failed, seconds }] of outcomes) {
    const counts = passed + failed > 0 ? `${passed} passed, ${failed} failed` : '';
    const columns = [name.padEnd(width), state.padEnd(7), duration(seconds).padStart(11), counts, note && `(${note})`];
    console.log(columns.filter(Boolean).join('  '));
  }
}

function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}

/** True when no words are given on the command line, or one of them is in the stage's name. */
function isWanted({ name }) {
  const words = process.argv.slice(2);
  return words.length === 0 || words.some((word) => name.toLowerCase().includes(word.toLowerCase()));
}

await main(async () => {
  const begun = performance.now();
  setUpTests();

  const wanted = stages().filter(isWanted);
  if (wanted.length === 0)
    throw new Error(
      `No such stage; there are: ${stages()
        .map(({ name }) => name)
        .join(', ')}.`,
    );
  const outcomes = new Map();
  for (const stage of wanted) {
    const start = performance.now();
    const outcome = await runStage(stage, outcomes);
    outcomes.set(stage.name, { ...outcome, cheap: stage.cheap, seconds: (performance.now() - start) / 1000 });
  }

  report(outcomes);
  const total = (key) => [...outcomes.values()].reduce((sum, outcome) => sum + outcome[key], 0);
  console.log(`All in ${duration((performance.now() - begun) / 1000)}. A check or build that fails counts as one.`);
  console.log(`${total('passed')} passed, ${total('failed')} failed`);
  if (total('failed') > 0) process.exitCode = 1;
});
