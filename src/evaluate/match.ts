/**
 * Fixed patterns that keep as much as a measured policy, as baselines for learned token types.
 * @module
 */
import { finite, record } from '../core/arguments.ts';
import { ValueError } from '../core/errors.ts';
import { formatPolicy, type Policy } from '../policies/index.ts';
import { expectWhole } from '../core/shape.ts';

/** A sliding window, or the sinks and window of StreamingLLM. */
export type Fixed = Extract<Policy, { kind: 'window' | 'streaming' }>;

/** How much of a full cache a policy kept, over sequences of `length` tokens. */
export interface KeptOf {
  readonly length: number;
  /** The mean over time: visible pairs over causal pairs. */
  readonly meanLiveShare: number;
  /** The entries held at the end over those of a full cache. */
  readonly endShare: number;
}

/**
 * Finds the windows, and the StreamingLLM patterns with `sink` GLOBAL tokens, that keep as much in the mean over time,
 * and those that keep as much at the end. The two differ, because a window is full from its W-th token on, while what
 * learned types keep grows with the text: a window with the same mean holds less at the end, and one that holds the
 * same at the end held more before.
 *
 * @param sink How many tokens at the beginning StreamingLLM keeps for ever.
 * @returns At most four different patterns, those with the same mean first. There are fewer if not even the sinks fit.
 * @throws {ValueError} If a share is not in 0..1, or `length` is not a whole number from 1.
 * @example
 * ```ts
 * import { formatPolicy, matchedPolicies } from 'neural-attention-search';
 * const patterns = matchedPolicies({ length: 1024, meanLiveShare: 0.25, endShare: 0.25 });
 * console.log(patterns.map(formatPolicy).join(' ')); // window:136 streaming:4+132 window:256 streaming:4+252
 * ```
 */
export function matchedPolicies(kept: KeptOf, sink = 4): Fixed[] {
  record({ meanLiveShare: finite, endShare: finite })('kept', kept);
  const { length, meanLiveShare, endShare } = kept;
  expectWhole('length', length, 1, 2 ** 31 - 1);
  expectWhole('sink', sink, 0);
  for (const share of [meanLiveShare, endShare]) {
    if (!(share >= 0 && share <= 1)) throw new ValueError(`a kept share is ${share}: it must lie between 0 and 1`);
  }
  const streaming = (window: number): Fixed => ({ kind: 'streaming', sink, window });
  const plain = (window: number): Fixed => ({ kind: 'window', window });
  const atEnd = Math.round(endShare * length);
  const all = [
    nearest(plain, length, meanLiveShare), nearest(streaming, length, meanLiveShare),
    plain(atEnd), ...(atEnd > sink ? [streaming(atEnd - sink)] : []),
  ];
  return all.filter((one, n) => all.findIndex((other) => formatPolicy(other) === formatPolicy(one)) === n);
}

/** The pattern whose mean share is nearest to `share`. Shares grow with the window. */
function nearest(pattern: (window: number) => Fixed, length: number, share: number): Fixed {
  let [low, high] = [0, length - 1];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (visibleShare(pattern(middle), length) < share) low = middle + 1;
    else high = middle;
  }
  const off = (window: number) => Math.abs(visibleShare(pattern(window), length) - share);
  return pattern(low > 0 && off(low - 1) <= off(low) ? low - 1 : low);
}

/** Visible pairs over causal pairs. Query i sees itself, the `window` tokens before it, and the sinks before those. */
function visibleShare(policy: Fixed, length: number): number {
  const sink = policy.kind === 'streaming' ? policy.sink : 0;
  let pairs = 0;
  for (let i = 0; i < length; i++) {
    pairs += 1 + Math.min(i, policy.window) + Math.min(sink, Math.max(0, i - policy.window));
  }
  return pairs / (length * (length + 1) / 2);
}
