/**
 * Picks the next token from a row of logits.
 * @module
 */
import type { Drawing } from '../../core/forms.ts';
import type { Generator } from '../../core/random.ts';
import type { FloatArray } from '../../core/tensor.ts';
import { likeliest, shortlist } from './ranking/likeliest.ts';
import { Ranking } from './ranking/ranking.ts';
import { Reused } from './ranking/reused.ts';

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

const reused = new Reused<FloatArray>(new Float64Array(0));

/** Picks tokens with one set of options. */
export class Sampler {
  readonly #sampling: Sampling;
  #total: number | undefined;

  constructor(sampling: Sampling) {
    this.#sampling = sampling;
  }

  /** Whether it always picks the token with the largest logit. */
  get greedy(): boolean {
    const { temperature, repetitionPenalty = 1 } = this.#sampling;
    return temperature === 0 && repetitionPenalty === 1;
  }

  /** How an engine draws the same tokens, or undefined if the penalty needs the logits here. */
  get drawing(): Omit<Drawing, 'noise'> | undefined {
    const { temperature, topK, topP, minP, repetitionPenalty = 1 } = this.#sampling;
    return temperature > 0 && repetitionPenalty === 1 ? { temperature, topK, topP, minP } : undefined;
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
    this.#total = undefined;
    const row = repetitionPenalty === 1 ? logits : penalized(logits, repetitionPenalty, seen);
    const best = likeliest(row);
    if (temperature === 0) return best;
    const listed = topK !== undefined && topK < row.length ? shortlist(row, topK) : undefined;
    const ranking = new Ranking(listed ? listed.logits : row, row[best], temperature);
    if (row === logits && !listed && temperature === 1) this.#total = ranking.total;
    let left = topK === undefined ? ranking.whole : ranking.first(topK);
    if (topP < 1) left = ranking.shorter(left, ranking.reaching(topP * left.weight));
    if (minP > 0) left = ranking.shorter(left, ranking.atLeast(minP));
    const last = ranking.shorter(left, ranking.beyond(random.uniform() * left.weight)).last!();
    return listed ? listed.tokens[last] : last;
  }

  /** The totalWeight() of the logits that the last token was picked from, if picking it took that sum. */
  get total(): number | undefined {
    return this.#total;
  }
}

/** The logits after the penalty, which applies once, however often a token was seen. */
function penalized(logits: FloatArray, penalty: number, seen: Iterable<number>): FloatArray {
  const row = reused.take(logits.length, logits);
  row.set(logits);
  for (const token of seen) {
    const logit = logits[token];
    row[token] = logit < 0 ? logit * penalty : logit / penalty;
  }
  return row;
}
