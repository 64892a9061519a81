/**
 * Finds the most likely tokens of a row of logits, with ties going to the lowest index, without sorting the row. It is
 * read eight logits at a time, since few groups of eight contain one that matters.
 * @module
 */
import { NumericError } from '../../../core/errors.ts';
import type { FloatArray } from '../../../core/tensor.ts';
import { Reused } from './reused.ts';

/** How many logits are sampled to guess a border that enough others exceed. */
const SAMPLE = 512;
/** If more than one token in this many is listed, reading in groups of eight does not help. */
const RARE = 16;

/**
 * The most likely token; of several, the one with the lowest index.
 *
 * @throws {NumericError} If no logit is a finite number.
 */
export function likeliest(logits: FloatArray): number {
  const best = largest(logits);
  if (best >= 0 && logits[best] < Infinity) return best;
  const what = best < 0 ? 'no finite number' : logits[best];
  throw new NumericError(`the largest of ${logits.length} logits is ${what}: the weights or the activations are too large`);
}

/** The index of the largest logit, or -1 if none is above -Infinity. */
function largest(logits: FloatArray): number {
  let best = -1;
  let value = -Infinity;
  for (let from = 0; from < logits.length; from += 8) {
    if (from + 8 <= logits.length && !someAbove(logits, from, value)) continue;
    const to = Math.min(from + 8, logits.length);
    for (let token = from; token < to; token++) {
      if (logits[token] > value) {
        best = token;
        value = logits[token];
      }
    }
  }
  return best;
}

/** The `count` most likely tokens in order. It is meant for small counts. */
export function likeliestTokens(logits: FloatArray, count: number): Int32Array {
  const listed = shortlist(logits, count);
  const among = listed?.logits ?? logits;
  const found = new Int32Array(Math.min(count, among.length));
  const last = found.length - 1;
  let length = 0;
  for (let n = 0; n < among.length && last >= 0; n++) {
    const value = among[n];
    if (length > last && !(value > among[found[last]])) continue;
    let place = length > last ? last : length++;
    for (; place > 0 && value > among[found[place - 1]]; place--) found[place] = found[place - 1];
    found[place] = n;
  }
  return listed ? found.map((n) => listed.tokens[n]) : found;
}

/**
 * Some tokens and their logits. Tokens with equal logits are in the order of their indices. The next list overwrites
 * the arrays.
 */
export interface Shortlist {
  readonly tokens: Int32Array;
  readonly logits: FloatArray;
}

/**
 * Lists the `count` most likely tokens, in no particular order, and usually few others: the border between those listed
 * and the rest is guessed from a sample. Undefined if a list would not be much shorter than the row.
 */
export function shortlist(logits: FloatArray, count: number): Shortlist | undefined {
  const expected = SAMPLE * count / logits.length;
  if (logits.length < 8 * SAMPLE || expected > SAMPLE / 2) return undefined;
  const sample = sampleOf(logits);
  for (let rank = Math.ceil(expected + 3 * Math.sqrt(expected)) + 3; rank < SAMPLE; rank *= 2) {
    const list = listAbove(logits, sample[SAMPLE - rank], count);
    if (list.tokens.length >= count) return list;
  }
  return undefined;
}

/** A sorted sample of the logits. Multiples of the golden ratio spread it evenly and match no period of the row. */
function sampleOf(logits: FloatArray): Float64Array {
  const sample = new Float64Array(SAMPLE);
  for (let n = 0; n < SAMPLE; n++) {
    const logit = logits[Math.floor(((n * 0.6180339887498949) % 1) * logits.length)];
    sample[n] = logit > -Infinity ? logit : -Infinity; // NaN would be sorted last
  }
  return sample.sort();
}

const listed = { tokens: new Reused(new Int32Array(0)), logits: new Reused<FloatArray>(new Float64Array(0)) };

/** The tokens above `border`, and if they are fewer than `count`, tokens at the border to make up the number. */
function listAbove(logits: FloatArray, border: number, count: number): Shortlist {
  const tokens = listed.tokens.take(logits.length);
  const values = listed.logits.take(logits.length, logits);
  let length = count * RARE < logits.length
    ? listRare(logits, border, tokens, values) : listOften(logits, border, tokens, values);
  for (let token = 0; token < logits.length && length < count; token++) {
    if (logits[token] !== border) continue;
    tokens[length] = token;
    values[length++] = logits[token];
  }
  return { tokens: tokens.subarray(0, length), logits: values.subarray(0, length) };
}

function listRare(logits: FloatArray, border: number, tokens: Int32Array, values: FloatArray): number {
  let length = 0;
  for (let from = 0; from < logits.length; from += 8) {
    if (from + 8 <= logits.length && !someAbove(logits, from, border)) continue;
    const to = Math.min(from + 8, logits.length);
    for (let token = from; token < to; token++) {
      if (!(logits[token] > border)) continue;
      tokens[length] = token;
      values[length++] = logits[token];
    }
  }
  return length;
}

/** Has no branch, which the processor would often mispredict. */
function listOften(logits: FloatArray, border: number, tokens: Int32Array, values: FloatArray): number {
  let length = 0;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token];
    tokens[length] = token;
    values[length] = logit;
    length += Number(logit > border);
  }
  return length;
}

/** Whether any of the eight logits from index n on is above `border`. */
function someAbove(logits: FloatArray, n: number, border: number): boolean {
  return logits[n] > border || logits[n + 1] > border || logits[n + 2] > border || logits[n + 3] > border ||
    logits[n + 4] > border || logits[n + 5] > border || logits[n + 6] > border || logits[n + 7] > border;
}
