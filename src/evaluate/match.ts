/**
 * Policies that keep as much as a measured one, as baselines for learned token types.
 * @module
 */
import { finite, list, oneOf, record, wholeFrom } from '../core/arguments.ts';
import { ValueError } from '../core/errors.ts';
import type { Entries } from '../policies/budget.ts';
import { kindOf, parsePolicy, type Policy, policyKinds } from '../policies/index.ts';
import { fixedBudget, growingBudget, type Kept, keptUnder, type Lengths, tokensOf } from './fit.ts';

/** How much of a full cache a policy kept. */
export interface KeptOf {
  /** The number of tokens of each sequence. */
  readonly lengths: readonly number[];
  /** The mean over time: visible pairs over causal pairs, of all sequences. */
  readonly meanLiveShare: number;
  /** The entries held at the ends of the sequences over those of full caches. */
  readonly endShare: number;
}

/**
 * What is the same as for the measured policy: `mean`, the visible pairs under a fixed budget; `end`, the entries held
 * at the end under a fixed budget; `both`, under a budget that grows with the text.
 */
export type MatchedBy = 'mean' | 'end' | 'both';

/** A policy that keeps as much as another. */
export interface MatchedPolicy {
  readonly kind: Policy['kind'];
  readonly by: MatchedBy;
  /** Absent if no policy of the kind keeps as much. */
  readonly policy?: Policy;
  /** Why there is none. */
  readonly misfit?: string;
}

const BY = ['mean', 'end', 'both'] as const satisfies readonly MatchedBy[];

/** The kinds of policies that can be matched: patterns first. */
export function matchingKinds(): Policy['kind'][] {
  const all = policyKinds().filter(({ matching }) => matching);
  return [...all.filter(({ type }) => type), ...all.filter(({ type }) => !type)].map(({ name }) => name);
}

/**
 * Finds the policies of each kind that keep as much as another policy, in three ways. A fixed budget is full from its
 * k-th token on, while what learned types keep grows with the text. So a fixed budget with the same mean holds less at
 * the end, and one that holds the same at the end held more before; a budget A + B n can match both.
 *
 * @param kinds The kinds to match. Default: all that can be, which leaves out full, growing and learned types.
 * @returns For each of `mean`, `end` and `both`, one policy of each kind, or the reason why there is none.
 * @throws {ValueError} If a share is not in 0..1, a length is not a whole number from 1, or a kind cannot be matched.
 * @example
 * ```ts
 * import { formatPolicy, matchedPolicies } from 'neural-attention-search';
 * const kept = { lengths: [1024], meanLiveShare: 0.25, endShare: 0.4 };
 * const found = matchedPolicies(kept, ['streaming', 'h2o']).map(({ policy }) => formatPolicy(policy!));
 * console.log(found.slice(0, 4).join(' ')); // streaming:4+132 h2o:136 streaming:4+406 h2o:410
 * ```
 */
export function matchedPolicies(kept: KeptOf, kinds: readonly string[] = matchingKinds()): MatchedPolicy[] {
  record({ lengths: list(wholeFrom(1, 2 ** 31 - 1)), meanLiveShare: finite, endShare: finite })('kept', kept);
  list(oneOf(...matchingKinds()))('kinds', kinds);
  const { lengths: each, meanLiveShare, endShare } = kept;
  if (each.length === 0) throw new ValueError('there are no lengths of sequences: pass that of at least one');
  for (const share of [meanLiveShare, endShare]) {
    if (!(share >= 0 && share <= 1)) throw new ValueError(`a kept share is ${share}: it must lie between 0 and 1`);
  }
  const lengths = new Map<number, number>();
  for (const n of each) lengths.set(n, (lengths.get(n) ?? 0) + 1);
  const causal = each.reduce((sum, n) => sum + n * (n + 1) / 2, 0);
  const wanted = { pairs: meanLiveShare * causal, end: endShare * tokensOf(lengths) };
  const names = kinds as readonly Policy['kind'][];
  return BY.flatMap((by) => names.map((kind) => ({ kind, by, ...matched(kind, by, wanted, lengths) })));
}

function matched(
  name: Policy['kind'], by: MatchedBy, wanted: Kept, lengths: Lengths,
): Pick<MatchedPolicy, 'policy'> | Required<Pick<MatchedPolicy, 'misfit'>> {
  const { matching } = kindOf({ kind: name });
  const { write, least = 0 } = matching!;
  const entries = by === 'both' ? growingBudget(wanted, lengths, least)
    : fixedBudget(by === 'mean' ? 'pairs' : 'end', wanted, lengths);
  const misfit = typeof entries === 'number' && entries < least
    ? `${name} always holds ${least} entries, and ${entries} would be as much`
    : by === 'both' ? misfitOf(entries, wanted, lengths, least) : undefined;
  return misfit === undefined ? { policy: parsePolicy(write(entries)) } : { misfit };
}

/** Says so if a growing budget is further off than rounding to whole entries requires. */
function misfitOf(entries: Entries, wanted: Kept, lengths: Lengths, least: number): string | undefined {
  const { pairs, end } = keptUnder(entries, lengths, least);
  const tokens = tokensOf(lengths);
  const sequences = [...lengths.values()].reduce((a, b) => a + b, 0);
  const mean = (x: number): string => (x / tokens).toFixed(1);
  const [offPairs, offEnd] = [Math.abs(pairs - wanted.pairs), Math.abs(end - wanted.end)];
  if (offPairs <= tokens / 2 && offEnd <= sequences / 2 + 1e-6) return undefined;
  const atEnd = (x: number): string => (x / sequences).toFixed(1);
  return `no growing budget lets queries see ${mean(wanted.pairs)} entries in the mean and holds ${atEnd(wanted.end)} ` +
    `at the end; the nearest has ${mean(pairs)} and ${atEnd(end)}`;
}
