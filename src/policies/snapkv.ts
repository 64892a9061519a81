/**
 * SnapKV (Li et al., 2024), sliding: what the newest queries attend to, with its neighbours.
 * @module
 */
import { type Budgeted, expectBudgeted, formatBudgeted, parseBudgeted, ruleBudget } from './budget.ts';
import type { PolicyKind } from './policy.ts';

/** So many entries; the newest half of them, 32 at most, whatever their score. */
export type SnapKVPolicy = Budgeted<'snapkv'>;

/** Queries whose weights count, and the most of the newest entries that are kept for them. */
const OBSERVED = 32;

export const snapkv: PolicyKind<SnapKVPolicy> = {
  name: 'snapkv',
  grammar: 'snapkv:K',
  help: 'the entries that the newest 32 queries attend to most, with their neighbours (SnapKV, sliding)',
  parse: (text) => parseBudgeted('snapkv', text),
  format: formatBudgeted,
  expect: expectBudgeted,
  rule: ({ budget }) => ({
    mass: { score: { by: 'attention', queries: OBSERVED, pool: 5, heads: 'group' }, budget: ruleBudget(budget), recent: { share: 0.5, most: OBSERVED } },
  }),
};
