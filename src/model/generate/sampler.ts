/**
 * Picks the next token from a row of logits.
 * @module
 */
import { exp } from '../../core/elementary.ts';
import type { Generator } from '../../core/random.ts';
import type { FloatArray } from '../../core/tensor.ts';
import { likeliest, likeliestTokens, type Prefix, Ranking } from './ranking.ts';

/**
 * How to pick. The steps are in the order of Hugging Face's `generate`: repetition penalty, temperature, top-k, top-p,
 * min-p. Each of the last three applies to what the one before has left.
 */
export interface Sampling {
  /** Divides the logits; 0 takes the most likely token. */
  readonly temperature: number;
  /** Leaves only the k most likely tokens. */
  readonly topK?: number | undefined;
  /** Leaves only the fewest most likely tokens that together have this share of the probability. */
  readonly topP?: number | undefined;
  /** Leaves only tokens with at least this share of the probability of the most likely one. */
  readonly minP?: number | undefined;
  /** Divides positive logits of tokens seen before, and multiplies negative ones. */
  readonly repetitionPenalty?: number | undefined;
}

/** Up to this topK, a token is picked without computing the weights of all tokens. */
const FEW = 256;

/** Picks tokens with one set of options. */
export class Sampler {
  readonly #sampling: Sampling;

  constructor(sampling: Sampling) {
    this.#sampling = sampling;
  }

  /**
   * Picks one token. Ties go to the lowest index.
   *
   * @param logits One per token of the vocabulary. They are not changed.
   * @param random Gives one number per token; it is not used if the temperature is 0.
   * @param seen The tokens to which the penalty applies.
   * @throws {NumericError} If no logit is a finite number.
   */
  pick(logits: FloatArray, random: Generator, seen: Iterable<number> = []): number {
    const { temperature, topK, topP = 1, minP = 0, repetitionPenalty = 1 } = this.#sampling;
    const row = repetitionPenalty === 1 ? logits : penalized(logits, repetitionPenalty, seen);
    const best = likeliest(row);
    if (temperature === 0) return best;
    if (topK !== undefined && topK <= FEW) return pickOfFew(row, { temperature, topK, topP, minP }, random.uniform());
    const ranking = new Ranking(row, best, temperature);
    let left: Prefix = topK === undefined ? ranking.whole : ranking.first(topK);
    if (topP < 1) left = ranking.shorter(left, ranking.reaching(topP * left.weight));
    if (minP > 0) left = ranking.shorter(left, ranking.atLeast(minP));
    return ranking.shorter(left, ranking.beyond(random.uniform() * left.weight)).last;
  }
}

/** Picks one of the topK most likely tokens. */
function pickOfFew(
  row: FloatArray, { temperature, topK, topP, minP }: Record<'temperature' | 'topK' | 'topP' | 'minP', number>,
  uniform: number,
): number {
  const tokens = likeliestTokens(row, topK);
  let weights = Float64Array.from(tokens, (token) => exp((row[token] - row[tokens[0]]) / temperature));
  if (topP < 1) weights = weights.subarray(0, prefix(weights, topP * sumOf(weights), (sum, goal) => sum >= goal));
  if (minP > 0) weights = weights.filter((weight) => weight >= minP);
  return tokens[prefix(weights, uniform * sumOf(weights), (sum, goal) => sum > goal) - 1];
}

function sumOf(weights: Float64Array): number {
  return weights.reduce((sum, weight) => sum + weight, 0);
}

/** The number of weights from the first on whose sum is enough, or if none is, of all weights above 0. */
function prefix(weights: Float64Array, goal: number, enough: (sum: number, goal: number) => boolean): number {
  let [sum, count] = [0, 0];
  while (count < weights.length && weights[count] > 0) {
    sum += weights[count++];
    if (enough(sum, goal)) break;
  }
  return count;
}

/** The logits after the penalty, which applies once however often a token was seen. */
function penalized(logits: FloatArray, penalty: number, seen: Iterable<number>): FloatArray {
  const row = logits.slice();
  for (const token of seen instanceof Set ? seen : new Set(seen)) { // copying a set would dominate the time
    const logit = row[token];
    row[token] = logit < 0 ? logit * penalty : logit / penalty;
  }
  return row;
}
