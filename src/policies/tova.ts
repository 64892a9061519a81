/**
 * TOVA (Oren et al., 2024): what the newest query attends to, with one set of positions for all heads of a layer.
 * @module
 */
import { type Budgeted, expectBudgeted, formatBudgeted, matchingBudgeted, parseBudgeted, ruleBudget } from './budget.ts';
import type { PolicyKind } from './policy.ts';

/** Keeps as many entries as the budget says. None is protected. */
export type TovaPolicy = Budgeted<'tova'>;

export const tova: PolicyKind<TovaPolicy> = {
  name: 'tova',
  grammar: 'tova:K',
  help: 'the entries that the newest query attends to most, in all heads of a layer together (TOVA)',
  parse: (text) => parseBudgeted('tova', text),
  format: formatBudgeted,
  expect: expectBudgeted,
  rule: ({ budget }) => ({
    mass: { score: { by: 'attention', queries: 1, heads: 'layer' }, budget: ruleBudget(budget), recent: { share: 0 } },
  }),
  matching: matchingBudgeted('tova'),
};
