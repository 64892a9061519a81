/**
 * A sliding window: every query sees the tokens just before it.
 * @module
 */
import { wholeFrom } from '../core/arguments.ts';
import { TokenType } from '../core/lifetime.ts';
import { formatEntries } from './budget.ts';
import type { PolicyKind } from './policy.ts';

/** Keeps the newest `window` tokens before the query. */
export interface WindowPolicy {
  readonly kind: 'window';
  readonly window: number;
}

export const window: PolicyKind<WindowPolicy> = {
  name: 'window',
  grammar: 'window:W',
  help: 'the newest W tokens',
  parse(text) {
    const found = /^window:(\d{1,9})$/.exec(text);
    return found ? { kind: 'window', window: Number(found[1]) } : undefined;
  },
  format: (policy) => `window:${policy.window}`,
  expect: (name, policy) => wholeFrom(0, 999_999_999)(`${name}.window`, policy.window),
  rule: (policy) => ({ window: policy.window, chunk: 1 }),
  type: () => TokenType.WINDOW,
  entries: (policy, tokens, whole) => Math.min(policy.window, tokens, whole),
  matching: {
    write: (entries) => (typeof entries === 'number' ? `window:${entries}` : `growing:0+${formatEntries(entries)}`),
  },
};
