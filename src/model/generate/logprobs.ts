/**
 * Log-probabilities of a row of logits.
 * @module
 */
import { log } from '../../core/elementary.ts';
import type { FloatArray } from '../../core/tensor.ts';
import type { TokenLogprob } from './generate-options.ts';
import { likeliestTokens } from './ranking/likeliest.ts';
import { totalWeight } from './ranking/weights.ts';

/**
 * The natural log-probabilities of `token` and of the `count` most likely tokens, with ties going to the lowest index.
 *
 * @param total The totalWeight() of the logits, if it is already known.
 */
export function logprobsOf(
  logits: FloatArray, token: number, count: number, total?: number,
): { logprob: number; top: TokenLogprob[] } {
  const likeliest = Array.from(likeliestTokens(logits, Math.max(count, 1)));
  const best = likeliest[0];
  const normaliser = logits[best] + log(total ?? totalWeight(logits, best));
  const top = likeliest.slice(0, count).map((each) => ({ token: each, logprob: logits[each] - normaliser }));
  return { logprob: logits[token] - normaliser, top };
}
