/**
 * §5: the gradient of the token types through attention, over all causal pairs, hidden ones included.
 * @module
 */
import type { LifetimeOptions } from '../../src/core/lifetime.ts';
import { type Sizes, tileRows } from './attention-lists.ts';
import { type BackwardInputs, HIDDEN } from './attention-scores.ts';
import type { Memory, Scope } from './device.ts';
import { fill } from './elementwise.ts';
import { kernel } from './kernel.ts';
import { addTypeGradient, planTypes } from './mask.ts';

/** What the gradient of the types depends on. */
export interface TypeGradientOptions extends LifetimeOptions {
  readonly types: Memory;
  readonly bounded: boolean;
}

/** Scores of all pairs j <= i <= j + reach, visible or not. */
const CAUSAL = kernel('causal scores', 'q k | n d group first reach | scale', `
  if (this.thread.y > first + this.thread.x || this.thread.y + reach < first + this.thread.x) {
    return ${HIDDEN};
  }
  const head = Math.floor((this.thread.z + 0.5) / group);
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += q[(this.thread.z * n + first + this.thread.x) * d + e] * k[at(at(head, n, this.thread.y), d, e)];
  }
  return sum * scale;`);

const CAUSAL_LSE = kernel('causal log-sum-exp', 'scores | keys rows first reach', `
  let max = ${HIDDEN};
  for (let j = 0; j < keys; j++) {
    max = Math.max(max, scores[(this.thread.y * keys + j) * rows + this.thread.x]);
  }
  let sum = 0;
  for (let i = 0; i < keys; i++) {
    if (i <= first + this.thread.x && i + reach >= first + this.thread.x) {
      sum += Math.exp(scores[(this.thread.y * keys + i) * rows + this.thread.x] - max);
    }
  }
  return max + Math.log(sum);`);

/** dM of §4, summed over the query heads of a group: exp(S - n) (do . v - D) for j <= i <= j + reach. */
const MASK_GRADIENT = kernel(
  'mask gradient', 'scores shift dOut v delta | n d group keys rows first stride offset reach', `
  if (this.thread.y > first + this.thread.x || this.thread.y + reach < first + this.thread.x) {
    return 0;
  }
  let total = 0;
  for (let h = 0; h < group; h++) {
    let sum = 0;
    for (let e = 0; e < d; e++) {
      sum += dOut[((this.thread.z * group + h) * n + first + this.thread.x) * d + e]
        * v[(this.thread.z * n + this.thread.y) * d + e];
    }
    const s = scores[((this.thread.z * group + h) * keys + this.thread.y) * rows + this.thread.x];
    const weight = Math.exp(s - shift[(this.thread.z * group + h) * stride + offset + this.thread.x]);
    total += weight * (sum - delta[(this.thread.z * group + h) * n + first + this.thread.x]);
  }
  return total;`);

export async function typeGradient(
  scope: Scope, inputs: BackwardInputs, sizes: Sizes, delta: Memory, typed: TypeGradientOptions,
): Promise<Memory> {
  const { B, H, G, N, d, scale } = sizes;
  const { q, k, v, lse, dOut } = inputs;
  const reach = Math.min(typed.reach ?? N, N); // no key is N queries old
  const group = H / G;
  const plan = await planTypes(scope, typed.types, B * G, N, typed);
  let dTypes = await fill(scope, 0, B * G * plan.chunks * 3);
  const step = tileRows(scope, B * H, N);
  for (let first = 0; first < N; first += step) {
    const rows = Math.min(step, N - first);
    const keys = first + rows;
    const scores = await scope.run(CAUSAL, [rows, keys, B * H], [q, k], [N, d, group, first, reach], [scale]);
    const shift = typed.bounded
      ? await scope.run(CAUSAL_LSE, [rows, B * H], [scores], [keys, rows, first, reach])
      : lse;
    const dM = await scope.run(
      MASK_GRADIENT, [rows, keys, B * G], [scores, shift, dOut, v, delta],
      [N, d, group, keys, rows, first, typed.bounded ? rows : N, typed.bounded ? 0 : first, reach],
    );
    dTypes = await addTypeGradient(scope, plan, dTypes, dM, first, rows);
    scope.free(scores, dM);
    if (typed.bounded) scope.free(shift);
  }
  return dTypes;
}
