/**
 * §4: the gradients of masked attention, tile by tile as the forward goes.
 * @module
 */
import { type Sizes, Tiles } from './attention-lists.ts';
import { type BackwardInputs, scoresOf, WEIGHTS } from './attention-scores.ts';
import { typeGradient, type TypeGradientOptions } from './attention-types.ts';
import type { Memory, Scope } from './device.ts';
import { fill } from './elementwise.ts';
import { kernel } from './kernel.ts';

const DELTA = kernel('delta', 'dOut out | d', `
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += dOut[this.thread.x * d + e] * out[this.thread.x * d + e];
  }
  return sum;`, { flat: true });

/** dS = scale A (do . v - D) of visible pairs. */
const DSCORES = kernel('score gradients', 'weights dOut v list delta | n d group cap rows first | scale', `
  const weight = weights[(this.thread.z * cap + this.thread.y) * rows + this.thread.x];
  if (weight === 0) {
    return 0;
  }
  const head = Math.floor((this.thread.z + 0.5) / group);
  const key = at(head, n, list[at(head, cap, this.thread.y)]);
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += dOut[(this.thread.z * n + first + this.thread.x) * d + e] * v[at(key, d, e)];
  }
  return scale * weight * (sum - delta[this.thread.z * n + first + this.thread.x]);`);

const DQ = kernel('dq', 'dS k list | n d group cap rows', `
  const head = Math.floor((this.thread.z + 0.5) / group);
  let sum = 0;
  for (let s = 0; s < cap; s++) {
    const change = dS[(this.thread.z * cap + s) * rows + this.thread.y];
    if (change !== 0) {
      sum += change * k[at(at(head, n, list[at(head, cap, s)]), d, this.thread.x)];
    }
  }
  return sum;`);

/** before + sum over the group's query heads and the tile's rows of pair[slot,row] x[row], for the listed keys. */
const TO_KEYS = kernel('gradients of keys', 'before pair x slots | n d group cap rows first', `
  let sum = before[(this.thread.z * n + this.thread.y) * d + this.thread.x];
  const slot = slots[this.thread.z * n + this.thread.y];
  if (slot >= 0) {
    for (let h = 0; h < group; h++) {
      for (let r = 0; r < rows; r++) {
        const value = pair[at(at(this.thread.z * group + h, cap, slot), rows, r)];
        if (value !== 0) {
          sum += value * x[((this.thread.z * group + h) * n + first + r) * d + this.thread.x];
        }
      }
    }
  }
  return sum;`);

const TO_KEYS_4 = kernel('gradients of keys, 4 columns', 'before pair x slots | n d group cap rows first', `
  let a = before[(this.thread.z * n + this.thread.y) * d + this.thread.x * 4];
  let b = before[(this.thread.z * n + this.thread.y) * d + this.thread.x * 4 + 1];
  let c = before[(this.thread.z * n + this.thread.y) * d + this.thread.x * 4 + 2];
  let e = before[(this.thread.z * n + this.thread.y) * d + this.thread.x * 4 + 3];
  const slot = slots[this.thread.z * n + this.thread.y];
  if (slot >= 0) {
    for (let h = 0; h < group; h++) {
      for (let r = 0; r < rows; r++) {
        const value = pair[at(at(this.thread.z * group + h, cap, slot), rows, r)];
        if (value !== 0) {
          a += value * x[((this.thread.z * group + h) * n + first + r) * d + this.thread.x * 4];
          b += value * x[((this.thread.z * group + h) * n + first + r) * d + this.thread.x * 4 + 1];
          c += value * x[((this.thread.z * group + h) * n + first + r) * d + this.thread.x * 4 + 2];
          e += value * x[((this.thread.z * group + h) * n + first + r) * d + this.thread.x * 4 + 3];
        }
      }
    }
  }
  return [a, b, c, e];`, { parts: 4 });

/** Unstacks the results of tiles, as the forward does: [BH,N,width]. */
const UNSTACK = kernel('rows of tiles', 'stack | n BH step width', `
  const first = Math.floor((this.thread.y + 0.5) / step) * step;
  let rows = step;
  if (n - first < step) {
    rows = n - first;
  }
  const row = first * BH + this.thread.z * rows + this.thread.y - first;
  return stack[at(row, width, this.thread.x)];`);

/** The gradients of §4: dq, dk, dv; with `typed` also that of §5: dTypes [B,G,Nc,3]. */
export async function attentionBackward(
  scope: Scope, inputs: BackwardInputs, sizes: Sizes, typed?: TypeGradientOptions,
): Promise<[dq: Memory, dk: Memory, dv: Memory, dTypes?: Memory]> {
  const { B, H, G, N, d, scale } = sizes;
  const { device } = scope;
  const { q, k, v, last, lse, dOut } = inputs;
  const group = H / G;
  const BH = B * H;
  const delta = await scope.run(DELTA, [BH * N], [dOut, inputs.out], [d]);
  const stack = scope.adopt(device.allocate(BH * N * d));
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
    const weights = await scope.run(WEIGHTS, [rows, cap, BH], [scores, lse], [cap, rows, N, first]);
    const dS = await scope.run(
      DSCORES, [rows, cap, BH], [weights, dOut, v, list, delta], [N, d, group, cap, rows, first], [scale],
    );
    const dqTile = await scope.run(DQ, [d, rows, BH], [dS, k, list], [N, d, group, cap, rows]);
    device.copy(dqTile, stack, [{ from: 0, to: first * BH * d, length: BH * rows * d }]);
    const [toKeys, columns] = four ? [TO_KEYS_4, d / 4] : [TO_KEYS, d];
    const shape = [N, d, group, cap, rows, first];
    const nextK = await scope.run(toKeys, [columns, N, B * G], [dk, dS, q, slots], shape);
    const nextV = await scope.run(toKeys, [columns, N, B * G], [dv, weights, dOut, slots], shape);
    scope.free(slots, scores, weights, dS, dqTile, dk, dv, list);
    [dk, dv] = [nextK, nextV];
  }
  tiles.free();
  const dq = await scope.run(UNSTACK, [d, N, BH], [stack], [N, BH, tiles.step, d]);
  scope.free(stack);
  if (!typed) return [dq, dk, dv];
  return [dq, dk, dv, await typeGradient(scope, inputs, sizes, delta, typed)];
}
