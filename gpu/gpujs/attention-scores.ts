/**
 * Scores and weights of a tile, which the forward and the backward compute alike.
 * @module
 */
import type { Sizes, Tile } from './attention-lists.ts';
import type { Memory, Scope } from './device.ts';
import { type Kernel, kernel } from './kernel.ts';

/** The tensors of a call: q [B,H,N,d], k and v [B,G,N,d], last [B,G,N]. */
export interface Inputs {
  readonly q: Memory;
  readonly k: Memory;
  readonly v: Memory;
  readonly last: Memory;
}

/** What the backward takes besides the inputs. */
export interface BackwardInputs extends Inputs {
  readonly out: Memory;
  readonly lse: Memory;
  readonly dOut: Memory;
}

/** The score of a hidden pair, from which visible ones are far. */
export const HIDDEN = '-1e30';

/** Query head z = b H + h reads KV head floor(z / group), which `group` query heads share. */
const SCORES = kernel('scores', 'q k last list | n d group cap first | scale', `
  const head = Math.floor((this.thread.z + 0.5) / group);
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

/** The same for four rows, for which a key is read once; scores that a row must not see are hidden at the end. */
const SCORES_4 = kernel('scores, 4 rows', 'q k last list | n d group cap first | scale', `
  const head = Math.floor((this.thread.z + 0.5) / group);
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

/** The scores [BH,cap,rows] of a tile. */
export function scoresOf(
  scope: Scope, { q, k, last }: Inputs, { B, H, G, N, d, scale }: Sizes, tile: Tile,
): Promise<Memory> {
  const { rows, cap, first, list } = tile;
  const group = H / G;
  if (scope.device.vectors && rows % 4 === 0) {
    return scope.run(SCORES_4, [rows / 4, cap, B * H], [q, k, last, list], [N, d, group, cap, first], [scale]);
  }
  return scope.run(SCORES, [rows, cap, B * H], [q, k, last, list], [N, d, group, cap, first], [scale]);
}

/** exp(S - shift) of visible pairs, 0 of hidden ones; row r of head z has the shift at z n + first + r. */
export const WEIGHTS: Kernel = kernel('weights', 'scores shift | cap rows n first', `
  const s = scores[(this.thread.z * cap + this.thread.y) * rows + this.thread.x];
  if (s < -1e29) {
    return 0;
  }
  return Math.exp(s - shift[this.thread.z * n + first + this.thread.x]);`);
