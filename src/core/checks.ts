/**
 * Checks of the values that are passed to operations, in the same words for every engine and every plain function.
 * sizes.ts checks shapes.
 * @module
 */
import { CACHE_DTYPES, type CacheOptions, type MassCacheOptions } from './cache.ts';
import type { Pooling } from './engine.ts';
import { type Expected, oneOf } from './arguments.ts';
import { ValueError } from './errors.ts';
import { checkMassOptions } from './mass-checks.ts';
import { checkLifetimeOptions, expectWhole } from './shape.ts';

/** Expects a dtype of keys and values. */
export const expectCacheDtype: Expected = oneOf(...CACHE_DTYPES);

/** Refuses token ids outside 0..vocabulary-1. */
export function checkIds(ids: ArrayLike<number>, vocabulary: number): void {
  for (let n = 0; n < ids.length; n++) {
    const id = ids[n];
    if (id < 0 || id >= vocabulary) throw new ValueError(`token ${n} is ${id} but the vocabulary has ${vocabulary} tokens: ids must be 0..${vocabulary - 1}`);
  }
}

/** Refuses rows outside 0..count-1. */
export function checkRows(rows: ArrayLike<number>, count: number): void {
  for (let n = 0; n < rows.length; n++) {
    const row = rows[n];
    if (row < 0 || row >= count) throw new ValueError(`row ${row} was picked but there are ${count}: use 0..${count - 1}`);
  }
}

/** Refuses targets outside -1..V-1. */
export function checkTargets(targets: ArrayLike<number>, V: number): void {
  for (let n = 0; n < targets.length; n++) {
    const target = targets[n];
    if (target < -1 || target >= V) throw new ValueError(`target ${target} is outside the vocabulary of ${V}: use 0..${V - 1}, or -1 for none`);
  }
}

/** Checks chunk size and pooling. */
export function checkPooling(chunk: number, pooling: Pooling): void {
  expectWhole('chunk', chunk, 1);
  oneOf('mean', 'max')('pooling', pooling);
}

/**
 * More sequences, heads or numbers per row than any machine can handle, so that a wrong number does not fill memory.
 */
const MOST = 2 ** 20;

/** Checks the layout of a cache. */
export function checkCacheOptions(options: CacheOptions | MassCacheOptions): void {
  if ('mass' in options) checkMassOptions(options);
  else checkLifetimeOptions(options);
  for (const name of ['batch', 'kvHeads', 'headDim', 'blockSize'] as const) expectWhole(name, options[name], 1, MOST);
  const heads = options.batch * options.kvHeads;
  if (heads > MOST) throw new ValueError(`batch ${options.batch} times kvHeads ${options.kvHeads} is ${heads}: a cache has at most ${MOST} heads`);
}
