/**
 * The logarithm of a sum of exponentials, which does not overflow.
 * @module
 */
import { exp, log } from '../src/core/elementary.ts';
import type { FloatArray } from '../src/core/tensor.ts';

/** log sum_n exp(scale z_n) over `length` numbers from `start` on. */
export function logSumExp(z: FloatArray, start: number, length: number, scale = 1): number {
  let max = -Infinity;
  for (let n = start; n < start + length; n++) max = Math.max(max, scale * z[n]);
  let sum = 0;
  for (let n = start; n < start + length; n++) sum += exp(scale * z[n] - max);
  return max + log(sum);
}
