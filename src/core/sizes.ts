/**
 * The sizes that the shapes of an operation's arguments imply, with one function per family of operations. It refuses
 * shapes that contradict each other, in the same words for every engine and every plain function.
 *
 * The letters are those of engine.ts. `rows` and `count` are products of the leading axes.
 * @module
 */
import type { CacheLayout, CacheOptions } from './cache.ts';
import { described } from './described.ts';
import { ShapeError, ValueError } from './errors.ts';
import { touchedChunks } from './lifetime.ts';
import { type AttentionSizes, checkCounts, checkGroups, expectRank, expectShape } from './shape.ts';
import { type Shaped, sizeOf } from './tensor.ts';

export type { AttentionSizes } from './shape.ts';

/** x [rows,K], weight [M,K], y [rows,M]. */
export interface LinearSizes {
  readonly rows: number;
  readonly M: number;
  readonly K: number;
}

/** [B,heads,N,d], or in the layout of tokens [B,N,heads*d]. */
export interface HeadSizes {
  readonly B: number;
  readonly heads: number;
  readonly N: number;
  readonly d: number;
}

/** B sequences of width D, in chunks of C. */
export interface PoolSizes {
  readonly B: number;
  readonly D: number;
  readonly C: number;
}

/** Types [B,G,chunks] and their scores [B,G,chunks,3]. */
export interface TypeSizes {
  readonly B: number;
  readonly G: number;
  readonly chunks: number;
}

/** A step of T tokens, of which sequence b takes counts[b]. It touches at most `rows` chunks. */
export interface AppendSizes {
  readonly T: number;
  readonly rows: number;
  readonly counts: readonly number[];
}

/** Two tensors of the same shape. */
export function sameSizes(name: string, x: Shaped, like: Shaped, why: string): { n: number } {
  expectShape(name, x, like.shape, why);
  return { n: sizeOf(like.shape) };
}

/** weight [V,D] and ids [...]. */
export function embeddingSizes(weight: Shaped, ids: Shaped): { count: number; V: number; D: number } {
  expectRank('weight', weight, 'V,D');
  return { count: sizeOf(ids.shape), V: weight.shape[0], D: weight.shape[1] };
}

/** dOut [...,D] and ids [...]. */
export function embeddingGradientSizes(dOut: Shaped, ids: Shaped): { count: number; D: number } {
  const D = dOut.shape[dOut.shape.length - 1];
  expectShape('dOut', dOut, [...ids.shape, D], () => `ids is [${ids.shape}]`);
  return { count: sizeOf(ids.shape), D };
}

/** x [...,D] as a list of `rows` rows of width D. */
export function rowSizes(x: Shaped): { rows: number; D: number } {
  if (x.shape.length < 1) throw new ShapeError('x is [] but must be [...,D]: rows need an axis');
  return { rows: sizeOf(x.shape.slice(0, -1)), D: x.shape[x.shape.length - 1] };
}

/** x [...,K] and weight [M,K]. */
export const linearSizes = (x: Shaped, weight: Shaped): LinearSizes => besideWeight('x', x, weight, 1);

/** dOut [...,M] and weight [M,K]. */
export const linearInputGradientSizes = (dOut: Shaped, weight: Shaped): LinearSizes => besideWeight('dOut', dOut, weight, 0);

function besideWeight(name: string, x: Shaped, weight: Shaped, axis: 0 | 1): LinearSizes {
  expectRank('weight', weight, 'M,K');
  const columns = weight.shape[axis];
  if (x.shape[x.shape.length - 1] !== columns) {
    throw new ShapeError(`${name} is [${x.shape}] but the weight is [${weight.shape}]: the last axis must be ${columns}`);
  }
  return { rows: sizeOf(x.shape.slice(0, -1)), M: weight.shape[0], K: weight.shape[1] };
}

/** dOut [...,M] and x [...,K] of a linear layer. */
export function linearWeightGradientSizes(dOut: Shaped, x: Shaped): LinearSizes {
  const M = dOut.shape[dOut.shape.length - 1];
  const K = x.shape[x.shape.length - 1];
  expectShape('dOut', dOut, [...x.shape.slice(0, -1), M], () => `x is [${x.shape}]`);
  return { rows: sizeOf(x.shape.slice(0, -1)), M, K };
}

/** x [...,D] and the norm's weight [D]. */
export function normSizes(x: Shaped, weight: Shaped): { rows: number; D: number } {
  const D = weight.shape[0] ?? 0;
  if (weight.shape.length !== 1 || D < 1 || x.shape[x.shape.length - 1] !== D) {
    throw new ShapeError(`x is [${x.shape}] but the weight is [${weight.shape}]: the weight must be [D] with D x's last axis`);
  }
  return { rows: sizeOf(x.shape) / D, D };
}

/** x [B,N,heads*d]. */
export function splitSizes(x: Shaped, heads: number): HeadSizes {
  expectRank('x', x, 'B,N,heads*d');
  const [B, N, width] = x.shape;
  if (!(heads >= 1) || width % heads !== 0) throw new ShapeError(`x is [${x.shape}]: ${width} columns do not split into ${heads} heads`);
  return { B, heads, N, d: width / heads };
}

/** x [B,heads,N,d]. */
export function headSizes(x: Shaped): HeadSizes {
  expectRank('x', x, 'B,heads,N,d');
  const [B, heads, N, d] = x.shape;
  return { B, heads, N, d };
}

/** x [B,heads,N,d] with cos and sin [B,N,d/2]. */
export function ropeSizes(x: Shaped, cos: Shaped, sin: Shaped): HeadSizes {
  const sizes = headSizes(x);
  const { B, N, d } = sizes;
  if (d % 2 !== 0) throw new ShapeError(`x is [${x.shape}]: the head size (${d}) must be even to rotate in pairs`);
  expectShape('cos', cos, [B, N, d / 2], () => `x is [${x.shape}]`);
  expectShape('sin', sin, [B, N, d / 2], () => `x is [${x.shape}]`);
  return sizes;
}

/** logits [...,V] with targets [...]. */
export function logitsSizes(logits: Shaped, targets: Shaped): { rows: number; V: number } {
  const V = logits.shape[logits.shape.length - 1] ?? 0;
  expectShape('logits', logits, [...targets.shape, V], () => `targets is [${targets.shape}]`);
  return { rows: sizeOf(targets.shape), V };
}

/** scores [B,G,Nc,3], and the noise or cotangents and flags that go with them. */
export function scoresSizes(scores: Shaped, same: Shaped | undefined, forceGlobal: Shaped | undefined): TypeSizes {
  expectRank('scores', scores, 'B,G,Nc,3');
  const [B, G, chunks] = scores.shape;
  expectShape('scores', scores, [B, G, chunks, 3], 'there are three token types');
  if (same) expectShape('noise or dTypes', same, scores.shape, 'it must have the shape of the scores');
  if (forceGlobal) expectShape('forceGlobal', forceGlobal, [B, chunks], 'one flag per sequence and token or chunk');
  return { B, G, chunks };
}

/** last [B,G,N]. */
export function lastSizes(last: Shaped): { B: number; G: number; N: number } {
  expectRank('last', last, 'B,G,N');
  const [B, G, N] = last.shape;
  return { B, G, N };
}

/** Checks the results of the forward of attention, and their cotangent. */
export function checkForward(out: Shaped, lse: Shaped, dOut: Shaped, { B, H, N, d }: AttentionSizes): void {
  expectShape('out', out, [B, H, N, d], 'it is the forward\'s result, shaped like q');
  expectShape('lse', lse, [B, H, N], 'it is the forward\'s log-sum-exp, one per query');
  expectShape('dOut', dOut, [B, H, N, d], 'it is the cotangent of out, shaped like q');
}

/** x [B,T,D] of a step of a pool. */
export function pushSizes(x: Shaped, counts: readonly number[] | undefined, { B, D, C }: PoolSizes): AppendSizes {
  expectRank('x', x, 'B,T,D');
  const T = x.shape[1];
  expectShape('x', x, [B, T, D], 'the pool was made with this batch and width');
  return { T, rows: touchedChunks(T, C), counts: checkCounts(counts, B, T) };
}

/** k, v [B,G,T,d] and types [B,G,rows] of a step of a cache. */
export function appendSizes(
  k: Shaped, v: Shaped, types: Shaped, counts: readonly number[] | undefined, options: CacheOptions,
): AppendSizes {
  const { batch, kvHeads, chunk } = options;
  const step = keySizes(k, v, counts, options);
  const { T } = step;
  const rows = touchedChunks(T, chunk);
  expectShape('types', types, [batch, kvHeads, rows], () => `${T} tokens touch at most ${rows} chunks of ${chunk}`);
  return { ...step, rows };
}

/** Checks the scores [B,G,T,3] of the types of a step under a budget. */
export function expectTypeScores(
  scores: Shaped, T: number, { batch, kvHeads }: Pick<CacheLayout, 'batch' | 'kvHeads'>,
): void {
  expectShape('typeScores', scores, [batch, kvHeads, T, 3], 'the budget ranks by the scores of three types per token');
}

/** Checks k and v [B,G,T,d] of a step without types. */
export function keySizes(
  k: Shaped, v: Shaped, counts: readonly number[] | undefined, { batch, kvHeads, headDim }: CacheLayout,
): AppendSizes {
  expectRank('k', k, 'B,G,T,d');
  const T = k.shape[2];
  expectShape('k', k, [batch, kvHeads, T, headDim], 'the cache was made with this batch, KV heads and head size');
  expectShape('v', v, k.shape, 'v must have the shape of k');
  return { T, rows: 0, counts: checkCounts(counts, batch, T) };
}

/** q [B,H,T,d] over a cache, where T must be that of the step if that is known. */
export function querySizes(
  q: Shaped, { batch, kvHeads, headDim }: CacheLayout, T: number = q.shape[2] ?? 0,
): { H: number; T: number } {
  expectRank('q', q, 'B,H,T,d');
  const H = q.shape[1];
  checkGroups(q, { shape: [batch, kvHeads, T, headDim] }, H, kvHeads);
  expectShape('q', q, [batch, H, T, headDim], 'one query per new token, with the batch and head size of the cache');
  return { H, T };
}

/** Refuses fewer queries than the step has tokens. */
export function checkStep(counts: readonly number[], T: number): void {
  if (counts.some((count) => count > T)) {
    throw new ShapeError(`q has ${T} queries but append took ${Math.max(...counts)} tokens: attend with the same step`);
  }
}

/** The index b G + g of a head. */
export function headIndex(b: number, g: number, { batch, kvHeads }: CacheLayout): number {
  if (!(Number.isInteger(b) && Number.isInteger(g) && b >= 0 && b < batch && g >= 0 && g < kvHeads)) {
    throw new ValueError(`sequence ${described(b)}, KV head ${described(g)} does not exist: the cache has ${batch} sequences and ${kvHeads} KV heads`);
  }
  return b * kvHeads + g;
}
