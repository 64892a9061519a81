/**
 * H2O by the mean: what came late has had fewer queries to be favoured by.
 * @module
 */
import { type Budgeted, expectBudgeted, formatBudgeted, parseBudgeted, ruleBudget } from './budget.ts';
import type { PolicyKind } from './policy.ts';

/** So many entries, the newest half of them whatever their score. */
export type H2OMeanPolicy = Budgeted<'h2o-mean'>;

export const h2oMean: PolicyKind<H2OMeanPolicy> = {
  name: 'h2o-mean',
  grammar: 'h2o-mean:K',
  help: 'as h2o, by the attention per query since an entry came',
  parse: (text) => parseBudgeted('h2o-mean', text),
  format: formatBudgeted,
  expect: expectBudgeted,
  rule: ({ budget }) => ({
    mass: { score: { by: 'attention', mean: true, heads: 'group' }, budget: ruleBudget(budget), recent: { share: 0.5 } },
  }),
};
