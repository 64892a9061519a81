/**
 * Attention of one query in float64, and how far a kernel of gpu/wgsl/fast/ may be from it.
 * @module
 */
import type { Bounded } from './tolerance.ts';

/** How a kernel rounds. */
export interface Roundings {
  /** Weights are rounded to float16 before they multiply values: 2^-11 of each, and 2^-25 of the largest. */
  readonly halfWeights: boolean;
}

const U = 2 ** -24;

/**
 * The truth for row q over the given keys and values, all of size d, as the kernel gets them.
 *
 * A score is a sum of d products of which one factor was scaled: its error is (d + 4) u sum |products|. A weight is a
 * product of at most n + 64 exponentials, whose arguments sum up to that of the weight: each has 7u and, of what exp2
 * may have by WGSL, 4u per unit of its argument. Sums of n terms have n u of their magnitudes, in any order.
 */
export function attended(
  q: ArrayLike<number>, keys: readonly ArrayLike<number>[], values: readonly ArrayLike<number>[], scale: number,
  { halfWeights }: Roundings,
): { out: Bounded[]; lse: Bounded } {
  const [n, d] = [keys.length, q.length];
  const scores = keys.map((key) => {
    let [sum, size] = [0, 0];
    for (let e = 0; e < d; e++) {
      sum += q[e] * key[e] * scale;
      size += Math.abs(q[e] * key[e] * scale);
    }
    return { sum, error: (d + 4) * U * size };
  });
  const most = Math.max(...scores.map(({ sum }) => sum));
  const scoreError = Math.max(...scores.map(({ error }) => error));
  let [total, totalError] = [0, 0];
  const weights = scores.map(({ sum }) => {
    const weight = Math.exp(sum - most);
    const steps = (7 * (n + 64) + 4 * Math.abs(sum - most) * Math.LOG2E) * U;
    const error = weight * (Math.expm1(2 * scoreError) + steps);
    total += weight;
    totalError += error;
    return { weight, error: error + (halfWeights ? weight * 2 ** -11 + 2 ** -25 : 0) };
  });
  totalError += (n + 1) * U * total;
  const out = Array.from({ length: d }, (_, e): Bounded => {
    let [sum, error] = [0, 0];
    weights.forEach((w, i) => {
      sum += w.weight * values[i][e];
      error += (w.error + (n + 2) * U * w.weight) * Math.abs(values[i][e]);
    });
    const value = sum / total;
    const brought = (error + Math.abs(value) * totalError) / (total - totalError);
    return { value, error: brought + 5 * U * Math.abs(value) + 2 ** -126 };
  });
  const lse = most + Math.log(total);
  const lseError = scoreError + totalError / (total - totalError) + 16 * U * (1 + Math.abs(lse));
  return { out, lse: { value: lse, error: lseError } };
}
