/**
 * Finds prefixes of the order of tokens, most likely first with ties to the lowest index, without sorting them. Tokens
 * fall into buckets by their distance from the best logit, and only the bucket in which a prefix ends is searched, by
 * selection.
 * @module
 */
import { exp } from '../../core/elementary.ts';
import { NumericError } from '../../core/errors.ts';
import type { FloatArray } from '../../core/tensor.ts';

/** The number of buckets of a row. One more, with this index, is for tokens too unlikely to be drawn. */
const BUCKETS = 4096;

/** A prefix of the order of tokens. */
export interface Prefix {
  /** The sum of its weights, where the best token has 1. */
  readonly weight: number;
  /** The token that it ends with; -1 if it holds all tokens. */
  readonly last: number;
}

/**
 * The most likely token; of several, the one with the lowest index.
 *
 * @throws {NumericError} If no logit is a finite number.
 */
export function likeliest(logits: FloatArray): number {
  let best = -1;
  let value = -Infinity;
  for (let token = 0; token < logits.length; token++) {
    if (logits[token] > value) {
      best = token;
      value = logits[token];
    }
  }
  if (best >= 0 && value < Infinity) return best;
  throw new NumericError(`the largest of ${logits.length} logits is ${best < 0 ? 'no finite number' : value}: the weights or the activations are too large`);
}

/** The first `count` tokens of the order. Fast for a small count, for which insertions are rare. */
export function likeliestTokens(logits: FloatArray, count: number): Int32Array {
  const most = Math.min(count, logits.length);
  const tokens = new Int32Array(most);
  const values = new Float64Array(most);
  let [length, least] = [0, -Infinity];
  for (let token = 0; token < logits.length && most > 0; token++) {
    const value = logits[token];
    if (length === most && !(value > least)) continue;
    let place = length < most ? length++ : most - 1;
    for (; place > 0 && value > values[place - 1]; place--) {
      values[place] = values[place - 1];
      tokens[place] = tokens[place - 1];
    }
    values[place] = value;
    tokens[place] = token;
    least = values[length - 1];
  }
  return tokens;
}

/** The sum of exp(logit - best logit) over all tokens, of which `best` is the most likely. */
export function totalWeight(logits: FloatArray, best: number): number {
  return scratchFor(logits.length).total(logits, logits[best]);
}

/** The weights exp((logit - best logit) / temperature) in the order of tokens. */
export class Ranking {
  readonly #logits: FloatArray;
  readonly #scratch: Scratch;
  /** All tokens. */
  readonly whole: Prefix;

  /** Ranks `logits`, whose most likely token is `best`. It is valid until the next ranking is made. */
  constructor(logits: FloatArray, best: number, temperature: number) {
    this.#logits = logits;
    this.#scratch = scratchFor(logits.length);
    this.whole = { weight: this.#scratch.weigh(logits, logits[best], temperature), last: -1 };
  }

  /** The first `count` tokens, perhaps with more tokens of weight 0. */
  first(count: number): Prefix {
    const counts = this.#scratch.count(this.#logits.length);
    const near = this.#logits.length - counts[BUCKETS];
    return count > near ? this.whole : this.#until((n) => n >= count, counts);
  }

  /** The fewest tokens whose weights sum to `weight` or more. */
  reaching(weight: number): Prefix {
    return this.#until((_, sum) => sum >= weight);
  }

  /** The fewest tokens whose weights sum to more than `weight`. The last of them is the one drawn at `weight`. */
  beyond(weight: number): Prefix {
    return this.#until((_, sum) => sum > weight);
  }

  /** The tokens of at least this weight, which must be above 0. */
  atLeast(weight: number): Prefix {
    const { weights } = this.#scratch;
    let [sum, last] = [0, -1];
    for (let token = 0; token < this.#logits.length; token++) {
      const own = weights[token];
      if (own < weight) continue;
      sum += own;
      if (last < 0 || this.before(last, token)) last = token;
    }
    return { weight: sum, last };
  }

  /** The shorter of two prefixes. */
  shorter(a: Prefix, b: Prefix): Prefix {
    if (a.last < 0 || b.last < 0) return a.last < 0 ? b : a;
    return this.before(b.last, a.last) ? b : a;
  }

  /** Whether token a comes before token b. */
  before(a: number, b: number): boolean {
    const x = this.#logits[a];
    const y = this.#logits[b];
    return x > y || (x === y && a < b);
  }

  /**
   * The shortest prefix for which `enough` is true, or if there is none, all tokens that can be drawn. `counts` are the
   * numbers of tokens by bucket, if `enough` needs them.
   */
  #until(enough: (count: number, weight: number) => boolean, counts?: Int32Array): Prefix {
    const { sums } = this.#scratch;
    let [count, weight] = [0, 0];
    let start = { bucket: 0, count, weight };
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      if (sums[bucket] === 0) continue; // empty, as weights are above 0
      start = { bucket, count, weight };
      count += counts?.[bucket] ?? 0;
      weight += sums[bucket];
      if (enough(count, weight)) break;
    }
    return this.#within(start, enough);
  }

  /** The prefix that ends in this bucket, found by selection. The buckets before it hold `count` tokens of `weight`. */
  #within(
    { bucket, count, weight }: { bucket: number; count: number; weight: number },
    enough: (count: number, weight: number) => boolean,
  ): Prefix {
    const { weights } = this.#scratch;
    const tokens = this.#scratch.tokensOf(bucket, this.#logits.length);
    // Equal tokens are already in order.
    const level = tokens.every((token) => this.#logits[token] === this.#logits[tokens[0]]);
    let [low, high, last] = [0, tokens.length, -1];
    while (low < high) {
      const [pivot, sum] = level ? [low, 0] : this.#partition(tokens, low, high);
      const passed = pivot - low;
      if (passed > 0 && enough(count + passed, weight + sum)) {
        high = pivot;
        continue;
      }
      last = tokens[pivot];
      count += passed + 1;
      weight += sum + weights[last];
      if (enough(count, weight)) break;
      low = pivot + 1;
    }
    return { weight, last };
  }

  /** Moves the tokens that come before a pivot in front of it. Returns the pivot's place and the weight before it. */
  #partition(tokens: Int32Array, low: number, high: number): [number, number] {
    const { weights } = this.#scratch;
    const middle = (low + high) >> 1;
    const pivot = tokens[middle];
    tokens[middle] = tokens[high - 1];
    let place = low;
    let sum = 0;
    for (let n = low; n < high - 1; n++) {
      const token = tokens[n];
      if (!this.before(token, pivot)) continue;
      sum += weights[token];
      tokens[n] = tokens[place];
      tokens[place++] = token;
    }
    tokens[high - 1] = tokens[place];
    tokens[place] = pivot;
    return [place, sum];
  }
}

type Scratch = ReturnType<typeof createScratch>;

/** Shared by all rankings, which is safe because picking a token is one synchronous call. */
let scratch: Scratch | undefined;

function scratchFor(size: number): Scratch {
  return scratch && scratch.weights.length >= size ? scratch : (scratch = createScratch(size));
}

/**
 * The loops over all tokens. They close over their arrays, and their numbers are literals, so that the compiler treats
 * both as constants, which halves the time.
 */
function createScratch(size: number): {
  readonly weights: Float64Array;
  readonly sums: Float64Array;
  weigh(logits: FloatArray, top: number, temperature: number): number;
  total(logits: FloatArray, top: number): number;
  count(size: number): Int32Array;
  tokensOf(bucket: number, size: number): Int32Array;
} {
  const weights = new Float64Array(size);
  const bucketOf = new Uint16Array(size);
  const found = new Int32Array(size);
  const sums = new Float64Array(4097);
  const counts = new Int32Array(4097);
  const powers = Float64Array.from({ length: 4096 }, (_, n) => exp(-n / 64));

  function total(logits: FloatArray, top: number): number {
    let sum = 0;
    for (let token = 0; token < logits.length; token++) {
      const x = (top - logits[token]) * 64;
      if (x < 4095.5) {
        const n = (x + 0.5) | 0;
        const r = (n - x) * (1 / 64);
        sum += powers[n] * (1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120))))));
      }
    }
    return sum;
  }

  /**
   * Computes the weights, and their sums over buckets of width 1/64. Tokens at a distance of 64 count as 0, as exp(-64)
   * is 2e-28 and a uniform number has 53 bits.
   */
  function weigh(logits: FloatArray, top: number, temperature: number): number {
    const scale = 64 / temperature;
    sums.fill(0);
    for (let token = 0; token < logits.length; token++) {
      const x = (top - logits[token]) * scale;
      let weight = 0;
      let bucket = 4096;
      if (x < 4095.5) {
        bucket = (x + 0.5) | 0;
        const r = (bucket - x) * (1 / 64); // within 1/128: these terms of the series leave an error of 3e-16
        weight = powers[bucket] * (1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120))))));
      }
      weights[token] = weight;
      bucketOf[token] = bucket;
      sums[bucket] = sums[bucket] + weight;
    }
    let total = 0;
    for (let bucket = 0; bucket < 4096; bucket++) total += sums[bucket];
    return total;
  }

  function count(length: number): Int32Array {
    counts.fill(0);
    for (let token = 0; token < length; token++) {
      const bucket = bucketOf[token];
      counts[bucket] = counts[bucket] + 1;
    }
    return counts;
  }

  /** The tokens of a bucket; valid until the next call. */
  function tokensOf(bucket: number, length: number): Int32Array {
    let n = 0;
    for (let token = 0; token < length; token++) {
      if (bucketOf[token] === bucket) found[n++] = token;
    }
    return found.subarray(0, n);
  }

  return { weights, sums, weigh, total, count, tokensOf };
}
