/**
 * Sinks and a window that grows with the text: a pattern that can keep as much as learned types do at every length.
 * @module
 */
import { wholeFrom } from '../core/arguments.ts';
import { type Entries, expectEntries, formatEntries, parseEntries, ruleBudget } from './budget.ts';
import type { PolicyKind } from './policy.ts';

/** Keeps the first `sink` tokens and as many of the newest as the budget says. */
export interface GrowingPolicy {
  readonly kind: 'growing';
  readonly sink: number;
  readonly budget: Entries;
}

export const growing: PolicyKind<GrowingPolicy> = {
  name: 'growing',
  grammar: 'growing:S+K',
  help: 'like streaming, the first S tokens and the newest K, where K may grow',
  parse(text) {
    const found = /^growing:(\d{1,9})\+(.+)$/.exec(text);
    const budget = found ? parseEntries(found[2]) : undefined;
    return budget === undefined ? undefined : { kind: 'growing', sink: Number(found![1]), budget };
  },
  format: ({ sink, budget }) => `growing:${sink}+${formatEntries(budget)}`,
  expect(name, { sink, budget }) {
    wholeFrom(0, 999_999_999)(`${name}.sink`, sink);
    expectEntries(`${name}.budget`, budget);
  },
  rule({ sink, budget }) {
    const { base, perToken } = ruleBudget(budget);
    return { mass: { score: { by: 'age' }, budget: { base: sink + base, perToken }, recent: { share: 0 }, first: sink } };
  },
};
