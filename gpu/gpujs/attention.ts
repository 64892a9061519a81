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
const TILE_ELEMENTS = 2 ** 25;
/** What a hidden pair's score is; a visible one is far from it. */
const HIDDEN = '-1e30';

/** Rows per tile, so that [B H, N, rows] stays within the budget and the device's limits. */
function tileRows(scope: Scope, heads: number, N: number): number {
  const elements = Math.min(TILE_ELEMENTS, scope.device.maxLength);
  const rows = Math.floor(elements / Math.max(heads * N, 1));
  return Math.max(1, Math.min(N, scope.device.tuning.tileRows, rows >= 8 ? rows - (rows % 8) : rows));
}

// ---- the keys of a tile -----------------------------------------------------------------------------

/** Keys that are looked through together. */
const BLOCK = 64;

/** Live keys of each block, for every tile (z) and head (y). */
const COUNT = kernel('live keys per block', 'last | n step', `
  let count = 0;
  for (let t = 0; t < ${BLOCK}; t++) {
    const j = this.thread.x * ${BLOCK} + t;
    if (j < n && j < (this.thread.z + 1) * step) {
      if (last[this.thread.y * n + this.thread.x * ${BLOCK} + t] >= this.thread.z * step) {
        count += 1;
      }
    }
  }
  return count;`);

/** Where the keys of each block begin in the list; the last is the list's length. */
const STARTS = kernel('starts of blocks', 'counts | blocks heads', `
  let sum = 0;
  for (let t = 0; t < blocks; t++) {
    if (t < this.thread.x) {
      sum += counts[(this.thread.z * heads + this.thread.y) * blocks + t];
    } else {
      break;
    }
  }
  return sum;`);

const LENGTHS = kernel('lengths of lists', 'starts | blocks', `
  return starts[this.thread.x * (blocks + 1) + blocks];`, { flat: true });

/** The s-th live key of a head, or -1: its block by bisection of the starts, then key by key. */
const LIST = kernel('list of live keys', 'last starts | n keys first blocks base', `
  const s = this.thread.x;
  const row = base + this.thread.y;
  let key = -1;
  if (s < starts[at(row, blocks + 1, blocks)]) {
    let low = 0;
    let high = blocks;
    for (let step = 0; step < 24; step++) {
      const middle = Math.floor((low + high + 0.5) / 2);
      if (middle > low) {
        if (starts[at(row, blocks + 1, middle)] <= s) {
          low = middle;
        } else {
          high = middle;
        }
      } else {
        break;
      }
    }
    let left = s - starts[at(row, blocks + 1, low)];
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
const SLOTS = kernel('slots of keys', 'last starts | n keys first blocks base', `
  let slot = -1;
  if (this.thread.x < keys) {
    if (last[this.thread.y * n + this.thread.x] >= first) {
      const block = Math.floor((this.thread.x + 0.5) / ${BLOCK});
      slot = starts[at(base + this.thread.y, blocks + 1, block)];
      for (let t = 0; t < ${BLOCK}; t++) {
        if (block * ${BLOCK} + t < this.thread.x) {
          if (last[at(this.thread.y, n, block * ${BLOCK} + t)] >= first) {
            slot += 1;
          }
        } else {
          break;
        }
      }
    }
  }
  return slot;`);

/** A tile: query rows first..first+rows-1 and, per KV head, the list [heads,cap] of the keys they may see. */
interface Tile {
  readonly first: number;
  readonly rows: number;
  /** Keys up to the last row. */
  readonly keys: number;
  /** Room of the list. */
  readonly cap: number;
  readonly list: Memory;
}

/** The tiles of a call, and the lists of their keys. */
class Tiles {
  readonly step: number;
  readonly count: number;
  readonly #scope: Scope;
  readonly #last: Memory;
  readonly #sizes: Sizes;
  readonly #blocks: number;
  #starts: Memory | undefined;
  #lengths: Float32Array | undefined;

  constructor(scope: Scope, last: Memory, sizes: Sizes) {
    this.#scope = scope;
    this.#last = last;
    this.#sizes = sizes;
    this.step = tileRows(scope, sizes.B * sizes.H, sizes.N);
    this.count = Math.ceil(sizes.N / this.step);
    this.#blocks = Math.ceil(sizes.N / BLOCK);
  }

  async prepare(): Promise<void> {
    const { B, G, N } = this.#sizes;
    const [blocks, heads] = [this.#blocks, B * G];
    const counts = await this.#scope.run(COUNT, [blocks, heads, this.count], [this.#last], [N, this.step]);
    this.#starts = await this.#scope.run(STARTS, [blocks + 1, heads, this.count], [counts], [blocks, heads]);
    this.#scope.free(counts);
    if (N < this.#scope.device.tuning.measuredFrom) return;
    const lengths = await this.#scope.run(LENGTHS, [heads * this.count], [this.#starts], [blocks]);
    this.#lengths = await this.#scope.device.read(lengths, heads * this.count);
    this.#scope.free(lengths);
  }

  async tile(n: number): Promise<Tile> {
    const { B, G, N } = this.#sizes;
    const first = n * this.step;
    const rows = Math.min(this.step, N - first);
    const keys = first + rows;
    const heads = B * G;
    const cap = this.#lengths ? Math.max(1, ...this.#lengths.subarray(n * heads, (n + 1) * heads)) : keys;
    const list = await this.#scope.run(
      LIST, [cap, heads], [this.#last, this.#starts!], [N, keys, first, this.#blocks, n * heads],
    );
    return { first, rows, keys, cap, list };
  }

  /** Where each key stands in the tile's lists: [heads,N]. */
  slots(n: number, { keys, first }: Tile): Promise<Memory> {
    const { B, G, N } = this.#sizes;
    return this.#scope.run(
      SLOTS, [N, B * G], [this.#last, this.#starts!], [N, keys, first, this.#blocks, n * B * G],
    );
  }

  free(): void {
    if (this.#starts) this.#scope.free(this.#starts);
  }
}

// ---- scores and weights -----------------------------------------------------------------------------

/** Query head z = b H + h reads KV head floor(z / share), for groups of `share` query heads. */
const SCORES = kernel('scores', 'q k last list | n d share cap first | scale', `
  const head = Math.floor((this.thread.z + 0.5) / share);
  const j = list[at(head, cap, this.thread.y)];
  const i = first + this.thread.x;
  if (j < 0 || j > i) {
    return ${HIDDEN};
  }
  const key = at(head, n, j);
  if (last[key] < i) {
    return ${HIDDEN};
  }
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += q[(this.thread.z * n + first + this.thread.x) * d + e] * k[at(key, d, e)];
  }
  return sum * scale;`);

/** The same for four rows: a key is read once for all of them, and what a row must not see is left out at the end. */
const SCORES_4 = kernel('scores, 4 rows', 'q k last list | n d share cap first | scale', `
  const head = Math.floor((this.thread.z + 0.5) / share);
  const j = list[at(head, cap, this.thread.y)];
  const i = first + this.thread.x * 4;
  if (j < 0 || j > i + 3) {
    return [${HIDDEN}, ${HIDDEN}, ${HIDDEN}, ${HIDDEN}];
  }
  const key = at(head, n, j);
  const end = last[key];
  if (end < i) {
    return [${HIDDEN}, ${HIDDEN}, ${HIDDEN}, ${HIDDEN}];
  }
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  for (let e = 0; e < d; e++) {
    const value = k[at(key, d, e)];
    s0 += q[(this.thread.z * n + first + this.thread.x * 4) * d + e] * value;
    s1 += q[(this.thread.z * n + first + this.thread.x * 4 + 1) * d + e] * value;
    s2 += q[(this.thread.z * n + first + this.thread.x * 4 + 2) * d + e] * value;
    s3 += q[(this.thread.z * n + first + this.thread.x * 4 + 3) * d + e] * value;
  }
  s0 = s0 * scale;
  s1 = s1 * scale;
  s2 = s2 * scale;
  s3 = s3 * scale;
  if (j > i) {
    s0 = ${HIDDEN};
  }
  if (j > i + 1 || end < i + 1) {
    s1 = ${HIDDEN};
  }
  if (j > i + 2 || end < i + 2) {
    s2 = ${HIDDEN};
  }
  if (end < i + 3) {
    s3 = ${HIDDEN};
  }
  return [s0, s1, s2, s3];`, { parts: 4 });

function scoresOf(scope: Scope, { q, k, last }: Inputs, { B, H, G, N, d, scale }: Sizes, tile: Tile): Promise<Memory> {
  const { rows, cap, first, list } = tile;
  const share = H / G;
  if (scope.device.vectors && rows % 4 === 0) {
    return scope.run(SCORES_4, [rows / 4, cap, B * H], [q, k, last, list], [N, d, share, cap, first], [scale]);
  }
  return scope.run(SCORES, [rows, cap, B * H], [q, k, last, list], [N, d, share, cap, first], [scale]);
}

/** Keys whose scores one thread looks through for the largest. */
const PART = 64;

const PART_MAX = kernel('largest of part', 'x | cap rows', `
  let max = ${HIDDEN};
  for (let t = 0; t < ${PART}; t++) {
    if (this.thread.y * ${PART} + t < cap) {
      max = Math.max(max, x[(this.thread.z * cap + this.thread.y * ${PART} + t) * rows + this.thread.x]);
    } else {
      break;
    }
  }
  return max;`);

/** The largest of x [heads,cap,rows] along cap: [heads,rows]. */
async function largest(scope: Scope, x: Memory, heads: number, cap: number, rows: number): Promise<Memory> {
  let found = x;
  for (let left = cap; left > 1 || found === x;) {
    const parts = Math.ceil(left / PART);
    const next = await scope.run(PART_MAX, [rows, parts, heads], [found], [left, rows]);
    if (found !== x) scope.free(found);
    [found, left] = [next, parts];
  }
  return found;
}

/** exp(S - shift) of visible pairs, 0 of hidden ones; shift has one element per row, at stride n from first. */
const WEIGHTS = kernel('weights', 'scores shift | cap rows n first', `
  const s = scores[(this.thread.z * cap + this.thread.y) * rows + this.thread.x];
  if (s < -1e29) {
    return 0;
  }
  return Math.exp(s - shift[this.thread.z * n + first + this.thread.x]);`);

/** Columns 0..d-1: sum_s weight[s,row] v[list[s],e]; column d: the sum of the weights. */
const VALUES = kernel('weighted values', 'weights v list | n d share cap rows', `
  const head = Math.floor((this.thread.z + 0.5) / share);
  let sum = 0;
  for (let s = 0; s < cap; s++) {
    const weight = weights[(this.thread.z * cap + s) * rows + this.thread.y];
    if (weight !== 0) {
      if (this.thread.x < d) {
        sum += weight * v[at(at(head, n, list[at(head, cap, s)]), d, this.thread.x)];
      } else {
        sum += weight;
      }
    }
  }
  return sum;`);

/** Four columns at once; the sum of the weights is the first of the last four. */
const VALUES_4 = kernel('weighted values, 4 columns', 'weights v list | n d share cap rows', `
  const head = Math.floor((this.thread.z + 0.5) / share);
  let a = 0;
  let b = 0;
  let c = 0;
  let e = 0;
  for (let s = 0; s < cap; s++) {
    const weight = weights[(this.thread.z * cap + s) * rows + this.thread.y];
    if (weight !== 0) {
      if (this.thread.x * 4 < d) {
        const key = at(head, n, list[at(head, cap, s)]);
        a += weight * v[at(key, d, this.thread.x * 4)];
        b += weight * v[at(key, d, this.thread.x * 4 + 1)];
        c += weight * v[at(key, d, this.thread.x * 4 + 2)];
        e += weight * v[at(key, d, this.thread.x * 4 + 3)];
      } else {
        a += weight;
      }
    }
  }
  return [a, b, c, e];`, { parts: 4 });

/**
 * Results of tiles lie one tile after the other, each [heads,rows,width]: one copy per tile. Row i of head h is the
 * row first heads + h rows + (i - first) of that stack, with `first` and `rows` those of i's tile.
 */
const UNSTACK = kernel('rows of tiles', 'stack | n heads step width', `
  const first = Math.floor((this.thread.y + 0.5) / step) * step;
  let rows = step;
  if (n - first < step) {
    rows = n - first;
  }
  const row = first * heads + this.thread.z * rows + this.thread.y - first;
  return stack[at(row, width, this.thread.x)];`);

const OUT = kernel('attention output', 'stack | n heads step width d', `
  const first = Math.floor((this.thread.y + 0.5) / step) * step;
  let rows = step;
  if (n - first < step) {
    rows = n - first;
  }
  const row = first * heads + this.thread.z * rows + this.thread.y - first;
  return stack[at(row, width, this.thread.x)] / stack[at(row, width, d)];`);

const LSE = kernel('log-sum-exp', 'max stack | n heads step width d', `
  const first = Math.floor((this.thread.x + 0.5) / step) * step;
  let rows = step;
  if (n - first < step) {
    rows = n - first;
  }
  const row = first * heads + this.thread.y * rows + this.thread.x - first;
  return max[at(row, 1, 0)] + Math.log(stack[at(row, width, d)]);`);

/** Attention of §3: out [B,H,N,d] and lse [B,H,N]. */
export async function attention(scope: Scope, inputs: Inputs, sizes: Sizes): Promise<[out: Memory, lse: Memory]> {
  const { B, H, G, N, d } = sizes;
  const { device } = scope;
  const share = H / G;
  const heads = B * H;
  const tiles = new Tiles(scope, inputs.last, sizes);
  await tiles.prepare();
  const four = device.vectors && d % 4 === 0;
  const width = four ? d + 4 : d + 1;
  const stack = scope.adopt(device.allocate(heads * N * width));
  const maxima = scope.adopt(device.allocate(heads * N));
  for (let n = 0; n < tiles.count; n++) {
    const tile = await tiles.tile(n);
    const { first, rows, cap, list } = tile;
    const scores = await scoresOf(scope, inputs, sizes, tile);
    const max = await largest(scope, scores, heads, cap, rows);
    const weights = await scope.run(WEIGHTS, [rows, cap, heads], [scores, max], [cap, rows, rows, 0]);
    const values = four
      ? await scope.run(VALUES_4, [width / 4, rows, heads], [weights, inputs.v, list], [N, d, share, cap, rows])
      : await scope.run(VALUES, [width, rows, heads], [weights, inputs.v, list], [N, d, share, cap, rows]);
    device.copy(values, stack, [{ from: 0, to: first * heads * width, length: heads * rows * width }]);
    device.copy(max, maxima, [{ from: 0, to: first * heads, length: heads * rows }]);
    scope.free(scores, max, weights, values, list);
  }
  tiles.free();
  const out = await scope.run(OUT, [d, N, heads], [stack], [N, heads, tiles.step, width, d]);
  const lse = await scope.run(LSE, [N, heads], [maxima, stack], [N, heads, tiles.step, width, d]);
  return [out, lse];
}

// ---- gradients --------------------------------------------------------------------------------------

const DELTA = kernel('delta', 'dOut out | d', `
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += dOut[this.thread.x * d + e] * out[this.thread.x * d + e];
  }
  return sum;`, { flat: true });

/** dS = scale A (do . v - D) of visible pairs. */
const DSCORES = kernel('score gradients', 'weights dOut v list delta | n d share cap rows first | scale', `
  const weight = weights[(this.thread.z * cap + this.thread.y) * rows + this.thread.x];
  if (weight === 0) {
    return 0;
  }
  const head = Math.floor((this.thread.z + 0.5) / share);
  const key = at(head, n, list[at(head, cap, this.thread.y)]);
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += dOut[(this.thread.z * n + first + this.thread.x) * d + e] * v[at(key, d, e)];
  }
  return scale * weight * (sum - delta[this.thread.z * n + first + this.thread.x]);`);

const DQ = kernel('dq', 'dS k list | n d share cap rows', `
  const head = Math.floor((this.thread.z + 0.5) / share);
  let sum = 0;
  for (let s = 0; s < cap; s++) {
    const change = dS[(this.thread.z * cap + s) * rows + this.thread.y];
    if (change !== 0) {
      sum += change * k[at(at(head, n, list[at(head, cap, s)]), d, this.thread.x)];
    }
  }
  return sum;`);

/** before + sum over the group's query heads and the tile's rows of pair[slot,row] x[row], for the listed keys. */
const TO_KEYS = kernel('gradients of keys', 'before pair x slots | n d share cap rows first', `
  let sum = before[(this.thread.z * n + this.thread.y) * d + this.thread.x];
  const slot = slots[this.thread.z * n + this.thread.y];
  if (slot >= 0) {
    for (let h = 0; h < share; h++) {
      for (let r = 0; r < rows; r++) {
        const value = pair[at(at(this.thread.z * share + h, cap, slot), rows, r)];
        if (value !== 0) {
          sum += value * x[((this.thread.z * share + h) * n + first + r) * d + this.thread.x];
        }
      }
    }
  }
  return sum;`);

const TO_KEYS_4 = kernel('gradients of keys, 4 columns', 'before pair x slots | n d share cap rows first', `
  let a = before[(this.thread.z * n + this.thread.y) * d + this.thread.x * 4];
  let b = before[(this.thread.z * n + this.thread.y) * d + this.thread.x * 4 + 1];
  let c = before[(this.thread.z * n + this.thread.y) * d + this.thread.x * 4 + 2];
  let e = before[(this.thread.z * n + this.thread.y) * d + this.thread.x * 4 + 3];
  const slot = slots[this.thread.z * n + this.thread.y];
  if (slot >= 0) {
    for (let h = 0; h < share; h++) {
      for (let r = 0; r < rows; r++) {
        const value = pair[at(at(this.thread.z * share + h, cap, slot), rows, r)];
        if (value !== 0) {
          a += value * x[((this.thread.z * share + h) * n + first + r) * d + this.thread.x * 4];
          b += value * x[((this.thread.z * share + h) * n + first + r) * d + this.thread.x * 4 + 1];
          c += value * x[((this.thread.z * share + h) * n + first + r) * d + this.thread.x * 4 + 2];
          e += value * x[((this.thread.z * share + h) * n + first + r) * d + this.thread.x * 4 + 3];
        }
      }
    }
  }
  return [a, b, c, e];`, { parts: 4 });

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
  readonly bound?: number;
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
  const stack = scope.adopt(device.allocate(heads * N * d));
  let dk = await fill(scope, 0, B * G * N * d);
  let dv = await fill(scope, 0, B * G * N * d);
  const tiles = new Tiles(scope, last, sizes);
  await tiles.prepare();
  const four = device.vectors && d % 4 === 0;
  for (let n = 0; n < tiles.count; n++) {
    const tile = await tiles.tile(n);
    const { first, rows, cap, list } = tile;
    const slots = await tiles.slots(n, tile);
    const scores = await scoresOf(scope, inputs, sizes, tile);
    const weights = await scope.run(WEIGHTS, [rows, cap, heads], [scores, lse], [cap, rows, N, first]);
    const dS = await scope.run(
      DSCORES, [rows, cap, heads], [weights, dOut, v, list, delta], [N, d, share, cap, rows, first], [scale],
    );
    const dqTile = await scope.run(DQ, [d, rows, heads], [dS, k, list], [N, d, share, cap, rows]);
    device.copy(dqTile, stack, [{ from: 0, to: first * heads * d, length: heads * rows * d }]);
    const [toKeys, columns] = four ? [TO_KEYS_4, d / 4] : [TO_KEYS, d];
    const shape = [N, d, share, cap, rows, first];
    const nextK = await scope.run(toKeys, [columns, N, B * G], [dk, dS, q, slots], shape);
    const nextV = await scope.run(toKeys, [columns, N, B * G], [dv, weights, dOut, slots], shape);
    scope.free(slots, scores, weights, dS, dqTile, dk, dv, list);
    [dk, dv] = [nextK, nextV];
  }
  tiles.free();
  const dq = await scope.run(UNSTACK, [d, N, heads], [stack], [N, heads, tiles.step, d]);
  scope.free(stack);
  if (!typed) return [dq, dk, dv];
  return [dq, dk, dv, await typeGradient(scope, inputs, sizes, delta, typed)];
}

// ---- gradients of the types -------------------------------------------------------------------------

/** Scores of all pairs j <= i <= j + bound, visible or not. */
const CAUSAL = kernel('causal scores', 'q k | n d share first bound | scale', `
  if (this.thread.y > first + this.thread.x || this.thread.y + bound < first + this.thread.x) {
    return ${HIDDEN};
  }
  const head = Math.floor((this.thread.z + 0.5) / share);
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += q[(this.thread.z * n + first + this.thread.x) * d + e] * k[at(at(head, n, this.thread.y), d, e)];
  }
  return sum * scale;`);

const CAUSAL_LSE = kernel('causal log-sum-exp', 'scores | keys rows first bound', `
  let max = ${HIDDEN};
  for (let j = 0; j < keys; j++) {
    max = Math.max(max, scores[(this.thread.y * keys + j) * rows + this.thread.x]);
  }
  let sum = 0;
  for (let i = 0; i < keys; i++) {
    if (i <= first + this.thread.x && i + bound >= first + this.thread.x) {
      sum += Math.exp(scores[(this.thread.y * keys + i) * rows + this.thread.x] - max);
    }
  }
  return max + Math.log(sum);`);

/** dM of §4, summed over the query heads of a group: exp(S - n) (do . v - D) for j <= i <= j + bound. */
const MASK_GRADIENT = kernel(
  'mask gradient', 'scores shift dOut v delta | n d share keys rows first stride offset bound', `
  if (this.thread.y > first + this.thread.x || this.thread.y + bound < first + this.thread.x) {
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
  const bound = Math.min(typed.bound ?? N, N); // no key is N queries old
  const share = H / G;
  const plan = await planTypes(scope, typed.types, B * G, N, typed);
  let dTypes = await fill(scope, 0, B * G * plan.chunks * 3);
  const step = tileRows(scope, B * H, N);
  for (let first = 0; first < N; first += step) {
    const rows = Math.min(step, N - first);
    const keys = first + rows;
    const scores = await scope.run(CAUSAL, [rows, keys, B * H], [q, k], [N, d, share, first, bound], [scale]);
    const shift = typed.bounded
      ? await scope.run(CAUSAL_LSE, [rows, B * H], [scores], [keys, rows, first, bound])
      : lse;
    const dM = await scope.run(
      MASK_GRADIENT, [rows, keys, B * G], [scores, shift, dOut, v, delta],
      [N, d, share, keys, rows, first, typed.bounded ? rows : N, typed.bounded ? 0 : first, bound],
    );
    dTypes = await addTypeGradient(scope, plan, dTypes, dM, first, rows);
    scope.free(scores, dM);
    if (typed.bounded) scope.free(shift);
  }
  return dTypes;
}
