/**
 * Checks of arguments, which every public function describes in these terms. Values that do not pass are refused by
 * named errors. Nothing here is called while modules load, nor are checks made of it, so that bundlers can drop what is
 * not used.
 * @module
 */
import { described, fail, tagOf } from './described.ts';
import { isNamedError, ValueError } from './errors.ts';
import { firstNotFinite } from './finite.ts';
import { expectElements, expectSizes, type NDArray, type TypedArray } from './tensor.ts';

/** Refuses a value that is not as expected. */
export type Expected = (name: string, value: unknown) => void;

/** A value of a JavaScript type. */
export const of = (type: 'boolean' | 'function' | 'number' | 'string'): Expected => (name, value) => {
  if (typeof value !== type) fail(name, value, `a ${type}`);
};

/** One of several strings. */
export const oneOf = (...words: readonly string[]): Expected => (name, value) => {
  if (typeof value === 'string' && words.includes(value)) return;
  const found = typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : described(value);
  throw new ValueError(`${name} is ${found}: it must be ${words.map((word) => `'${word}'`).join(' or ')}`);
};

/** A number other than NaN and infinity. */
export const finite: Expected = (name, value) => {
  if (typeof value !== 'number' || !Number.isFinite(value)) fail(name, value, 'a finite number');
};

/** A finite number above 0. */
export const positive: Expected = (name, value) => {
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) fail(name, value, 'a finite number above 0');
};

/** A finite number of at least `least`. */
export const numberFrom = (least: number): Expected => (name, value) => {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < least) fail(name, value, `a finite number, ${least} or more`);
};

/** A number from 0 to 1. */
export const share: Expected = (name, value) => {
  if (typeof value !== 'number' || !(value >= 0 && value <= 1)) fail(name, value, 'a number from 0 to 1');
};

/** A whole number from `least` to `most`. */
export const wholeFrom = (least: number, most: number = Number.MAX_SAFE_INTEGER): Expected => (name, value) => {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return;
  const range = most === Number.MAX_SAFE_INTEGER ? `, ${least} or more` : ` from ${least} to ${most}`;
  fail(name, value, `a whole number${range}`);
};

/** Undefined, or as `expected`. */
export const optional = (expected: Expected): Expected => (name, value) => {
  if (value !== undefined) expected(name, value);
};

/** Any object except a list, and except bytes. */
export const expectObject: Expected = (name, value) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
    fail(name, value, 'an object');
  }
};

/** An object whose fields are as expected. It may have others. */
export const record = (fields: Readonly<Record<string, Expected>> = {}): Expected => (name, value) => {
  expectObject(name, value);
  for (const [key, expected] of Object.entries(fields)) {
    expected(key, (value as Record<string, unknown>)[key]);
  }
};

/** An array whose elements are as expected. */
export const list = (expected: Expected): Expected => (name, value) => {
  if (!Array.isArray(value)) fail(name, value, 'an array');
  const all = value as unknown[];
  for (let n = 0; n < all.length; n++) expected(`${name}[${n}]`, all[n]); // visits holes too
};

/** An iterable other than a string. */
export const expectIterable: Expected = (name, value) => {
  const through: unknown = typeof value === 'object' ? (value as Iterable<unknown> | null)?.[Symbol.iterator] : undefined;
  if (typeof through !== 'function') fail(name, value, 'an array or another iterable');
  expectAttached(name, value);
};

/** Refuses a view or a buffer whose bytes were transferred away, since nothing can be read from it. */
export const expectAttached: Expected = (name, value) => {
  if (isDetached(value)) throw new ValueError(`${name} is ${described(value)} whose bytes were transferred elsewhere: pass a copy, or transfer one`);
};

function isDetached(value: unknown): boolean {
  const buffer: unknown = ArrayBuffer.isView(value) ? value.buffer : value;
  if (tagOf(buffer) !== 'ArrayBuffer' || (buffer as ArrayBuffer).byteLength > 0) return false;
  try {
    return !new Uint8Array(buffer as ArrayBuffer); // throws; ArrayBuffer.prototype.detached is too new
  } catch {
    return true;
  }
}

/** Expects the signal of an AbortController. */
export const expectSignal: Expected = (name, value) => {
  if (typeof value === 'object' && value !== null && typeof (value as Partial<AbortSignal>).aborted === 'boolean') return;
  fail(name, value, 'the signal of an AbortController');
};

/** An iterable other than a string, or an asynchronous one. */
export const expectPieces: Expected = (name, value) => {
  const through: unknown = typeof value === 'object' ? (value as AsyncIterable<unknown> | null)?.[Symbol.asyncIterator] : undefined;
  if (typeof through !== 'function') expectIterable(name, value);
};

/** Numbers in a typed array or a plain array. With `whole`, they must be integers of 32 bits. */
export const numbers = (whole: boolean = false): Expected => (name, value) => {
  const data = value as ArrayLike<number>;
  if (!Array.isArray(value) && (!ArrayBuffer.isView(value) || /^Big|^DataView$/.test(tagOf(value)))) {
    fail(name, value, 'numbers, in a typed array or a plain one');
  }
  expectAttached(name, value);
  if (whole ? tagOf(data) === 'Int32Array' : !Array.isArray(value)) return;
  for (let n = 0; n < data.length; n++) {
    const x: unknown = data[n];
    if (typeof x !== 'number') fail(`${name}[${n}]`, x, 'a number');
    if (whole && x !== (x as number | 0)) fail(`${name}[${n}]`, x, 'a whole number of 32 bits');
  }
};

/** Numbers in a typed array, of whatever kind. */
export const typed: Expected = (name, value) => {
  if (Array.isArray(value)) fail(name, value, 'a typed array');
  numbers()(name, value);
};

/** An Int32Array. */
export const expectInt32: Expected = (name, value) => {
  if (typeof value !== 'object' || value === null || tagOf(value) !== 'Int32Array') fail(name, value, 'an Int32Array');
};

/** The sizes of an array. */
export const shape: Expected = expectSizes;

function array(kinds: readonly string[], wanted: string, name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) fail(name, value, `an array { data, shape } of ${wanted}`);
  const { data, shape: sizes } = value as NDArray<TypedArray>;
  if (!kinds.includes(tagOf(data))) fail(`the data of ${name}`, data, wanted);
  expectElements(name, data, sizes);
}

/** An array { data, shape } of floats. */
export const floats: Expected = (name, value) => array(['Float64Array', 'Float32Array'], 'real numbers, in a Float64Array or a Float32Array', name, value);
/** An array { data, shape } of integers. */
export const integers: Expected = (name, value) => array(['Int32Array'], 'whole numbers, in an Int32Array', name, value);

/** An array { data, shape } of floats without NaN and infinity. */
export const finiteFloats: Expected = (name, value) => {
  floats(name, value);
  const { data } = value as NDArray;
  const at = firstNotFinite(data);
  if (at >= 0) throw new ValueError(`${name} holds ${data[at]} at element ${at}: it must be finite everywhere; look for an earlier overflow`);
};

/** A tensor of an engine. */
export const tensor = (kind: 'float' | 'integer'): Expected => (name, value) => {
  const { kind: found, shape: sizes, data } = (value ?? {}) as { kind?: unknown; shape?: unknown; data?: unknown };
  if (typeof value !== 'object' || !Array.isArray(sizes) || (found !== 'float' && found !== 'integer')) {
    const remedy = ArrayBuffer.isView(data) && found === undefined ? ': upload it with engine.tensor() or engine.integers()' : '';
    fail(name, value, `a tensor of this engine${remedy}`);
  }
  if (found === kind) return;
  throw new ValueError(kind === 'float'
    ? `${name} is an integer tensor [${String(sizes)}]: expected a float tensor`
    : `${name} is a float tensor [${String(sizes)}]: expected an integer tensor`);
};

/** Runs `make`, and turns the error for too little memory into a named one. */
export function withMemory<T>(what: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (isNamedError(error) || !(error instanceof RangeError)) throw error;
    throw new ValueError(`${what} needs more memory than is available (${(error as Error).message}): use smaller sizes`);
  }
}
