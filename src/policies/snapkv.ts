/**
 * SnapKV (Li et al., 2024) with a sliding observation window: what the newest queries attend to, and its neighbours.
 * @module
 */
import { type Budgeted, expectBudgeted, formatBudgeted, matchingBudgeted, parseBudgeted, ruleBudget } from './budget.ts';
import type { PolicyKind } from './policy.ts';

/** Keeps as many entries as the budget says, the newest half of them, but at most 32, whatever their score. */
export type SnapKVPolicy = Budgeted<'snapkv'>;

/** The number of newest queries whose weights count, and the most newest entries that are kept whatever their score. */
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
  matching: matchingBudgeted('snapkv'),
};
