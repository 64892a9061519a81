/**
 * The weights of tokens, exp(logit - best logit), for whole vocabularies. A weight takes about ten operations and has
 * the same bits everywhere. Every loop has a function of its own, because V8 deoptimises each time an optimised loop is
 * followed by code it has no feedback on. Numbers are literals, because bundlers make variables of module constants.
 * @module
 */
import { exp } from '../../../core/elementary.ts';
import type { FloatArray } from '../../../core/tensor.ts';

/** The number of buckets, each 1/64 wide. One more, with this index, is for tokens too unlikely to be drawn. */
export const BUCKETS = 4096;

/** The weight at the middle of each bucket. */
export const POWERS: Float64Array = Float64Array.from({ length: BUCKETS }, (_, n) => exp(-n / 64));

/** exp(-x / 64), or 0 if x is 4095.5 or more: exp(-64) is 2e-28, and a uniform number has 53 bits. */
export function weightAt(x: number): number {
  let weight = 0;
  if (x < 4095.5) {
    const n = (x + 0.5) | 0;
    const r = (n - x) * (1 / 64); // within 1/128, where this series has an error of 3e-16
    weight = POWERS[n] * (1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120))))));
  }
  return weight;
}

/** The sum of exp(logit - best logit) over all tokens, of which `best` is the most likely. */
export function totalWeight(logits: FloatArray, best: number): number {
  const top = logits[best];
  let sum = 0;
  for (let token = 0; token < logits.length; token++) sum += weightAt((top - logits[token]) * 64);
  return sum;
}

/**
 * Assigns every token to a bucket, and adds its weight to the sum of that bucket.
 *
 * @param top The best logit.
 * @param scale 64 / temperature.
 * @returns The sum of all weights in the order of the tokens, which at temperature 1 equals totalWeight().
 */
export function weigh(
  logits: FloatArray, top: number, scale: number, buckets: Uint16Array, sums: Float64Array,
): number {
  let total = 0;
  for (let token = 0; token < logits.length; token++) {
    const x = (top - logits[token]) * scale;
    let weight = 0;
    let bucket = 4096;
    if (x < 4095.5) { // as in weightAt(x), which would compute the bucket a second time
      bucket = (x + 0.5) | 0;
      const r = (bucket - x) * (1 / 64);
      weight = POWERS[bucket] * (1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120))))));
    }
    buckets[token] = bucket;
    sums[bucket] = sums[bucket] + weight;
    total += weight;
  }
  return total;
}

/** Counts the tokens of each bucket. */
export function countBuckets(buckets: Uint16Array, counts: Int32Array): void {
  for (let token = 0; token < buckets.length; token++) {
    const bucket = buckets[token];
    counts[bucket] = counts[bucket] + 1;
  }
}

/** Writes the tokens of a bucket to `found`, and returns their number. */
export function findInBucket(buckets: Uint16Array, bucket: number, found: Int32Array): number {
  let count = 0;
  for (let token = 0; token < buckets.length; token++) {
    if (buckets[token] === bucket) found[count++] = token;
  }
  return count;
}
