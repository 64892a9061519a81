/**
 * Checks of shapes and values, shared by all engines so that each refuses the same inputs with the same words.
 * @module
 */
import { fail } from './described.ts';
import { ShapeError, ValueError } from './errors.ts';
import { chunkCount, type LifetimeOptions } from './lifetime.ts';
import type { Shaped } from './tensor.ts';

/** Refuses `x` unless its shape is `expected`. */
export function expectShape(
  name: string, { shape }: Shaped, expected: readonly number[], why: string | (() => string),
): void {
  let same = shape.length === expected.length;
  for (let axis = 0; same && axis < shape.length; axis++) same = shape[axis] === expected[axis];
  if (same) return;
  throw new ShapeError(`${name} is [${shape}] but must be [${expected}]: ${typeof why === 'string' ? why : why()}`);
}

/** The axes of each layout: this is asked for every operation of every token. */
const ranks = /* @__PURE__ */ new Map<string, number>();

/** Refuses `x` unless it has `rank` axes, written as `layout`. */
export function expectRank(name: string, x: Shaped, layout: string): void {
  let rank = ranks.get(layout);
  if (rank === undefined) ranks.set(layout, rank = layout.split(',').length);
  if (x.shape.length !== rank) {
    throw new ShapeError(`${name} is [${x.shape}] but must be [${layout}]: give it ${rank} axes, not ${x.shape.length}`);
  }
}

/** Refuses anything but a whole number from `least` up to `most`, if that is given. */
export function expectWhole(name: string, value: number, least: number, most?: number): void {
  if (!Number.isInteger(value) || value < least) fail(name, value, `a whole number, ${least} or more`);
  if (most !== undefined && value > most) throw new ValueError(`${name} is ${value}: it must be at most ${most}`);
}

/** Refuses anything but a finite number > 0. */
export function expectPositive(name: string, value: number): void {
  if (!Number.isFinite(value) || !(value > 0)) fail(name, value, 'a finite number above 0');
}

/** Checks W and C of §2, and the second window and the reach if there are any. */
export function checkLifetimeOptions(options: LifetimeOptions): void {
  expectWhole('window', options.window, 0);
  expectWhole('chunk', options.chunk, 1);
  if (options.localWindow !== undefined) expectWhole('localWindow', options.localWindow, 0);
  if (options.reach !== undefined) expectWhole('reach', options.reach, 0);
}

/** The sizes of the inputs of attention: q [B,H,N,d], k and v [B,G,N,d], last [B,G,N]. */
export interface AttentionSizes {
  readonly B: number;
  readonly H: number;
  readonly G: number;
  readonly N: number;
  readonly d: number;
}

/** Checks the inputs of attention against each other. */
export function attentionSizes(q: Shaped, k: Shaped, v: Shaped, last: Shaped): AttentionSizes {
  expectRank('q', q, 'B,H,N,d');
  expectRank('k', k, 'B,G,N,d');
  const [B, H, N, d] = q.shape as [number, number, number, number];
  const G = k.shape[1];
  checkGroups(q, k, H, G);
  expectShape('k', k, [B, G, N, d], `q is [${q.shape}], and batch, tokens and head size must agree`);
  expectShape('v', v, [B, G, N, d], `k is [${k.shape}], and v must have the same shape`);
  expectShape('last', last, [B, G, N], `k is [${k.shape}], and every key needs one lifetime`);
  return { B, H, G, N, d };
}

/** Refuses H query heads that do not divide evenly among G KV heads. */
export function checkGroups(q: Shaped, k: Shaped, H: number, G: number): void {
  if (G < 1 || H % G !== 0) {
    throw new ShapeError(`q is [${q.shape}] but k is [${k.shape}]: query heads (${H}) must be a multiple of KV heads (${G})`);
  }
}

/** Checks types [B,G,Nc] against the `length` tokens that they describe. */
export function typesSizes(
  types: Shaped, length: number, options: LifetimeOptions,
): { B: number; G: number; N: number; chunks: number } {
  checkLifetimeOptions(options);
  expectWhole('length', length, 0);
  const chunks = chunkCount(length, options.chunk);
  if (types.shape.length !== 3 || types.shape[2] !== chunks) {
    throw new ShapeError(`types is [${types.shape}] but ${length} tokens in chunks of ${options.chunk} need ${chunks} types per head: pass [B,G,${chunks}]`);
  }
  return { B: types.shape[0], G: types.shape[1], N: length, chunks };
}

/** Refuses token types outside 0..2. */
export function checkTypeValues(types: ArrayLike<number>): void {
  for (let n = 0; n < types.length; n++) {
    const type = types[n];
    if (type !== 0 && type !== 1 && type !== 2) fail(`token type ${n}`, type, '0 (GLOBAL), 1 (LOCAL) or 2 (WINDOW)');
  }
}

/** How many of the T tokens of a step each sequence takes: `counts`, or all. */
export function checkCounts(counts: readonly number[] | undefined, batch: number, T: number): readonly number[] {
  if (counts === undefined) return new Array<number>(batch).fill(T);
  if (counts.length !== batch) {
    throw new ShapeError(`counts has ${counts.length} entries but there are ${batch} sequences: pass one count for each`);
  }
  for (const count of counts) {
    if (!Number.isInteger(count) || count < 0 || count > T) {
      throw new ValueError(`counts holds ${count}: it must be a whole number from 0 to ${T}, the tokens of the step`);
    }
  }
  return [...counts];
}
