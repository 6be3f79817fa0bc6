// Advice on a plan: choices that are allowed but poor, said before anything is spent.

import type { PlanAnswer, PlanQuestion } from './planner';

export interface Advice {
  /** The input it is about. */
  about: 'delta' | 'batch' | 'epsilon' | 'sigma' | 'steps' | 'rows' | 'ledger';
  severity: 'poor' | 'unsound';
  text: string;
}

/** δ is the chance that the guarantee fails outright; from 1/rows on, that could mean a row a run. */
export function adviseOn(question: PlanQuestion, answer: PlanAnswer, spent: number): Advice[] {
  const { rows, batch, steps, delta } = question;
  const { epsilon, sigma } = answer;
  const advice: Advice[] = [];
  const say = (about: Advice['about'], severity: Advice['severity'], text: string): void => {
    advice.push({ about, severity, text });
  };

  if (delta >= 1 / rows) {
    say('delta', 'unsound', `δ is too large for ${rows} rows: at 1/${rows} and above, the guarantee would allow giving a whole row away. Choose at most ${power(0.1 / rows)}.`);
  } else if (delta > 0.1 / rows) {
    say('delta', 'poor', `δ is close to 1/${rows}. A tenth of that or less, ${power(0.1 / rows)}, is the usual choice.`);
  }
  if (epsilon > 10) {
    say('epsilon', 'poor', `ε = ${epsilon.toFixed(1)} promises little: someone sure of everything but one row could learn much about it. Below 8 is customary, below 1 is strong.`);
  }
  if (batch >= rows) {
    say('batch', 'poor', `The batch is as large as the data: every row joins every step, and sampling adds no privacy. Try ${Math.max(1, Math.round(rows / 8))}.`);
  }
  // Noise on the mean gradient is σC/batch per coordinate: with few rows a step, it drowns what they agree on.
  if (sigma / batch > 0.1) {
    say('batch', 'poor', `The batch is small for this much noise (σ/batch = ${(sigma / batch).toFixed(2)}): the model will learn slowly or not at all. Larger batches or fewer steps help.`);
  }
  if (sigma < 0.5) {
    say('sigma', 'poor', `σ = ${sigma.toFixed(2)} is very little noise; the guarantee is weak. Fewer steps or a smaller ε would raise it.`);
  }
  if (rows < 100) {
    say('rows', 'poor', `${rows} rows are few. Privacy hides each row among the others, so with few rows little can be learnt. A few hundred are a start.`);
  }
  if (steps * batch < rows) {
    say('steps', 'poor', 'The run ends before every row was seen once on average. More steps would use the data better.');
  }
  if (spent > 0 && 'epsilon' in question.by) {
    const left = question.by.epsilon - spent;
    say(
      'ledger',
      left <= 0 ? 'unsound' : 'poor',
      left <= 0
        ? `Earlier runs have already spent ε = ${spent.toFixed(2)} of these rows. This budget is used up; training would stop at once.`
        : `Earlier runs have already spent ε = ${spent.toFixed(2)} of these rows. Training stops at the budget, so this run will end before its last step.`,
    );
  }
  return advice;
}

/** The power of ten at or below a value, as "1e-5". */
function power(value: number): string {
  return `1e${Math.floor(Math.log10(value))}`;
}
