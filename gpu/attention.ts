/**
 * §3 and §4: masked attention and its gradients, a tile of query rows at a time.
 *
 * For each tile and KV head the keys that any of its queries can see are listed first (a key is listed if it is
 * not younger than the tile and outlives its first query). Scores, weights and gradients are computed over the
 * list only, so that work and memory follow the visible pairs, and hidden keys and values are never read.
 * Tiles are laid out [head, list, row]: rows are the fastest axis.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { fill } from './elementwise.ts';
import { kernel } from './kernel.ts';
import { addTypeGradient, planTypes } from './mask.ts';

/** Sizes of a call. */
export interface Sizes {
  readonly B: number;
  readonly H: number;
  readonly G: number;
  readonly N: number;
  readonly d: number;
  readonly scale: number;
}

/** The tensors of a call: q [B,H,N,d], k and v [B,G,N,d], last [B,G,N]. */
export interface Inputs {
  readonly q: Memory;
  readonly k: Memory;
  readonly v: Memory;
  readonly last: Memory;
}

/** Elements of a tile of scores. */
const TILE_ELEMENTS = 2 ** 24;
/** Rows of a tile at most: more would list keys that few of them see. */
const TILE_ROWS = 256;
/** What a hidden pair's score is; a visible one is far from it. */
const HIDDEN = '-1e30';

/** Rows per tile, so that [B H, N, rows] stays within the budget and the device's limits. */
function tileRows(scope: Scope, heads: number, N: number): number {
  const elements = Math.min(TILE_ELEMENTS, scope.device.maxLength);
  const rows = Math.floor(elements / Math.max(heads * N, 1));
  return Math.max(1, Math.min(N, TILE_ROWS, rows >= 8 ? rows - (rows % 8) : rows));
}

// ---- the keys of a tile -----------------------------------------------------------------------------

/** Keys that are looked through together. */
const BLOCK = 64;

const COUNT = kernel('live keys per block', 'last | n keys first', `
  let count = 0;
  for (let t = 0; t < ${BLOCK}; t++) {
    if (this.thread.x * ${BLOCK} + t < keys) {
      if (last[this.thread.y * n + this.thread.x * ${BLOCK} + t] >= first) {
        count += 1;
      }
    }
  }
  return count;`);

const STARTS = kernel('starts of blocks', 'counts | blocks', `
  let sum = 0;
  for (let t = 0; t < blocks; t++) {
    if (t < this.thread.x) {
      sum += counts[this.thread.y * blocks + t];
    }
  }
  return sum;`);

/** The s-th live key of a head, or -1: its block by bisection of the starts, then key by key. */
const LIST = kernel('list of live keys', 'last starts | n keys first blocks', `
  const s = this.thread.x;
  const base = this.thread.y * (blocks + 1);
  let key = -1;
  if (s < starts[base + blocks]) {
    let low = 0;
    let high = blocks;
    for (let step = 0; step < 24; step++) {
      const middle = Math.floor((low + high + 0.5) / 2);
      if (middle > low) {
        if (starts[base + middle] <= s) {
          low = middle;
        } else {
          high = middle;
        }
      }
    }
    let left = s - starts[base + low];
    for (let t = 0; t < ${BLOCK}; t++) {
      const j = low * ${BLOCK} + t;
      if (key < 0 && j < keys) {
        if (last[at(this.thread.y, n, j)] >= first) {
          if (left < 1) {
            key = j;
          }
          left -= 1;
        }
      }
    }
  }
  return key;`);

/** Where key j stands in the list of its head, or -1. */
const SLOTS = kernel('slots of keys', 'last starts | n keys first blocks', `
  let slot = -1;
  if (this.thread.x < keys) {
    if (last[this.thread.y * n + this.thread.x] >= first) {
      const block = Math.floor((this.thread.x + 0.5) / ${BLOCK});
      slot = starts[at(this.thread.y, blocks + 1, block)];
      for (let t = 0; t < ${BLOCK}; t++) {
        if (block * ${BLOCK} + t < this.thread.x) {
          if (last[at(this.thread.y, n, block * ${BLOCK} + t)] >= first) {
            slot += 1;
          }
        }
      }
    }
  }
  return slot;`);

/** A tile: query rows first..first+rows-1 and, per KV head, the list [heads,keys] of the keys they may see. */
interface Tile {
  readonly first: number;
  readonly rows: number;
  /** Room of the list: all keys up to the last row. */
  readonly keys: number;
  readonly blocks: number;
  readonly starts: Memory;
  readonly list: Memory;
}

async function listKeys(scope: Scope, last: Memory, { B, G, N }: Sizes, first: number, rows: number): Promise<Tile> {
  const keys = first + rows;
  const blocks = Math.ceil(keys / BLOCK);
  const counts = await scope.run(COUNT, [blocks, B * G], [last], [N, keys, first]);
  const starts = await scope.run(STARTS, [blocks + 1, B * G], [counts], [blocks]);
  const list = await scope.run(LIST, [keys, B * G], [last, starts], [N, keys, first, blocks]);
  scope.free(counts);
  return { first, rows, keys, blocks, starts, list };
}

// ---- scores and weights -----------------------------------------------------------------------------

/** How kernels find the KV head of query head z = b H + h, for groups of `share` query heads: floor(z / share). */
const SCORES = kernel('scores', 'q k last list starts | n d share keys blocks first | scale', `
  const head = Math.floor((this.thread.z + 0.5) / share);
  if (this.thread.y >= starts[at(head, blocks + 1, blocks)]) {
    return ${HIDDEN};
  }
  const j = list[at(head, keys, this.thread.y)];
  const key = at(head, n, j);
  const i = first + this.thread.x;
  if (j > i || last[key] < i) {
    return ${HIDDEN};
  }
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += q[(this.thread.z * n + first + this.thread.x) * d + e] * k[at(key, d, e)];
  }
  return sum * scale;`);

const MAX = kernel('largest score', 'scores starts | share keys blocks rows', `
  const head = Math.floor((this.thread.y + 0.5) / share);
  const count = starts[at(head, blocks + 1, blocks)];
  let max = ${HIDDEN};
  for (let s = 0; s < count; s++) {
    max = Math.max(max, scores[(this.thread.y * keys + s) * rows + this.thread.x]);
  }
  return max;`);

/** exp(S - shift) of visible pairs, 0 of hidden ones; shift has one element per row, at stride n from first. */
const WEIGHTS = kernel('weights', 'scores shift | keys rows n first', `
  const s = scores[(this.thread.z * keys + this.thread.y) * rows + this.thread.x];
  if (s < -1e29) {
    return 0;
  }
  return Math.exp(s - shift[this.thread.z * n + first + this.thread.x]);`);

const NORMALISER = kernel('sum of weights', 'weights starts | share keys blocks rows', `
  const head = Math.floor((this.thread.y + 0.5) / share);
  const count = starts[at(head, blocks + 1, blocks)];
  let sum = 0;
  for (let s = 0; s < count; s++) {
    sum += weights[(this.thread.y * keys + s) * rows + this.thread.x];
  }
  return sum;`);

/** out[row,e] = sum_s weight[s,row] v[list[s],e] / Z[row]. */
const VALUES = kernel('weighted values', 'weights v list starts normaliser | n d share keys blocks rows', `
  const head = Math.floor((this.thread.z + 0.5) / share);
  const count = starts[at(head, blocks + 1, blocks)];
  let sum = 0;
  for (let s = 0; s < count; s++) {
    const weight = weights[(this.thread.z * keys + s) * rows + this.thread.y];
    if (weight !== 0) {
      sum += weight * v[at(at(head, n, list[at(head, keys, s)]), d, this.thread.x)];
    }
  }
  return sum / normaliser[this.thread.z * rows + this.thread.y];`);

const LSE = kernel('log-sum-exp', 'max normaliser', `
  return max[this.thread.x] + Math.log(normaliser[this.thread.x]);`, { flat: true });

/** Attention of §3: out [B,H,N,d] and lse [B,H,N]. */
export async function attention(scope: Scope, inputs: Inputs, sizes: Sizes): Promise<[out: Memory, lse: Memory]> {
  const { B, H, G, N, d, scale } = sizes;
  const { device } = scope;
  const share = H / G;
  const heads = B * H;
  const out = scope.adopt(device.allocate(heads * N * d));
  const lse = scope.adopt(device.allocate(heads * N));
  const step = tileRows(scope, heads, N);
  for (let first = 0; first < N; first += step) {
    const tile = await listKeys(scope, inputs.last, sizes, first, Math.min(step, N - first));
    const { rows, keys, blocks, starts, list } = tile;
    const scores = await scope.run(
      SCORES, [rows, keys, heads], [inputs.q, inputs.k, inputs.last, list, starts],
      [N, d, share, keys, blocks, first], [scale],
    );
    const max = await scope.run(MAX, [rows, heads], [scores, starts], [share, keys, blocks, rows]);
    const weights = await scope.run(WEIGHTS, [rows, keys, heads], [scores, max], [keys, rows, rows, 0]);
    const Z = await scope.run(NORMALISER, [rows, heads], [weights, starts], [share, keys, blocks, rows]);
    const values = await scope.run(
      VALUES, [d, rows, heads], [weights, inputs.v, list, starts, Z], [N, d, share, keys, blocks, rows],
    );
    const logs = await scope.run(LSE, [rows * heads], [max, Z]);
    device.copy(values, out, tileRanges(heads, N, first, rows, d));
    device.copy(logs, lse, tileRanges(heads, N, first, rows, 1));
    scope.free(scores, max, weights, Z, values, logs, starts, list);
  }
  return [out, lse];
}

/** From a tile [heads,rows,width] to its rows of [heads,N,width]. */
function tileRanges(
  heads: number, N: number, first: number, rows: number, width: number,
): { from: number; to: number; length: number }[] {
  const length = rows * width;
  return Array.from({ length: heads }, (_, head) => ({ from: head * length, to: (head * N + first) * width, length }));
}

// ---- gradients --------------------------------------------------------------------------------------

const DELTA = kernel('delta', 'dOut out | d', `
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += dOut[this.thread.x * d + e] * out[this.thread.x * d + e];
  }
  return sum;`, { flat: true });

/** dS = scale A (do . v - D) of visible pairs. */
const DSCORES = kernel('score gradients', 'weights dOut v list delta | n d share keys rows first | scale', `
  const weight = weights[(this.thread.z * keys + this.thread.y) * rows + this.thread.x];
  if (weight === 0) {
    return 0;
  }
  const head = Math.floor((this.thread.z + 0.5) / share);
  const key = at(head, n, list[at(head, keys, this.thread.y)]);
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += dOut[(this.thread.z * n + first + this.thread.x) * d + e] * v[at(key, d, e)];
  }
  return scale * weight * (sum - delta[this.thread.z * n + first + this.thread.x]);`);

const DQ = kernel('dq', 'dS k list starts | n d share keys blocks rows', `
  const head = Math.floor((this.thread.z + 0.5) / share);
  const count = starts[at(head, blocks + 1, blocks)];
  let sum = 0;
  for (let s = 0; s < count; s++) {
    const change = dS[(this.thread.z * keys + s) * rows + this.thread.y];
    if (change !== 0) {
      sum += change * k[at(at(head, n, list[at(head, keys, s)]), d, this.thread.x)];
    }
  }
  return sum;`);

/** before + sum over the group's query heads and the tile's rows of pair[slot,row] x[row], for the listed keys. */
const TO_KEYS = kernel('gradients of keys', 'before pair x slots | n d share keys rows first', `
  let sum = before[(this.thread.z * n + this.thread.y) * d + this.thread.x];
  const slot = slots[this.thread.z * n + this.thread.y];
  if (slot >= 0) {
    for (let h = 0; h < share; h++) {
      for (let r = 0; r < rows; r++) {
        const value = pair[at(at(this.thread.z * share + h, keys, slot), rows, r)];
        if (value !== 0) {
          sum += value * x[((this.thread.z * share + h) * n + first + r) * d + this.thread.x];
        }
      }
    }
  }
  return sum;`);

/** What the backward takes besides the inputs. */
export interface BackwardInputs extends Inputs {
  readonly out: Memory;
  readonly lse: Memory;
  readonly dOut: Memory;
}

/** How the gradient of the types is wanted. */
export interface TypeGradientOptions {
  readonly types: Memory;
  readonly bounded: boolean;
  readonly window: number;
  readonly chunk: number;
}

/** Gradients of §4, and with `typed` of §5: dq, dk, dv and dTypes [B,G,Nc,3]. */
export async function attentionBackward(
  scope: Scope, inputs: BackwardInputs, sizes: Sizes, typed?: TypeGradientOptions,
): Promise<[dq: Memory, dk: Memory, dv: Memory, dTypes?: Memory]> {
  const { B, H, G, N, d, scale } = sizes;
  const { device } = scope;
  const { q, k, v, last, lse, dOut } = inputs;
  const share = H / G;
  const heads = B * H;
  const delta = await scope.run(DELTA, [heads * N], [dOut, inputs.out], [d]);
  const dq = scope.adopt(device.allocate(heads * N * d));
  let dk = await fill(scope, 0, B * G * N * d);
  let dv = await fill(scope, 0, B * G * N * d);
  const step = tileRows(scope, heads, N);
  for (let first = 0; first < N; first += step) {
    const tile = await listKeys(scope, last, sizes, first, Math.min(step, N - first));
    const { rows, keys, blocks, starts, list } = tile;
    const slots = await scope.run(SLOTS, [N, B * G], [last, starts], [N, keys, first, blocks]);
    const scores = await scope.run(
      SCORES, [rows, keys, heads], [q, k, last, list, starts], [N, d, share, keys, blocks, first], [scale],
    );
    const weights = await scope.run(WEIGHTS, [rows, keys, heads], [scores, lse], [keys, rows, N, first]);
    const dS = await scope.run(
      DSCORES, [rows, keys, heads], [weights, dOut, v, list, delta], [N, d, share, keys, rows, first], [scale],
    );
    const dqTile = await scope.run(DQ, [d, rows, heads], [dS, k, list, starts], [N, d, share, keys, blocks, rows]);
    device.copy(dqTile, dq, tileRanges(heads, N, first, rows, d));
    const shape = [N, d, share, keys, rows, first];
    const nextK = await scope.run(TO_KEYS, [d, N, B * G], [dk, dS, q, slots], shape);
    const nextV = await scope.run(TO_KEYS, [d, N, B * G], [dv, weights, dOut, slots], shape);
    scope.free(slots, scores, weights, dS, dqTile, dk, dv, starts, list);
    [dk, dv] = [nextK, nextV];
  }
  if (!typed) return [dq, dk, dv];
  return [dq, dk, dv, await typeGradient(scope, inputs, sizes, delta, typed)];
}

// ---- gradients of the types -------------------------------------------------------------------------

/** Scores of all pairs j <= i, visible or not. */
const CAUSAL = kernel('causal scores', 'q k | n d share first | scale', `
  if (this.thread.y > first + this.thread.x) {
    return ${HIDDEN};
  }
  const head = Math.floor((this.thread.z + 0.5) / share);
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += q[(this.thread.z * n + first + this.thread.x) * d + e] * k[at(at(head, n, this.thread.y), d, e)];
  }
  return sum * scale;`);

const CAUSAL_LSE = kernel('causal log-sum-exp', 'scores | keys rows first', `
  let max = ${HIDDEN};
  for (let j = 0; j < keys; j++) {
    max = Math.max(max, scores[(this.thread.y * keys + j) * rows + this.thread.x]);
  }
  let sum = 0;
  for (let i = 0; i < keys; i++) {
    if (i <= first + this.thread.x) {
      sum += Math.exp(scores[(this.thread.y * keys + i) * rows + this.thread.x] - max);
    }
  }
  return max + Math.log(sum);`);

/** dM of §4, summed over the query heads of a group: exp(S - n) (do . v - D) for j <= i. */
const MASK_GRADIENT = kernel('mask gradient', 'scores shift dOut v delta | n d share keys rows first stride offset', `
  if (this.thread.y > first + this.thread.x) {
    return 0;
  }
  let total = 0;
  for (let h = 0; h < share; h++) {
    let sum = 0;
    for (let e = 0; e < d; e++) {
      sum += dOut[((this.thread.z * share + h) * n + first + this.thread.x) * d + e]
        * v[(this.thread.z * n + this.thread.y) * d + e];
    }
    const s = scores[((this.thread.z * share + h) * keys + this.thread.y) * rows + this.thread.x];
    const weight = Math.exp(s - shift[(this.thread.z * share + h) * stride + offset + this.thread.x]);
    total += weight * (sum - delta[(this.thread.z * share + h) * n + first + this.thread.x]);
  }
  return total;`);

async function typeGradient(
  scope: Scope, inputs: BackwardInputs, sizes: Sizes, delta: Memory, typed: TypeGradientOptions,
): Promise<Memory> {
  const { B, H, G, N, d, scale } = sizes;
  const { q, k, v, lse, dOut } = inputs;
  const share = H / G;
  const plan = await planTypes(scope, typed.types, B * G, N, typed);
  let dTypes = await fill(scope, 0, B * G * plan.chunks * 3);
  const step = tileRows(scope, B * H, N);
  for (let first = 0; first < N; first += step) {
    const rows = Math.min(step, N - first);
    const keys = first + rows;
    const scores = await scope.run(CAUSAL, [rows, keys, B * H], [q, k], [N, d, share, first], [scale]);
    const shift = typed.bounded
      ? await scope.run(CAUSAL_LSE, [rows, B * H], [scores], [keys, rows, first])
      : lse;
    const dM = await scope.run(
      MASK_GRADIENT, [rows, keys, B * G], [scores, shift, dOut, v, delta],
      [N, d, share, keys, rows, first, typed.bounded ? rows : N, typed.bounded ? 0 : first],
    );
    dTypes = await addTypeGradient(scope, plan, dTypes, dM, first, rows);
    scope.free(scores, dM);
    if (typed.bounded) scope.free(shift);
  }
  return dTypes;
}
