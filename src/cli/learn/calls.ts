/**
 * Calls a student's function with all cases, and takes what it gives as numbers. The page of exercises does so in a
 * worker of the browser, and the command in a thread.
 * @module
 */
import type { Answer } from './grade.ts';
import type { Arguments, Value } from './step.ts';

/** Numbers, lists and objects of these; typed arrays become lists. */
function plain(value: unknown): Value {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value as ArrayLike<unknown>, plain);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
  }
  throw new TypeError(`it returns ${value === undefined ? 'nothing' : `a ${typeof value}`}, where numbers should be`);
}

/** What an error says, in one line. */
export const textOf = (error: unknown): string => (error instanceof Error ? `${error.name}: ${error.message}` : String(error));

/** The answers of a function that takes the arguments in order. */
export function answersOf(call: unknown, calls: readonly Arguments[]): Answer[] {
  return calls.map((given) => {
    try {
      return { value: plain((call as (...all: Value[]) => unknown)(...Object.values(structuredClone(given)))) };
    } catch (error) {
      const ours = error instanceof TypeError && error.message.startsWith('it returns');
      return { error: ours ? error.message : `it throws ${textOf(error)}` };
    }
  });
}
