/**
 * Who takes part in an arena, and with how much memory.
 * @module
 */
import { type KeptOf, type MatchedBy, matchedPolicies, matchingKinds } from '../../evaluate/match.ts';
import { kindOf, parsePolicy, type Policy } from '../../policies/index.ts';

/** A policy in an arena. */
export interface Entrant {
  readonly policy: Policy;
  /** The share of the cache that was asked for; absent for what sets its own. */
  readonly budget?: number;
  /** In what it keeps as much as the learned types of `learner`. */
  readonly match?: MatchedBy;
}

/** Whether a policy reads what a model has learned. */
export function usesLearned(policy: Policy): boolean {
  const { learned, ranks } = kindOf(policy);
  return learned === true || ranks === true;
}

/** Policies that hold `share` of a cache of `tokens` entries. Those that cannot hold so few are left out. */
export function entrantsAt(share: number, tokens: number, kinds: readonly string[]): Entrant[] {
  const entries = Math.max(1, Math.round(share * tokens));
  return kinds.flatMap((kind) => {
    const { matching } = kindOf({ kind: kind as Policy['kind'] });
    if (entries < (matching!.least ?? 0)) return [];
    return [{ policy: parsePolicy(matching!.write(entries)), budget: share }];
  });
}

/** Policies that keep as much as learned types did, in the mean, at the end and both. */
export function entrantsLike(kept: KeptOf, kinds: readonly string[]): Entrant[] {
  return matchedPolicies(kept, kinds).flatMap(({ by, policy }) => (policy ? [{ policy, match: by }] : []));
}

/** The kinds that learn nothing, and those that rank by what was learned. */
export function splitKinds(kinds: readonly string[] = matchingKinds()): { fixed: string[]; ranking: string[] } {
  const ranks = (kind: string): boolean => kindOf({ kind: kind as Policy['kind'] }).ranks === true;
  return { fixed: kinds.filter((kind) => !ranks(kind)), ranking: kinds.filter(ranks) };
}
