/**
 * Grades an answer: says whether it is right, and if not, which mistake it is, or where it is wrong first.
 * @module
 */
import type { Arguments, Step, Value } from './step.ts';

/** What a function gave for each case, or how it failed. */
export type Answer = { readonly value: Value } | { readonly error: string };

/** What a student is told. */
export interface Grade {
  readonly right: boolean;
  /** How many cases are right. */
  readonly passed: number;
  readonly cases: number;
  /** One or more sentences. */
  readonly text: string;
  /** Set if the answer is one that people often give. */
  readonly mistake?: string;
}

/** Answers may differ by this much, relative to the larger of 1 and the true number: they are computed in float64. */
const TOLERANCE = 1e-9;

/** Grades the answers to all cases of a step. */
export function grade(step: Step, answers: readonly Answer[]): Grade {
  const cases = step.cases();
  const truths = cases.map((given) => step.solve(given as never));
  const wrong = answers.flatMap((answer, n) => ('value' in answer && same(answer.value, truths[n]) ? [] : [n]));
  const counts = { passed: cases.length - wrong.length, cases: cases.length };
  if (wrong.length === 0) return { right: true, ...counts, text: 'Right.' };
  const first = wrong[0];
  const answer = answers[first];
  const call = `${step.name}(${callText(cases[first])})`;
  if ('error' in answer) return { right: false, ...counts, text: `${answer.error}, in the call ${call}.` };
  const known = step.mistakes.find(({ compute }) => {
    const theirs = cases.map((given) => compute(given as never));
    return theirs.some((value, n) => !same(value, truths[n])) &&
      answers.every((each, n) => 'value' in each && same(each.value, theirs[n]));
  });
  if (known) return { right: false, ...counts, text: `You compute ${known.what}. ${known.think}`, mistake: known.what };
  return { right: false, ...counts, text: `${differenceText(answer.value, truths[first])} The call was ${call}.` };
}

/** Whether two values agree in form, and in every number up to rounding. */
export function same(a: Value | undefined, b: Value): boolean {
  if (typeof b === 'number') {
    if (typeof a !== 'number' || !Number.isFinite(b)) return Object.is(a, b);
    return Math.abs(a - b) <= TOLERANCE * Math.max(1, Math.abs(b));
  }
  if (typeof a !== 'object' || Array.isArray(a) !== Array.isArray(b)) return false;
  const [own, theirs] = [a, b] as Record<string, Value>[];
  const names = Object.keys(theirs);
  return Object.keys(own).length === names.length && names.every((name) => same(own[name], theirs[name]));
}

const listed = (value: Value): value is readonly Value[] => Array.isArray(value);

/** What kind of thing a value is, such as a table of 3 x 2 numbers. */
function formOf(value: Value | undefined): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return 'a number';
  if (!listed(value)) return `an object with ${Object.keys(value).join(', ') || 'no fields'}`;
  if (value.length > 0 && value.every((row) => listed(row))) {
    const widths = [...new Set((value as readonly (readonly Value[])[]).map((row) => row.length))];
    const each = widths.length === 1 ? widths[0] : widths.join(' or ');
    return `${value.length} list${value.length === 1 ? '' : 's'} of ${each} number${each === 1 ? '' : 's'}`;
  }
  return `a list of ${value.length}`;
}

/** The first place where two values differ, in words. */
function differenceText(got: Value, truth: Value): string {
  const found = firstDifference(got, truth, 'the answer');
  return found ?? 'Some numbers differ.';
}

function firstDifference(got: Value | undefined, truth: Value, place: string): string | undefined {
  if (same(got, truth)) return undefined;
  if (typeof truth === 'number') {
    if (typeof got !== 'number') return `${place} is ${formOf(got)}, and should be a number.`;
    return `${place} is ${numberText(got)}, and should be ${numberText(truth)}.`;
  }
  if (typeof got !== 'object' || Array.isArray(got) !== Array.isArray(truth)) {
    return `${place} is ${formOf(got)}, and should be ${formOf(truth)}.`;
  }
  const [own, theirs] = [got, truth] as Record<string, Value>[];
  const list = listed(truth);
  if (list && (got as readonly Value[]).length !== truth.length) {
    return `${place} is ${formOf(got)}, and should be ${formOf(truth)}.`;
  }
  const missing = Object.keys(theirs).find((name) => !(name in own));
  if (missing !== undefined) return `${place} has no field ${missing}.`;
  for (const [name, value] of Object.entries(theirs)) {
    const inside = list ? `${place === 'the answer' ? 'answer' : place}[${name}]` : name;
    const found = firstDifference(own[name], value, inside);
    if (found !== undefined) return found;
  }
  return `${place} has further fields: ${Object.keys(own).filter((name) => !(name in theirs)).join(', ')}.`;
}

const numberText = (x: number): string => (Number.isInteger(x) || !Number.isFinite(x) ? String(x) : x.toPrecision(7));

function callText(given: Arguments): string {
  return Object.entries(given).map(([name, value]) => `${name} = ${valueText(value)}`).join(', ');
}

function valueText(value: Value): string {
  if (typeof value === 'number') return numberText(Number.isInteger(value) ? value : Number(value.toPrecision(4)));
  if (listed(value)) return `[${value.map(valueText).join(', ')}]`;
  return `{ ${Object.entries(value).map(([name, each]) => `${name}: ${valueText(each)}`).join(', ')} }`;
}
