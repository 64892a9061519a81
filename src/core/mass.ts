/**
 * The second rule of what a cache keeps (§11): every KV head has a budget of entries. When a step leaves it with more,
 * the entry of the least score is evicted. The rule is data, and everything here is about whole numbers, so every
 * engine shares it.
 * @module
 */

/** Entries that a KV head holds after step i, counted from 0: k(i) = base + perToken * (i + 1), rounded half up. */
export interface Budget {
  /** Entries. */
  readonly base: number;
  /** Entries per token, 0 to 1; 0 for a fixed budget. */
  readonly perToken: number;
}

/** What attention has made of an entry: the sum of the weights that queries gave it. */
export interface AttentionScore {
  readonly by: 'attention';
  /** How many of the newest queries count (default: all that saw the entry, its own included). */
  readonly queries?: number;
  /** Divides the sum by the number of queries since the entry came, its own included. */
  readonly mean?: boolean;
  /** An odd number of positions, over which sums are averaged around each entry; what is not held counts 0. */
  readonly pool?: number;
  /**
   * Whose weights are added up: those of the query heads that share the KV head, or those of all heads of the layer,
   * whose KV heads then hold the same positions.
   */
  readonly heads: 'group' | 'layer';
}

/** What an entry is worth: by attention, by minus the norm of its key, or all the same, so that the oldest goes. */
export type MassScore = AttentionScore | { readonly by: 'key-norm' } | { readonly by: 'age' };

/** What is kept under a budget. Of entries of the same score, the oldest goes. */
export interface MassRule {
  readonly score: MassScore;
  readonly budget: Budget;
  /** The newest min(most, floor(share * k(i))) positions are not evicted; `most` is Infinity where it is left out. */
  readonly recent: { readonly share: number; readonly most?: number };
  /** Nor are the first so many (default 0). */
  readonly first?: number;
}

/** A mass rule, and the window of a model that has its own. */
export interface MassOptions {
  readonly mass: MassRule;
  /** Ends the life of every token j at j + bound, whatever its score (tokens, >= 0; default: no bound). */
  readonly bound?: number;
}

/** k(i): the most entries that are held after step i. */
export function budgetAfter({ budget: { base, perToken } }: MassRule, i: number): number {
  return Math.max(0, Math.floor(base + perToken * (i + 1) + 0.5));
}

/** How many of the newest positions, that of token i included, step i may not evict. */
export function recentAfter(rule: MassRule, i: number): number {
  return Math.min(rule.recent.most ?? Infinity, Math.floor(rule.recent.share * budgetAfter(rule, i)));
}

/** Numbers that are remembered of each entry for its score. */
export function scoreWidth({ score }: MassRule): number {
  if (score.by === 'age') return 0;
  return score.by === 'attention' ? score.queries ?? 1 : 1;
}
