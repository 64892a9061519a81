/**
 * Which tokens a cache keeps: learned types (`nats`), or a fixed pattern, which is the same rule with
 * types that are not learned (§8).
 * @module
 */
import type { LifetimeOptions } from '../engine.ts';
import { TokenType } from '../lifetime.ts';
import type { ModelConfig, Policy } from './config.ts';

/** W and C under a policy. Fixed patterns go token by token. */
export function lifetimeOptions(policy: Policy, config: ModelConfig): LifetimeOptions {
  if (policy.kind === 'nats') return { window: config.nats.window, chunk: config.nats.chunk };
  return { window: policy.kind === 'full' ? 0 : policy.window, chunk: 1 };
}

/** The fixed type of the token at `position`. */
export function fixedType(policy: Exclude<Policy, { kind: 'nats' }>, position: number): TokenType {
  if (policy.kind === 'full') return TokenType.GLOBAL;
  return policy.kind === 'streaming' && position < policy.sink ? TokenType.GLOBAL : TokenType.WINDOW;
}
