/**
 * Learned token types (Deng & Lindauer, 2025): the model decides, token by token, how long a key is kept.
 * @module
 */
import type { PolicyKind } from './policy.ts';

/** Keeps what the model's scorers decide. */
export interface NatsPolicy {
  readonly kind: 'nats';
}

export const nats: PolicyKind<NatsPolicy> = {
  name: 'nats',
  grammar: 'nats',
  help: 'what the model\'s learned token types keep',
  learned: true,
  parse: (text) => (text === 'nats' ? { kind: 'nats' } : undefined),
  format: () => 'nats',
  expect: () => {},
  rule: (_, model) => model,
};
