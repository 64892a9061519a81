/**
 * Full attention: nothing is ever forgotten.
 * @module
 */
import { TokenType } from '../core/lifetime.ts';
import type { PolicyKind } from './policy.ts';

/** Keeps everything. */
export interface FullPolicy {
  readonly kind: 'full';
}

export const full: PolicyKind<FullPolicy> = {
  name: 'full',
  grammar: 'full',
  help: 'everything',
  parse: (text) => (text === 'full' ? { kind: 'full' } : undefined),
  format: () => 'full',
  expect: () => {},
  rule: () => ({ window: 0, chunk: 1 }),
  type: () => TokenType.GLOBAL,
  entries: (_, tokens, whole) => Math.min(tokens, whole),
};
