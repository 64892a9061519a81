/**
 * How many entries a cache holds after reading a text, and how long a text may be.
 * @module
 */
import { ValueError } from '../core/errors.ts';
import { entriesUnder, kindOf, type Policy } from '../policies/index.ts';
import type { ModelConfig } from './config/config.ts';

/** The share of a full cache that is kept: one for all layers, or one for each. */
export type KeptShares = number | readonly number[];

/** The entries of one head of each layer after `tokens` tokens. A model's own window limits them. */
export function cacheEntries(
  { layers, slidingWindow }: ModelConfig, policy: Policy, tokens: number, kept: KeptShares = 1,
): number[] {
  // The window's tokens include the next query itself.
  const whole = Math.min(tokens, (slidingWindow ?? Infinity) - 1);
  if (kindOf(policy).learned) return sharesOf(kept, layers).map((share) => Math.min(Math.ceil(share * tokens), whole));
  return new Array<number>(layers).fill(entriesUnder(policy, tokens, whole));
}

/** The most entries at any time until then. What a model's own window ends is held until the window has passed it. */
export function mostEntries(config: ModelConfig, policy: Policy, tokens: number, kept?: KeptShares): number[] {
  const before = cacheEntries(config, policy, Math.min(tokens, (config.slidingWindow ?? Infinity) - 1), kept);
  return cacheEntries(config, policy, tokens, kept).map((entries, layer) => Math.max(entries, before[layer]));
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
 * The longest text that exceeds no limit.
 *
 * @param exceeded Returns the limit that a text of this many tokens exceeds, if any. If a text exceeds one, so do all
 *   longer texts.
 * @param most The most tokens that can be counted at all.
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
