/**
 * Describes and refuses invalid values.
 * @module
 */
import { ValueError } from './errors.ts';

/** An invalid argument as it appears in messages. */
export function described(value: unknown): string {
  if (value === null || value === undefined || typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'object') return `a ${typeof value}`;
  const tag = tagOf(value);
  return tag === 'Promise' ? 'a Promise, await it first' : `${/^[AEIOU]/.test(tag) ? 'an' : 'a'} ${tag}`;
}

/** The kind of an object from any realm, such as 'Float64Array' or 'Map'. */
export function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Throws an error that says what was wanted. */
export function fail(name: string, value: unknown, wanted: string): never {
  throw new ValueError(`${name} is ${described(value)}: it must be ${wanted}`);
}
