/** Picking a token by its definition: every step sorts, sums and filters the whole vocabulary. */
import type { Generator } from '../../src/core/random.ts';
import type { Sampling } from '../../src/model/generate/sampler.ts';

export type Candidate = readonly [token: number, logit: number];

/** The candidates in order, with their weights. */
export function candidates(logits: ArrayLike<number>, sampling: Sampling, seen: readonly number[] = []): Candidate[] {
  const penalized = new Set(seen);
  const { temperature, topK, topP, minP, repetitionPenalty: penalty = 1 } = sampling;
  let left: Candidate[] = Array.from(logits, (logit, token): Candidate => {
    if (!penalized.has(token)) return [token, logit / temperature];
    return [token, (logit < 0 ? logit * penalty : logit / penalty) / temperature];
  });
  left.sort(([a, x], [b, y]) => y - x || a - b);
  if (topK !== undefined) left = left.slice(0, topK);
  const total = () => left.reduce((sum, [, z]) => sum + Math.exp(z - left[0][1]), 0);
  if (topP !== undefined && topP < 1) {
    // Hugging Face starts at the least likely and removes tokens while their sum is within 1 - topP, but never the
    // best.
    const all = total();
    let [sum, kept] = [0, left.length];
    while (kept > 1) {
      sum += Math.exp(left[kept - 1][1] - left[0][1]) / all;
      if (sum > 1 - topP) break;
      kept--;
    }
    left = left.slice(0, kept);
  }
  if (minP !== undefined) {
    const all = total();
    const probability = (z: number) => Math.exp(z - left[0][1]) / all;
    left = left.filter(([, z], n) => n === 0 || probability(z) >= minP * probability(left[0][1]));
  }
  return left.map(([token, z]): Candidate => [token, Math.exp(z - left[0][1])]);
}

/** The earlier algorithm of drawing. */
export function drawn(from: readonly Candidate[], uniform: number): number {
  let rest = uniform * from.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [token, weight] of from) {
    rest -= weight;
    if (rest < 0) return token;
  }
  return from[0][0];
}

/** Whether a draw at `uniform` gives `token`, up to rounding. */
function isDrawn(from: readonly Candidate[], token: number, uniform: number, rounding: number): boolean {
  const total = from.reduce((sum, [, weight]) => sum + weight, 0);
  const place = from.findIndex(([each]) => each === token);
  const before = from.slice(0, place).reduce((sum, [, weight]) => sum + weight, 0);
  const after = before + (from[place]?.[1] ?? NaN);
  return before <= (uniform + rounding) * total && after >= (uniform - rounding) * total;
}

/** Whether the definition gives `token` too, up to the rounding of sums in another order, which may move a boundary. */
export function fitsDefinition(
  logits: ArrayLike<number>, sampling: Sampling, seen: readonly number[], uniform: number, token: number,
): boolean {
  const rounding = Math.max(1e-13, logits.length * 2 ** -53); // the rounding of a sum of so many weights
  const shifts = (sampling.topP ?? 1) < 1 ? [0, -rounding, rounding] : [0];
  return shifts.some((shift) => {
    const shifted = shift === 0 ? sampling : { ...sampling, topP: sampling.topP! + shift };
    return isDrawn(candidates(logits, shifted, seen), token, uniform, rounding);
  });
}

/** A generator that always gives this uniform number. */
export const fixed = (uniform: number): Generator => {
  const never = () => {
    throw new Error('only uniform() is drawn from');
  };
  return { uniform: () => uniform, below: never, normal: never };
};
