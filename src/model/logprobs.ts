/**
 * Log-probabilities of a row of logits.
 * @module
 */
import type { FloatArray } from '../tensor.ts';
import type { TokenLogprob } from './generate-options.ts';
import { likeliest, Ranking } from './ranking.ts';

/** Natural log-probabilities of `token` and of the `count` likeliest tokens, ties to the lowest index. */
export function logprobsOf(logits: FloatArray, token: number, count: number): { logprob: number; top: TokenLogprob[] } {
  const top = likeliestTokens(logits, count);
  const best = likeliest(logits);
  const normaliser = logits[best]! + Math.log(new Ranking(logits, best, 1).whole.weight);
  return {
    logprob: logits[token]! - normaliser,
    top: top.map((each) => ({ token: each, logprob: logits[each]! - normaliser })),
  };
}

/** The first of the order by logit, for a count that is small: an insertion is rare. */
function likeliestTokens(logits: FloatArray, count: number): number[] {
  const top: number[] = [];
  let least = -Infinity;
  for (let token = 0; token < logits.length && count > 0; token++) {
    const logit = logits[token]!;
    if (top.length === count && !(logit > least)) continue;
    let place = top.length;
    while (place > 0 && logit > logits[top[place - 1]!]!) place--;
    top.splice(place, 0, token);
    if (top.length > count) top.pop();
    least = logits[top.at(-1)!]!;
  }
  return top;
}
