/**
 * How wrong values are named and refused.
 * @module
 */
import { ValueError } from './errors.ts';

/** What a wrong argument is, for messages. */
export function described(value: unknown): string {
  if (value === null || value === undefined || typeof value === 'number') return String(value);
  if (typeof value !== 'object') return `a ${typeof value}`;
  const tag = tagOf(value);
  return tag === 'Promise' ? 'a Promise, await it first' : `${/^[AEIOU]/.test(tag) ? 'an' : 'a'} ${tag}`;
}

/** 'Float64Array', 'Map', ...: what the object is, in whatever realm it was made. */
export function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Refuses with what was wanted. */
export function fail(name: string, value: unknown, wanted: string): never {
  throw new ValueError(`${name} is ${described(value)}: it must be ${wanted}`);
}
