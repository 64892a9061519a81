/**
 * Refuses unknown options instead of ignoring them.
 * @module
 */
import { type Expected, record } from './arguments.ts';
import { ValueError } from './errors.ts';
import { editDistance } from './spelling.ts';

/** Expects an object with these fields and no others. `what` takes them, and `noun` is what its errors call them. */
export function expectFields(
  what: string, name: string, value: unknown, fields: Readonly<Record<string, Expected>>, noun?: string,
): void {
  record()(name, value);
  expectKnown(what, value, Object.keys(fields), noun);
  record(fields)(name, value);
}

/** The options of every cache. */
export const CACHE_OPTIONS = ['batch', 'kvHeads', 'headDim', 'blockSize', 'storage', 'reach'] as const;

/** The options of a cache whose entries have types. */
export const TYPE_OPTIONS = ['window', 'localWindow', 'chunk'] as const;

/** A field that is checked elsewhere. */
export const anything: Expected = () => undefined;

/**
 * Refuses unknown options, such as misspelt ones, and suggests the most similar name.
 *
 * @param what The function that takes them.
 * @param noun What the error message calls them.
 */
export function expectKnown(what: string, options: unknown, names: readonly string[], noun = 'option'): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    const kind = options === null ? 'null' : Array.isArray(options) ? 'a list' : `a ${typeof options}`;
    throw new ValueError(`the ${noun}s of ${what} are ${kind}: pass an object, or leave them out`);
  }
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown === undefined) return;
  const distances = names.map((name) => editDistance(unknown.toLowerCase(), name.toLowerCase()));
  const least = Math.min(...distances);
  const near = least <= Math.max(2, unknown.length / 3) ? `did you mean ${names[distances.indexOf(least)]}? ` : '';
  const all = [...names].sort().join(', ');
  throw new ValueError(`${what} has no ${noun} ${JSON.stringify(unknown.slice(0, 100))}: ${near}its ${noun}s are ${all}`);
}
