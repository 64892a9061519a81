/**
 * H2O (Zhang et al., 2023): the entries that received the most attention so far, and the newest.
 * @module
 */
import { wholeFrom } from '../core/arguments.ts';
import { type Entries, expectBudgeted, formatBudgeted, matchingBudgeted, parseBudgeted, ruleBudget } from './budget.ts';
import type { PolicyKind } from './policy.ts';

/**
 * Keeps as many entries as the budget says, the newest `recent` of them whatever their score. Default: half of them.
 */
export interface H2OPolicy {
  readonly kind: 'h2o';
  readonly budget: Entries;
  readonly recent?: number;
}

export const h2o: PolicyKind<H2OPolicy> = {
  name: 'h2o',
  grammar: 'h2o:H+R',
  help: 'the H entries that all queries attended to most, and the newest R (H2O); or h2o:K, half each',
  parse(text) {
    const found = /^h2o:(\d{1,8})\+(\d{1,8})$/.exec(text);
    if (!found) return parseBudgeted('h2o', text);
    return { kind: 'h2o', budget: Number(found[1]) + Number(found[2]), recent: Number(found[2]) };
  },
  format(policy) {
    const { budget, recent } = policy;
    return recent === undefined ? formatBudgeted(policy) : `h2o:${Number(budget) - recent}+${recent}`;
  },
  expect(name, policy) {
    const { budget, recent } = policy;
    expectBudgeted(name, policy);
    if (recent !== undefined) wholeFrom(0, typeof budget === 'number' ? budget : 0)(`${name}.recent`, recent);
  },
  rule: ({ budget, recent }) => ({
    mass: {
      score: { by: 'attention', heads: 'group' }, budget: ruleBudget(budget),
      recent: recent === undefined ? { share: 0.5 } : { share: 1, most: recent },
    },
  }),
  matching: matchingBudgeted('h2o'),
};
