/**
 * Which tokens a cache keeps: learned types (`nats`), or a fixed pattern, which is the same rule with
 * types that are not learned (§8). A model's own sliding window bounds them all.
 * @module
 */
import type { LifetimeOptions } from '../core/engine.ts';
import { ValueError } from '../core/errors.ts';
import { TokenType } from '../core/lifetime.ts';
import type { ModelConfig, Policy } from './config/config.ts';
import { scorerName } from './config/names.ts';

/** W, C and the model's bound under a policy. Fixed patterns go token by token. */
export function lifetimeOptions(policy: Policy, config: ModelConfig): LifetimeOptions {
  const { slidingWindow, nats } = config;
  const fixed = { window: policy.kind === 'full' || policy.kind === 'nats' ? 0 : policy.window, chunk: 1 };
  const own = policy.kind === 'nats' ? { window: nats.window, chunk: nats.chunk } : fixed;
  return slidingWindow === undefined ? own : { ...own, bound: slidingWindow - 1 }; // i sees j if i - j < slidingWindow
}

/** The fixed type of the token at `position`. */
export function fixedType(policy: Exclude<Policy, { kind: 'nats' }>, position: number): TokenType {
  if (policy.kind === 'full') return TokenType.GLOBAL;
  return policy.kind === 'streaming' && position < policy.sink ? TokenType.GLOBAL : TokenType.WINDOW;
}

/** Refuses a nats policy for a model that has no token-type scorer. */
export function checkPolicy(policy: Policy, config: ModelConfig, weights: { has(name: string): boolean }): void {
  if (policy.kind === 'nats' && !weights.has(scorerName(0))) {
    throw new ValueError(
      `the policy nats needs token-type scorers, but the model was made with '${config.nats.policy}' and has none: use full, window:W or streaming:S+W`,
    );
  }
}
