/**
 * §3: masked attention, a tile of query rows at a time, over the keys that the tile can see.
 * @module
 */
import { type Sizes, Tiles } from './attention-lists.ts';
import { HIDDEN, type Inputs, scoresOf, WEIGHTS } from './attention-scores.ts';
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

/** Scores of which one thread finds the largest. */
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

/** The largest of x [BH,cap,rows] along cap: [BH,rows]. */
async function largest(scope: Scope, x: Memory, BH: number, cap: number, rows: number): Promise<Memory> {
  let found = x;
  for (let left = cap; left > 1 || found === x;) {
    const parts = Math.ceil(left / PART);
    const next = await scope.run(PART_MAX, [rows, parts, BH], [found], [left, rows]);
    if (found !== x) scope.free(found);
    [found, left] = [next, parts];
  }
  return found;
}

/** Columns 0..d-1: sum_s weight[s,row] v[list[s],e]; column d: the sum of the weights. */
const VALUES = kernel('weighted values', 'weights v list | n d group cap rows', `
  const head = Math.floor((this.thread.z + 0.5) / group);
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
const VALUES_4 = kernel('weighted values, 4 columns', 'weights v list | n d group cap rows', `
  const head = Math.floor((this.thread.z + 0.5) / group);
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
 * The results of tiles are stacked, each [BH,rows,width], so that a tile takes one copy. Row i of head h is row
 * first BH + h rows + (i - first) of the stack, where `first` and `rows` are those of the tile that i is in.
 */
const OUT = kernel('attention output', 'stack | n BH step width d', `
  const first = Math.floor((this.thread.y + 0.5) / step) * step;
  let rows = step;
  if (n - first < step) {
    rows = n - first;
  }
  const row = first * BH + this.thread.z * rows + this.thread.y - first;
  return stack[at(row, width, this.thread.x)] / stack[at(row, width, d)];`);

const LSE = kernel('log-sum-exp', 'max stack | n BH step width d', `
  const first = Math.floor((this.thread.x + 0.5) / step) * step;
  let rows = step;
  if (n - first < step) {
    rows = n - first;
  }
  const row = first * BH + this.thread.y * rows + this.thread.x - first;
  return max[at(row, 1, 0)] + Math.log(stack[at(row, width, d)]);`);

/** Attention of §3: out [B,H,N,d] and lse [B,H,N]. */
export async function attention(scope: Scope, inputs: Inputs, sizes: Sizes): Promise<[out: Memory, lse: Memory]> {
  const { B, H, G, N, d } = sizes;
  const { device } = scope;
  const group = H / G;
  const BH = B * H;
  const tiles = new Tiles(scope, inputs.last, sizes);
  await tiles.prepare();
  const four = device.vectors && d % 4 === 0;
  const width = four ? d + 4 : d + 1;
  const stack = scope.adopt(device.allocate(BH * N * width));
  const maxima = scope.adopt(device.allocate(BH * N));
  for (let n = 0; n < tiles.count; n++) {
    const tile = await tiles.tile(n);
    const { first, rows, cap, list } = tile;
    const scores = await scoresOf(scope, inputs, sizes, tile);
    const max = await largest(scope, scores, BH, cap, rows);
    const weights = await scope.run(WEIGHTS, [rows, cap, BH], [scores, max], [cap, rows, rows, 0]);
    const values = four
      ? await scope.run(VALUES_4, [width / 4, rows, BH], [weights, inputs.v, list], [N, d, group, cap, rows])
      : await scope.run(VALUES, [width, rows, BH], [weights, inputs.v, list], [N, d, group, cap, rows]);
    device.copy(values, stack, [{ from: 0, to: first * BH * width, length: BH * rows * width }]);
    device.copy(max, maxima, [{ from: 0, to: first * BH, length: BH * rows }]);
    scope.free(scores, max, weights, values, list);
  }
  tiles.free();
  const out = await scope.run(OUT, [d, N, BH], [stack], [N, BH, tiles.step, width, d]);
  const lse = await scope.run(LSE, [N, BH], [maxima, stack], [N, BH, tiles.step, width, d]);
  return [out, lse];
}
