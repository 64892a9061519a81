/**
 * Log-probabilities of a row of logits.
 * @module
 */
import { log } from '../../core/elementary.ts';
import type { FloatArray } from '../../core/tensor.ts';
import type { TokenLogprob } from './generate-options.ts';
import { likeliest, likeliestTokens, totalWeight } from './ranking.ts';

/**
 * The natural log-probabilities of `token` and of the `count` most likely tokens, with ties going to the lowest index.
 */
export function logprobsOf(logits: FloatArray, token: number, count: number): { logprob: number; top: TokenLogprob[] } {
  const top = likeliestTokens(logits, count);
  const best = likeliest(logits);
  const normaliser = logits[best] + log(totalWeight(logits, best));
  return {
    logprob: logits[token] - normaliser,
    top: Array.from(top, (each) => ({ token: each, logprob: logits[each] - normaliser })),
  };
}
