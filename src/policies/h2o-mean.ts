/**
 * H2O by the mean, which is fair to late entries, since fewer queries have attended to them.
 * @module
 */
import { type Budgeted, expectBudgeted, formatBudgeted, matchingBudgeted, parseBudgeted, ruleBudget } from './budget.ts';
import type { PolicyKind } from './policy.ts';

/** Keeps as many entries as the budget says, the newest half of them whatever their score. */
export type H2OMeanPolicy = Budgeted<'h2o-mean'>;

export const h2oMean: PolicyKind<H2OMeanPolicy> = {
  name: 'h2o-mean',
  grammar: 'h2o-mean:K',
  help: 'like h2o, but by the mean attention per query since an entry was added',
  parse: (text) => parseBudgeted('h2o-mean', text),
  format: formatBudgeted,
  expect: expectBudgeted,
  rule: ({ budget }) => ({
    mass: { score: { by: 'attention', mean: true, heads: 'group' }, budget: ruleBudget(budget), recent: { share: 0.5 } },
  }),
  matching: matchingBudgeted('h2o-mean'),
};
