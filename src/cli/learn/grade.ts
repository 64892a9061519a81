/**
 * Grades an answer: says whether it is right, and if not, which mistake it is, or where it is wrong first.
 * @module
 */
import type { Arguments, Step, Value } from './step.ts';
import { functionName, type Language, parameterName } from './stubs.ts';

/** What a function gave for a case, or how it failed, and what it printed. */
export type Answer = ({ readonly value: Value } | { readonly error: string }) & { readonly printed?: string };

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
  /** What the function printed in the call that the text is about. */
  readonly printed?: string;
}

/** Answers may differ by this much, relative to the larger of 1 and the true number: they are computed in float64. */
const TOLERANCE = 1e-9;

/** Grades the answers to all cases of a step. The text names functions and numbers as the language does. */
export function grade(step: Step, answers: readonly Answer[], language: Language = 'js'): Grade {
  const cases = step.cases();
  const truths = cases.map((given) => step.solve(given as never));
  const wrong = answers.flatMap((answer, n) => ('value' in answer && same(answer.value, truths[n]) ? [] : [n]));
  const counts = { passed: cases.length - wrong.length, cases: cases.length };
  if (wrong.length === 0) return { right: true, ...counts, text: 'Right.' };
  const first = wrong.reduce((least, n) => (sizeOf(cases[n]) < sizeOf(cases[least]) ? n : least));
  const answer = answers[first];
  const { printed } = answer;
  const result = { right: false, ...counts, ...(printed ? { printed } : {}) };
  const known = knownMistake(step, cases, truths, answers);
  if (known) return { ...result, text: `You compute ${known.what}. ${known.think}`, mistake: known.what };
  const says = words(language);
  const call = `${functionName(step, language)}(${says.call(cases[first])})`;
  if ('error' in answer) {
    const why = answer.error.includes('ZeroDivisionError') && 'types' in cases[first] &&
      (cases[first].types as readonly Value[]).length === 1 ? ' With one token, N - 1 is 0.' : '';
    return { ...result, text: `${answer.error}, in the call ${call}.${why}` };
  }
  const difference = firstDifference(answer.value, truths[first], 'the answer', says) ?? 'Some numbers differ.';
  const nan = / is (NaN|nan),/.test(difference) ? ' NaN: exp() overflowed, or 0 / 0, or infinity minus infinity.' : '';
  return { ...result, text: `${difference}${nan} The call was ${call}.` };
}

/** How many numbers a case has. */
const sizeOf = (value: Value | Arguments): number =>
  (typeof value === 'number' ? 1 : Object.values(value).reduce((sum: number, each: Value) => sum + sizeOf(each), 0));

/**
 * The mistake that explains all answers, or all to ordinary cases: the same mistake, written differently, differs in
 * extreme ones.
 */
function knownMistake(
  step: Step, cases: readonly Arguments[], truths: readonly Value[], answers: readonly Answer[],
): Step['mistakes'][number] | undefined {
  const explains = (given: readonly number[]) => step.mistakes.find(({ compute }) => {
    const theirs = new Map(given.map((n) => [n, compute(cases[n] as never)]));
    return given.some((n) => !same(theirs.get(n), truths[n])) && given.every((n) => {
      const answer = answers[n];
      // Where one language divides by 0, another raises an error.
      return 'value' in answer ? same(answer.value, theirs.get(n)!) : answer.error.includes('ZeroDivision') && hasNaN(theirs.get(n)!);
    });
  });
  const every = cases.map((_, n) => n);
  return explains(every) ?? explains(every.filter((n) => isOrdinary(cases[n])));
}

const hasNaN = (value: Value): boolean => (typeof value === 'number' ? Number.isNaN(value) : Object.values(value).some(hasNaN));

/** Whether no number is so large that exp() of it overflows. */
const isOrdinary = (value: Value | Arguments): boolean =>
  (typeof value === 'number' ? value === Infinity || Math.abs(value) < 500 : Object.values(value).every(isOrdinary));

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
function firstDifference(got: Value | undefined, truth: Value, place: string, says: Words): string | undefined {
  if (same(got, truth)) return undefined;
  if (typeof truth === 'number') {
    if (typeof got !== 'number') return `${place} is ${formOf(got)}, and should be a number.`;
    return `${place} is ${says.number(got)}, and should be ${says.number(truth)}.`;
  }
  if (typeof got !== 'object' || Array.isArray(got) !== Array.isArray(truth)) {
    return `${place} is ${formOf(got)}, and should be ${formOf(truth)}.`;
  }
  const [own, theirs] = [got, truth] as Record<string, Value>[];
  const list = listed(truth);
  if (list && (got as readonly Value[]).length !== truth.length) {
    const short = (value: Value) => listed(value) && value.length <= 12 && value.every((each) => typeof each === 'number');
    if (short(got as Value) && short(truth)) return `${place} is ${says.value(got as Value)}, and should be ${says.value(truth)}.`;
    return `${place} is ${formOf(got)}, and should be ${formOf(truth)}.`;
  }
  const missing = Object.keys(theirs).find((name) => !(name in own));
  if (missing !== undefined) return `${place} has no field ${missing}.`;
  for (const [name, value] of Object.entries(theirs)) {
    const inside = list ? `${place === 'the answer' ? 'answer' : place}[${name}]` : name;
    const found = firstDifference(own[name], value, inside, says);
    if (found !== undefined) return found;
  }
  return `${place} has further fields: ${Object.keys(own).filter((name) => !(name in theirs)).join(', ')}.`;
}

/** How values are written. */
interface Words {
  number(x: number): string;
  value(value: Value): string;
  call(given: Arguments): string;
}

function words(language: Language): Words {
  const names = language === 'py' ? { Infinity: 'np.inf', '-Infinity': '-np.inf', NaN: 'nan' } as Record<string, string> : {};
  const number = (x: number): string => {
    const text = String(Number.isInteger(x) || !Number.isFinite(x) ? x : Number(x.toPrecision(7)));
    return names[text] ?? text;
  };
  const value = (given: Value): string => {
    if (typeof given === 'number') return number(Number.isInteger(given) ? given : Number(given.toPrecision(4)));
    if (listed(given)) return `[${given.map(value).join(', ')}]`;
    return `{ ${Object.entries(given).map(([name, each]) => `${name}: ${value(each)}`).join(', ')} }`;
  };
  const call = (given: Arguments): string =>
    Object.entries(given).map(([name, each]) => `${parameterName(name, language)} = ${value(each)}`).join(', ');
  return { number, value, call };
}
