/**
 * How many entries a cache holds once a text is read, and how long a text may be.
 * @module
 */
import { ValueError } from '../core/errors.ts';
import type { ModelConfig, Policy } from './config/config.ts';

/** The share of a full cache that is kept: over all layers, or of each. */
export type KeptShares = number | readonly number[];

/** Entries of one head of each layer, after `tokens` tokens. A model's own window ends them all. */
export function cacheEntries(
  { layers, slidingWindow }: ModelConfig, policy: Policy, tokens: number, kept: KeptShares = 1,
): number[] {
  const whole = Math.min(tokens, (slidingWindow ?? Infinity) - 1); // the next query is the window's newest token
  if (policy.kind === 'nats') return sharesOf(kept, layers).map((share) => Math.min(Math.ceil(share * tokens), whole));
  const recent = policy.kind === 'full' ? whole : Math.min(policy.window, whole);
  const sinks = policy.kind === 'streaming' ? Math.min(policy.sink, tokens - recent) : 0;
  const dead = tokens - whole; // of the first tokens
  return new Array<number>(layers).fill(recent + Math.max(0, sinks - dead));
}

/** The most of them on the way there: sinks, too, end with a model's own window. */
export function mostEntries(config: ModelConfig, policy: Policy, tokens: number, kept?: KeptShares): number[] {
  const most = policy.kind === 'streaming' ? Math.min(tokens, (config.slidingWindow ?? Infinity) - 1) : tokens;
  return cacheEntries(config, policy, most, kept);
}

/** One share per layer. */
function sharesOf(kept: KeptShares, layers: number): readonly number[] {
  const shares = typeof kept === 'number' ? new Array<number>(layers).fill(kept) : kept;
  if (shares.length !== layers) throw new ValueError(`kept has ${shares.length} shares but the model has ${layers} layers: pass one, or one for each`);
  for (const share of shares) {
    if (!(share >= 0 && share <= 1)) throw new ValueError(`kept holds ${share}: a share is between 0 and 1`);
  }
  return shares;
}

/**
 * The longest text that exceeds nothing.
 *
 * @param exceeded The limit that a text of so many tokens exceeds, if any; longer texts never exceed less.
 * @param most Tokens that can be counted at all.
 */
export function longestContext(
  exceeded: (tokens: number) => string | undefined, most: number,
): { tokens: number; limit: string | undefined } {
  if (exceeded(1) !== undefined) return { tokens: 0, limit: exceeded(1) };
  if (exceeded(most) === undefined) return { tokens: most, limit: exceeded(most + 1) };
  let [fits, not] = [1, most];
  while (not - fits > 1) {
    const middle = Math.floor((fits + not) / 2);
    if (exceeded(middle) === undefined) fits = middle;
    else not = middle;
  }
  return { tokens: fits, limit: exceeded(not) };
}
