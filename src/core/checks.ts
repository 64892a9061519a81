/**
 * The checks of the operations' inputs, one per family: every engine refuses the same input with the same words.
 * @module
 */
import { numbers } from './arguments.ts';
import type { CacheOptions, CacheSnapshot, ChunkPoolSnapshot, Pooling } from './engine.ts';
import type { AdamWOptions } from './training-engine.ts';
import { ShapeError, ValueError } from './errors.ts';
import { boundedEnd, chunkOf, FOREVER } from './lifetime.ts';
import { checkGroups, checkLifetimeOptions, expectPositive, expectRank, expectShape, expectWhole } from './shape.ts';
import { sizeOf } from './tensor.ts';

interface Shaped {
  readonly shape: readonly number[];
}

/** x [...,columns] against a weight: the number of its rows. */
export function rowsOf(name: string, x: Shaped, columns: number, weight: Shaped): number {
  if (x.shape[x.shape.length - 1] !== columns) {
    throw new ShapeError(`${name} is [${x.shape}] but the weight is [${weight.shape}]: the last axis must be ${columns}`);
  }
  return sizeOf(x.shape.slice(0, -1));
}

/** dOut [...,M] and x [...,K] of a linear layer. */
export function linearGradientSizes(dOut: Shaped, x: Shaped): { rows: number; M: number; K: number } {
  const M = dOut.shape[dOut.shape.length - 1];
  const K = x.shape[x.shape.length - 1];
  expectShape('dOut', dOut, [...x.shape.slice(0, -1), M], `x is [${x.shape}]`);
  return { rows: sizeOf(x.shape.slice(0, -1)), M, K };
}

/** Refuses token ids outside 0..vocabulary-1. */
export function checkIds(ids: ArrayLike<number>, vocabulary: number): void {
  for (let n = 0; n < ids.length; n++) {
    const id = ids[n];
    if (id < 0 || id >= vocabulary) throw new ValueError(`token ${n} is ${id} but the vocabulary has ${vocabulary} tokens: ids must be 0..${vocabulary - 1}`);
  }
}

/** x [...,D] as a list of rows: how many there are, and how wide. */
export function pickedRows(x: Shaped): { count: number; width: number } {
  if (x.shape.length < 1) throw new ShapeError('x is [] but must be [...,D]: rows need an axis');
  return { count: sizeOf(x.shape.slice(0, -1)), width: x.shape[x.shape.length - 1] };
}

/** Refuses rows outside 0..count-1. */
export function checkRows(rows: ArrayLike<number>, count: number): void {
  for (let n = 0; n < rows.length; n++) {
    const row = rows[n];
    if (row < 0 || row >= count) throw new ValueError(`row ${row} was picked but there are ${count}: use 0..${count - 1}`);
  }
}

/** D of x [...,D] and the norm's weight [D]. */
export function normWidth(x: Shaped, weight: Shaped): number {
  const D = weight.shape[0] ?? 0;
  if (weight.shape.length !== 1 || D < 1 || x.shape[x.shape.length - 1] !== D) {
    throw new ShapeError(`x is [${x.shape}] but the weight is [${weight.shape}]: the weight must be [D] with D x's last axis`);
  }
  return D;
}

/** Head size of x [B,N,heads*d]. */
export function splitWidth(x: Shaped, heads: number): number {
  expectRank('x', x, 'B,N,heads*d');
  const width = x.shape[2];
  if (!(heads >= 1) || width % heads !== 0) throw new ShapeError(`x is [${x.shape}]: ${width} columns do not split into ${heads} heads`);
  return width / heads;
}

/** Sizes of x [B,heads,N,d] with cos and sin [B,N,d/2]. */
export function ropeSizes(x: Shaped, cos: Shaped, sin: Shaped): { B: number; heads: number; N: number; d: number } {
  expectRank('x', x, 'B,heads,N,d');
  const [B, heads, N, d] = x.shape as [number, number, number, number];
  if (d % 2 !== 0) throw new ShapeError(`x is [${x.shape}]: the head size (${d}) must be even to rotate in pairs`);
  expectShape('cos', cos, [B, N, d / 2], `x is [${x.shape}]`);
  expectShape('sin', sin, [B, N, d / 2], `x is [${x.shape}]`);
  return { B, heads, N, d };
}

/** V of logits [...,V] with targets [...]. */
export function logitsWidth(logits: Shaped, targets: Shaped): number {
  const V = logits.shape[logits.shape.length - 1] ?? 0;
  expectShape('logits', logits, [...targets.shape, V], `targets is [${targets.shape}]`);
  return V;
}

/** Refuses targets outside -1..V-1. */
export function checkTargets(targets: ArrayLike<number>, V: number): void {
  for (let n = 0; n < targets.length; n++) {
    const target = targets[n];
    if (target < -1 || target >= V) throw new ValueError(`target ${target} is outside the vocabulary of ${V}: use 0..${V - 1}, or -1 for none`);
  }
}

/** gradient, m and v of a parameter, and the step. */
export function checkAdamW(
  parameter: Shaped, tensors: Readonly<Record<string, Shaped>>, options: Pick<AdamWOptions, 'step'>,
): void {
  for (const [name, x] of Object.entries(tensors)) expectShape(name, x, parameter.shape, 'it must match the parameter');
  expectWhole('step', options.step, 1);
}

/** Chunk size and pooling. */
export function checkPooling(chunk: number, pooling: Pooling): void {
  expectWhole('chunk', chunk, 1);
  if (pooling !== 'mean' && pooling !== 'max') throw new ValueError(`pooling is ${String(pooling)}: it must be 'mean' or 'max'`);
}

/** Sizes of scores [B,G,Nc,3], with what goes with them. */
export function scoresSizes(
  scores: Shaped, same: Shaped | undefined, temperature: number, forceGlobal: Shaped | undefined,
): { B: number; G: number; chunks: number } {
  expectRank('scores', scores, 'B,G,Nc,3');
  const [B, G, chunks] = scores.shape as [number, number, number, number];
  expectShape('scores', scores, [B, G, chunks, 3], 'there are three token types');
  if (same) expectShape('noise or dTypes', same, scores.shape, 'it must have the shape of the scores');
  if (forceGlobal) expectShape('forceGlobal', forceGlobal, [B, chunks], 'one flag per sequence and token or chunk');
  expectPositive('temperature', temperature);
  return { B, G, chunks };
}

/** What attention's forward gave, and the cotangent. */
export function checkForward(
  out: Shaped, lse: Shaped, dOut: Shaped, { B, H, N, d }: { B: number; H: number; N: number; d: number },
): void {
  expectShape('out', out, [B, H, N, d], 'it is the forward\'s result, shaped like q');
  expectShape('lse', lse, [B, H, N], 'it is the forward\'s log-sum-exp, one per query');
  expectShape('dOut', dOut, [B, H, N, d], 'it is the cotangent of out, shaped like q');
}

/** More sequences, heads or numbers in a row than any machine serves: a wrong number must not exhaust the memory. */
const MOST = 2 ** 20;

/** A cache's layout. */
export function checkCacheOptions(options: CacheOptions): void {
  checkLifetimeOptions(options);
  for (const name of ['batch', 'kvHeads', 'headDim', 'blockSize'] as const) expectWhole(name, options[name], 1, MOST);
  const heads = options.batch * options.kvHeads;
  if (heads > MOST) throw new ValueError(`batch ${options.batch} times kvHeads ${options.kvHeads} is ${heads}: a cache has at most ${MOST} heads`);
}

/** k, v [B,G,T,d] and types [B,G,rows] of a cache's step; returns T. */
export function appendedTokens(
  k: Shaped, v: Shaped, types: Shaped, { batch, kvHeads, headDim, chunk }: CacheOptions,
): number {
  expectRank('k', k, 'B,G,T,d');
  const T = k.shape[2];
  expectShape('k', k, [batch, kvHeads, T, headDim], 'the cache was made with this batch, KV heads and head size');
  expectShape('v', v, k.shape, 'v must have the shape of k');
  const rows = Math.floor((T + chunk - 2) / chunk) + 1;
  expectShape('types', types, [batch, kvHeads, rows], `${T} tokens touch at most ${rows} chunks of ${chunk}`);
  return T;
}

/** q [B,H,T,d] over a cache; returns H. */
export function checkQueries(q: Shaped, T: number, { batch, kvHeads, headDim }: CacheOptions): number {
  expectRank('q', q, 'B,H,T,d');
  const H = q.shape[1];
  checkGroups(q, { shape: [batch, kvHeads, T, headDim] }, H, kvHeads);
  expectShape('q', q, [batch, H, T, headDim], 'one query per new token, with the batch and head size of the cache');
  return H;
}

/** Refuses fewer queries than the step's tokens. */
export function checkStep(counts: readonly number[], T: number): void {
  if (counts.some((count) => count > T)) {
    throw new ShapeError(`q has ${T} queries but append took ${Math.max(...counts)} tokens: attend with the same step`);
  }
}

/** Refuses an array of another length. */
function expectLength(name: string, array: ArrayLike<number>, length: number, why: string): void {
  numbers()(`the snapshot's ${name}`, array);
  if (array.length !== length) throw new ShapeError(`the snapshot's ${name} has ${array.length} elements but must have ${length}: ${why}`);
}

/** Refuses anything but whole numbers from 0 to `most`. */
function expectCounts(name: string, array: ArrayLike<number>, most: number): void {
  for (let n = 0; n < array.length; n++) {
    const x = array[n];
    if (!Number.isInteger(x) || x < 0 || x > most) throw new ValueError(`the snapshot's ${name} holds ${x}: it must be a whole number from 0 to ${most}`);
  }
}

/** A snapshot against the cache that is to hold it: the layout fits, and no entry contradicts another number. */
export function checkCacheSnapshot(snapshot: CacheSnapshot, options: CacheOptions): void {
  const { batch: B, kvHeads: G, headDim: d } = options;
  const { seen, live, peakLive, visiblePairs, positions } = snapshot;
  expectLength('seen', seen, B, `the cache has ${B} sequences`);
  for (const name of ['live', 'peakLive', 'visiblePairs'] as const) {
    expectLength(name, snapshot[name], B * G, `the cache has ${B} sequences of ${G} KV heads`);
  }
  expectCounts('seen', seen, FOREVER - 1);
  expectCounts('live', live, FOREVER);
  expectCounts('peakLive', peakLive, FOREVER - 1);
  expectCounts('visiblePairs', visiblePairs, Number.MAX_SAFE_INTEGER);
  const E = live.reduce((sum, n) => sum + n, 0);
  for (const name of ['positions', 'last', 'open'] as const) expectLength(name, snapshot[name], E, `${E} entries are live`);
  for (const name of ['keys', 'values'] as const) expectLength(name, snapshot[name], E * d, `${E} entries of size ${d} are live`);
  for (let head = 0, at = 0; head < B * G; at += live[head++]) {
    const tokens = seen[Math.floor(head / G)];
    const held = new Set(positions.subarray(at, at + live[head]));
    if (held.size < live[head]) throw new ValueError(`the snapshot holds a position twice in head ${head}: it is damaged`);
    for (let n = at; n < at + live[head]; n++) checkEntry(snapshot, n, tokens, options);
  }
}

/** Entry n of a sequence that has seen `tokens`. */
function checkEntry({ positions, last, open }: CacheSnapshot, n: number, tokens: number, options: CacheOptions): void {
  const [j, end] = [positions[n], last[n]];
  const what = `entry ${n} of the snapshot`;
  if (!(j >= 0 && j < tokens)) throw new ValueError(`${what} has position ${j} but its sequence has seen ${tokens} tokens: it is damaged`);
  const most = boundedEnd(FOREVER, j, options.bound);
  if (!(end >= j && end <= most)) throw new ValueError(`${what}, at position ${j}, lives until ${end}: it must be ${j} to ${most}`);
  const untyped = chunkOf(j, options.chunk) === chunkOf(tokens, options.chunk);
  const isOpen = open[n] === 1;
  if (!(isOpen || open[n] === 0) || (isOpen && untyped) || ((isOpen || untyped) && end !== most)) {
    throw new ValueError(`${what}, at position ${j}, lives until ${end} and is marked ${open[n]}: only a LOCAL entry that lives until ${most} is open`);
  }
}

/** A snapshot against the pool that is to remember it. */
export function checkChunkPoolSnapshot({ seen, state }: ChunkPoolSnapshot, batch: number, width: number): void {
  expectLength('seen', seen, batch, `the pool has ${batch} sequences`);
  expectCounts('seen', seen, FOREVER - 1);
  expectLength('state', state, batch * width, `the pool has ${batch} sequences of width ${width}`);
}

/** The head's index b G + g. */
export function headIndex(b: number, g: number, { batch, kvHeads }: CacheOptions): number {
  if (!(Number.isInteger(b) && Number.isInteger(g) && b >= 0 && b < batch && g >= 0 && g < kvHeads)) {
    throw new ValueError(`sequence ${String(b)}, KV head ${String(g)} does not exist: the cache has ${batch} sequences and ${kvHeads} KV heads`);
  }
  return b * kvHeads + g;
}
