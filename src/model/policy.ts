/**
 * What a policy requires of a model, and of the engine that keeps its cache. A model's own sliding window bounds every
 * policy.
 * @module
 */
import type { CacheDtype } from '../core/cache.ts';
import type { Engine } from '../core/engine.ts';
import { UnsupportedError, ValueError } from '../core/errors.ts';
import type { LifetimeOptions } from '../core/lifetime.ts';
import type { MassOptions } from '../core/mass.ts';
import { formatPolicy, givesTypes, grammars, kindOf, type Policy } from '../policies/index.ts';
import type { ModelConfig } from './config/config.ts';
import { scorerName } from './config/names.ts';

/** What a cache must keep under a policy, including the model's reach. */
export function cacheRule(policy: Policy, { slidingWindow, nats }: ModelConfig): LifetimeOptions | MassOptions {
  const { window, localWindow, chunk } = nats;
  const own = kindOf(policy).rule(policy, { window, ...(localWindow !== undefined && { localWindow }), chunk });
  return slidingWindow === undefined ? own : { ...own, reach: slidingWindow - 1 }; // i sees j if i - j < slidingWindow
}

/**
 * W, C, the second window and the model's reach under a policy whose tokens have types.
 *
 * @throws {ValueError} If the policy gives tokens no types.
 */
export function lifetimeOptions(policy: Policy, config: ModelConfig): LifetimeOptions {
  const rule = cacheRule(policy, config);
  if (!('mass' in rule)) return rule;
  throw new ValueError(`the policy ${formatPolicy(policy)} gives tokens no types: use ${grammars(givesTypes)}`);
}

/** Refuses a policy by learned scores for a model without token-type scorers, or if it ranks tokens, with chunks. */
export function checkPolicy(policy: Policy, config: ModelConfig, weights: { has(name: string): boolean }): void {
  const { learned, ranks, name } = kindOf(policy);
  if ((learned || ranks) && !weights.has(scorerName(0))) {
    throw new ValueError(
      `the policy ${name} needs token-type scorers, but the model was made with '${config.nats.policy}' and has none: use ${grammars((kind) => !kind.learned && !kind.ranks)}`,
    );
  }
  if (ranks && config.nats.chunk > 1) {
    throw new UnsupportedError(`the policy ${name} ranks single tokens, but the model's types are those of chunks of ${config.nats.chunk}: use nats, or a model with chunk 1`);
  }
}

/** The bytes of an entry of a full cache, which has no scores. Savings are relative to this cache. */
export async function fullEntryBytes(
  engine: Engine, { kvHeads, headDim }: ModelConfig, storage?: CacheDtype,
): Promise<number> {
  const stored = storage && { storage };
  const full = engine.createCache({ batch: 1, kvHeads, headDim, blockSize: 1, window: 0, chunk: 1, ...stored });
  try {
    return (await full.stats()).entryBytes;
  } finally {
    full.dispose();
  }
}
