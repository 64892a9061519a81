/**
 * Finds prefixes of the order of tokens, most likely first with ties to the lowest index, without sorting them. Tokens
 * fall into buckets by their distance from the best logit, and only the bucket in which a prefix ends is searched.
 * @module
 */
import type { FloatArray } from '../../../core/tensor.ts';
import { Reused } from './reused.ts';
import { type Enough, type Prefix, Span } from './span.ts';
import { type Row, splitAtCommon } from './split.ts';
import { BUCKETS, countBuckets, findInBucket, POWERS, weigh, weightAt } from './weights.ts';

/** Bounds of the weights of a bucket, relative to its middle: slightly beyond exp(-1/128) and exp(1/128). */
const [LOWEST, HIGHEST] = [0.992, 1.008];

/** Shared by all rankings, since picking a token is a single synchronous call. */
const reused = { buckets: new Reused(new Uint16Array(0)), found: new Reused(new Int32Array(0)) };

/** The weights exp((logit - best logit) / temperature) in the order of tokens. */
export class Ranking {
  readonly #row: Row;
  readonly #buckets: Uint16Array;
  readonly #sums = new Float64Array(BUCKETS + 1);
  /** The bucket that was searched last. */
  #opened: { readonly bucket: number; readonly span: Span } | undefined;
  /** All tokens. */
  readonly whole: Prefix;
  /** At temperature 1, the totalWeight() of the logits. */
  readonly total: number;

  /** Ranks `logits`, the largest of which is `top`. The ranking is valid until the next one is made. */
  constructor(logits: FloatArray, top: number, temperature: number) {
    const scale = Math.min(64 / temperature, Number.MAX_VALUE); // as 0 * Infinity would be NaN
    this.#row = { logits, top, scale };
    this.#buckets = reused.buckets.take(logits.length);
    this.total = weigh(logits, top, scale, this.#buckets, this.#sums);
    let weight = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) weight += this.#sums[bucket];
    this.whole = { weight };
  }

  /** The first `count` tokens, perhaps with more tokens of weight 0. */
  first(count: number): Prefix {
    const counts = new Int32Array(BUCKETS + 1);
    countBuckets(this.#buckets, counts);
    return count > this.#buckets.length - counts[BUCKETS] ? this.whole : this.#until((n) => n >= count, counts);
  }

  /** The fewest tokens whose weights sum to `weight` or more. */
  reaching(weight: number): Prefix {
    return this.#until((_, sum) => sum >= weight);
  }

  /** The fewest tokens whose weights sum to more than `weight`. The last of them is the one drawn at `weight`. */
  beyond(weight: number): Prefix {
    return this.#until((_, sum) => sum > weight);
  }

  /** The tokens of at least this weight, which must be above 0 and at most 1. */
  atLeast(weight: number): Prefix {
    let [sum, last, whole] = [0, -1, -1];
    for (let bucket = 0; bucket < BUCKETS && POWERS[bucket] * HIGHEST >= weight; bucket++) {
      if (this.#sums[bucket] === 0) continue;
      if (POWERS[bucket] * LOWEST >= weight) {
        sum += this.#sums[bucket];
        whole = bucket;
      } else {
        const { logits, top, scale } = this.#row;
        for (const token of this.#open(bucket).tokens) {
          const own = weightAt((top - logits[token]) * scale);
          if (own < weight) continue;
          sum += own;
          last = last < 0 ? token : this.#later(last, token);
        }
      }
    }
    const lastOf = (bucket: number) => this.#open(bucket).tokens.reduce((a, b) => this.#later(a, b));
    return { weight: sum, last: () => (last < 0 ? lastOf(whole) : last) };
  }

  /** The shorter of two prefixes. */
  shorter(a: Prefix, b: Prefix): Prefix {
    // Weights that differ by less may be the same sum, rounded in another order.
    if (Math.abs(a.weight - b.weight) > 1e-9 * a.weight) return a.weight < b.weight ? a : b;
    if (!a.last || !b.last) return a.last ? a : b;
    const [one, other] = [a.last(), b.last()];
    return this.#later(one, other) === one ? b : a;
  }

  /** The later of two tokens. */
  #later(a: number, b: number): number {
    const { logits } = this.#row;
    return (logits[b] - logits[a] || a - b) < 0 ? b : a;
  }

  /** The tokens of a bucket, valid until another bucket is opened. */
  #open(bucket: number): Span {
    if (this.#opened?.bucket !== bucket) {
      const find = () => {
        const found = reused.found.take(this.#buckets.length);
        return found.subarray(0, findInBucket(this.#buckets, bucket, found));
      };
      this.#opened = { bucket, span: new Span(this.#row, find, splitAtCommon(this.#row, this.#buckets, bucket)) };
    }
    return this.#opened.span;
  }

  /**
   * The shortest prefix that is enough, or if none is, all tokens that can be drawn. `counts` are the numbers of tokens
   * by bucket, if `enough` needs them.
   */
  #until(enough: Enough, counts?: Int32Array): Prefix {
    let [count, weight] = [0, 0];
    let end = { bucket: 0, count, weight };
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      if (this.#sums[bucket] === 0) continue; // empty, as weights are above 0
      end = { bucket, count, weight };
      count += counts?.[bucket] ?? 0;
      weight += this.#sums[bucket];
      if (enough(count, weight)) break;
    }
    return this.#open(end.bucket).prefix(end, enough);
  }
}
