/**
 * Calls a student's function with all cases, and takes what it gives as numbers. The page of exercises does so in a
 * worker of the browser, and the command in a thread.
 * @module
 */
import type { Answer } from './grade.ts';
import type { Arguments, Value } from './step.ts';

/** What is said of an answer that is no number. */
class Odd extends TypeError {}

/** Numbers, lists and objects of these; typed arrays become lists. */
function plain(value: unknown): Value {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value as ArrayLike<unknown>, plain);
  if (value instanceof Promise) throw new Odd('it returns a Promise: the function must not be async');
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
  }
  throw new Odd(`it returns ${value === undefined ? 'nothing' : `a ${typeof value}`}, where numbers should be`);
}

/** What an error says, in one line. */
export const textOf = (error: unknown): string => (error instanceof Error ? `${error.name}: ${error.message}` : String(error));

/** How to run a student's function. */
export interface Calling {
  /** What an error says, and where it was thrown. */
  readonly said?: (error: unknown) => string;
  /** What was printed since this was asked last. */
  readonly heard?: () => string;
}

/** The answers of a function that takes the arguments in order. */
export function answersOf(
  call: unknown, calls: readonly Arguments[], { said = textOf, heard = () => '' }: Calling = {},
): Answer[] {
  const answer = (given: Arguments): Answer => {
    try {
      return { value: plain((call as (...all: Value[]) => unknown)(...Object.values(structuredClone(given)))) };
    } catch (error) {
      return { error: error instanceof Odd ? error.message : `it throws ${said(error)}` };
    }
  };
  return calls.map((given) => {
    const got = answer(given);
    const printed = heard();
    return printed === '' ? got : { ...got, printed };
  });
}
