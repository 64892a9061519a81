/**
 * Learned scores under a budget: the model's scorers rank tokens instead of giving them types, so memory is bounded.
 * @module
 */
import { type Budgeted, expectBudgeted, formatBudgeted, matchingBudgeted, parseBudgeted, ruleBudget } from './budget.ts';
import type { PolicyKind } from './policy.ts';

/**
 * Keeps as many entries as the budget says: the first, the newest half, but at most W, and those that the scorers would
 * most like to be GLOBAL.
 */
export type NatsRankPolicy = Budgeted<'nats-rank'>;

export const natsRank: PolicyKind<NatsRankPolicy> = {
  name: 'nats-rank',
  grammar: 'nats-rank:K',
  help: 'the entries that the model\'s learned scores rank highest as GLOBAL, and the newest',
  ranks: true,
  parse: (text) => parseBudgeted('nats-rank', text),
  format: formatBudgeted,
  expect: expectBudgeted,
  rule: ({ budget }, { window }) => ({
    mass: { score: { by: 'types' }, budget: ruleBudget(budget), recent: { share: 0.5, most: window }, first: 1 },
  }),
  matching: { ...matchingBudgeted('nats-rank'), least: 1 },
};
