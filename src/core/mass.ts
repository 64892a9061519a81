/**
 * The second rule for what a cache keeps (§11): every KV head has a budget of entries. As long as a step leaves it with
 * more, the entry with the lowest score is evicted. The rule is plain data, and everything computed here is a whole
 * number, so all engines share it.
 * @module
 */

/** The entries that a KV head holds after step i, counted from 0: k(i) = base + perToken * (i + 1), rounded half up. */
export interface Budget {
  /** Entries. */
  readonly base: number;
  /** Entries per token, 0 to 1; 0 for a fixed budget. */
  readonly perToken: number;
}

/** The score of an entry by attention: the sum of the weights that queries gave it. */
export interface AttentionScore {
  readonly by: 'attention';
  /** How many of the newest queries count. Default: all that have seen the entry, including its own. */
  readonly queries?: number;
  /** Divide the sum by the number of queries since the entry was added, including its own. */
  readonly mean?: boolean;
  /**
   * The odd number of positions around each entry over which sums are averaged. Positions that are not held count as 0.
   */
  readonly pool?: number;
  /**
   * Whose weights are summed: those of the query heads that share the KV head, or those of all heads of the layer,
   * whose KV heads then hold the same positions.
   */
  readonly heads: 'group' | 'layer';
}

/**
 * The score of an entry: by attention; minus the norm of its key; the same for all, so that the oldest is evicted; or
 * how far the learned score of GLOBAL is above those of the other types.
 */
export type MassScore = AttentionScore | { readonly by: 'key-norm' | 'age' | 'types' };

/** What is kept under a budget. Among entries with the same score, the oldest is evicted. */
export interface MassRule {
  readonly score: MassScore;
  readonly budget: Budget;
  /** The newest min(most, floor(share * k(i))) positions are never evicted. Default of `most`: Infinity. */
  readonly recent: { readonly share: number; readonly most?: number };
  /** The number of first positions that are never evicted either. Default: 0. */
  readonly first?: number;
}

/** A mass rule, and the window of a model that has one. */
export interface MassOptions {
  readonly mass: MassRule;
  /** Every token j is evicted after query j + reach, whatever its score (in tokens, >= 0). Default: no reach. */
  readonly reach?: number;
}

/** k(i), the most entries that are held after step i. */
export function budgetAfter({ budget: { base, perToken } }: Pick<MassRule, 'budget'>, i: number): number {
  return Math.max(0, Math.round(base + perToken * (i + 1))); // adding 0.5 would round what lies just below a half up
}

/** How many of the newest positions, including that of token i, step i must not evict. */
export function recentAfter(rule: MassRule, i: number): number {
  return Math.min(rule.recent.most ?? Infinity, Math.floor(rule.recent.share * budgetAfter(rule, i)));
}

/** At least as many as a head holds after step i, whatever it held before: the budget, or all that is protected. */
export function mostAfter(rule: MassRule, i: number): number {
  return Math.max(budgetAfter(rule, i), (rule.first ?? 0) + recentAfter(rule, i));
}

/** How many numbers are kept for each entry to compute its score. */
export function scoreWidth({ score }: MassRule): number {
  if (score.by === 'age') return 0;
  return score.by === 'attention' ? score.queries ?? 1 : 1;
}
