/**
 * Small keys (Devoto et al., 2024): keys with a small norm tend to receive attention, which is known before any query.
 * @module
 */
import { type Budgeted, expectBudgeted, formatBudgeted, matchingBudgeted, parseBudgeted, ruleBudget } from './budget.ts';
import type { PolicyKind } from './policy.ts';

/** Keeps as many entries as the budget says, the newest half of them whatever their norm. */
export type KeyNormPolicy = Budgeted<'keynorm'>;

export const keynorm: PolicyKind<KeyNormPolicy> = {
  name: 'keynorm',
  grammar: 'keynorm:K',
  help: 'the entries whose keys have the smallest norm, and the newest half',
  parse: (text) => parseBudgeted('keynorm', text),
  format: formatBudgeted,
  expect: expectBudgeted,
  rule: ({ budget }) => ({
    mass: { score: { by: 'key-norm' }, budget: ruleBudget(budget), recent: { share: 0.5 } },
  }),
  matching: matchingBudgeted('keynorm'),
};
