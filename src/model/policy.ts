/**
 * What a policy asks of a model, and of the engine that keeps its cache. A model's own sliding window bounds them all.
 * @module
 */
import type { LifetimeOptions } from '../core/engine.ts';
import { ValueError } from '../core/errors.ts';
import { grammars, kindOf, type Policy } from '../policies/index.ts';
import type { ModelConfig } from './config/config.ts';
import { scorerName } from './config/names.ts';

/** W, C and the model's bound under a policy. */
export function lifetimeOptions(policy: Policy, { slidingWindow, nats }: ModelConfig): LifetimeOptions {
  const own = kindOf(policy).rule(policy, { window: nats.window, chunk: nats.chunk });
  return slidingWindow === undefined ? own : { ...own, bound: slidingWindow - 1 }; // i sees j if i - j < slidingWindow
}

/** Refuses a learned policy for a model that has no token-type scorer. */
export function checkPolicy(policy: Policy, config: ModelConfig, weights: { has(name: string): boolean }): void {
  const { learned, name } = kindOf(policy);
  if (learned && !weights.has(scorerName(0))) {
    throw new ValueError(
      `the policy ${name} needs token-type scorers, but the model was made with '${config.nats.policy}' and has none: use ${grammars((kind) => !kind.learned)}`,
    );
  }
}
