/**
 * Splits tokens by their logits into parts, in descending order. Every loop has its own function, as in weights.ts.
 * @module
 */
import type { FloatArray } from '../../../core/tensor.ts';
import { weightAt } from './weights.ts';

/** The number of parts that a range of logits is divided into. */
const PARTS = 1024;
/** How many tokens of a row are sampled in search of a common logit, and how many of them must be in the bucket. */
const [SAMPLE, ENOUGH] = [64, 16];

/** Logits, the largest of them, and 64 / temperature. A weight is weightAt((top - logit) * scale). */
export interface Row {
  readonly logits: FloatArray;
  readonly top: number;
  readonly scale: number;
}

/** Tokens in parts. */
export interface Split {
  /** The number of tokens of each part. */
  readonly counts: ArrayLike<number>;
  /** The sums of their weights. */
  readonly sums: ArrayLike<number>;
  /** The tokens of a part, in the order of their indices. */
  readonly tokens: (part: number) => Int32Array;
  /** A part whose tokens all have the same logit, and a function that finds its nth token, counted from 1. */
  readonly equal?: { readonly part: number; readonly nth: (n: number) => number };
}

/**
 * Splits the tokens of a bucket into those above, at, and below a logit that many tokens of the row have. Undefined if
 * a sample finds no such logit.
 */
export function splitAtCommon(row: Row, buckets: Uint16Array, bucket: number): Split | undefined {
  const common = commonLogit(row.logits, buckets, bucket);
  if (common === undefined) return undefined;
  const { logits, top, scale } = row;
  const counts = new Int32Array(3);
  const sums = new Float64Array(3);
  counts[1] = countCommon(row, buckets, bucket, common, counts, sums);
  sums[1] = counts[1] * weightAt((top - common) * scale);
  const tokens = (part: number) => {
    const found = new Int32Array(counts[part]);
    findBeside(logits, buckets, bucket, common, part, found);
    return found;
  };
  return { counts, sums, tokens, equal: { part: 1, nth: (n) => nthWith(logits, common, n) } };
}

function commonLogit(logits: FloatArray, buckets: Uint16Array, bucket: number): number | undefined {
  const some: number[] = [];
  for (let n = 0; n < SAMPLE; n++) {
    const token = Math.floor(((n * 0.6180339887498949) % 1) * logits.length);
    if (buckets[token] === bucket) some.push(logits[token]);
  }
  if (some.length < ENOUGH) return undefined;
  some.sort((a, b) => a - b);
  const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => some[Math.floor(share * some.length)]);
  return low === middle || middle === high ? middle : undefined;
}

/** Counts the tokens with the logit `common`, and adds the others of the bucket to parts 0 and 2. */
function countCommon(
  { logits, top, scale }: Row, buckets: Uint16Array, bucket: number, common: number,
  counts: Int32Array, sums: Float64Array,
): number {
  let equal = 0;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token];
    if (logit === common) {
      equal++;
    } else if (buckets[token] === bucket) {
      const part = logit > common ? 0 : 2;
      counts[part] = counts[part] + 1;
      sums[part] = sums[part] + weightAt((top - logit) * scale);
    }
  }
  return equal;
}

function findBeside(
  logits: FloatArray, buckets: Uint16Array, bucket: number, common: number, part: number, found: Int32Array,
): void {
  let count = 0;
  for (let token = 0; token < logits.length; token++) {
    if (buckets[token] !== bucket || logits[token] === common) continue;
    if (logits[token] > common === (part === 0)) found[count++] = token;
  }
}

/** The nth token of the row with this logit. All tokens with it are in the same part. */
function nthWith(logits: FloatArray, logit: number, nth: number): number {
  let left = nth;
  for (let token = 0; token < logits.length; token++) {
    if (logits[token] === logit && --left === 0) return token;
  }
  return -1;
}

/** Splits tokens into parts by dividing the range of their logits evenly. */
export function splitEvenly(row: Row, tokens: Int32Array): Split {
  const range = new Float64Array([Infinity, -Infinity]);
  widen(range, row.logits, tokens);
  const [least, most] = range;
  if (least === most) {
    const sum = tokens.length * weightAt((row.top - most) * row.scale);
    const equal = { part: 0, nth: (n: number) => nthWith(row.logits, most, n) };
    return { counts: [tokens.length], sums: [sum], tokens: () => tokens, equal };
  }
  const parts = new Uint16Array(tokens.length);
  const counts = new Int32Array(PARTS);
  const sums = new Float64Array(PARTS);
  divide(row, tokens, most, PARTS / (most - least), parts, counts, sums);
  return { counts, sums, tokens: (part) => tokens.filter((_, n) => parts[n] === part) };
}

/** Widens the range [least, largest] to hold the logits of the tokens. */
function widen(range: Float64Array, logits: FloatArray, tokens: Int32Array): void {
  for (let n = 0; n < tokens.length; n++) {
    const logit = logits[tokens[n]];
    if (logit < range[0]) range[0] = logit;
    if (logit > range[1]) range[1] = logit;
  }
}

function divide(
  { logits, top, scale }: Row, tokens: Int32Array, most: number, perLogit: number,
  parts: Uint16Array, counts: Int32Array, sums: Float64Array,
): void {
  for (let n = 0; n < tokens.length; n++) {
    const logit = logits[tokens[n]];
    const part = Math.min(((most - logit) * perLogit) | 0, 1023);
    parts[n] = part;
    counts[part] = counts[part] + 1;
    sums[part] = sums[part] + weightAt((top - logit) * scale);
  }
}
