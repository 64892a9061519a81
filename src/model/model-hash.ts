/**
 * Hashes what makes two models the same to a session: the weights, and every number of the config that logits depend
 * on.
 * @module
 */
import type { Engine } from '../core/engine.ts';
import { sha256 } from '../formats/sha256.ts';
import { tensorDigest, weightsHash } from '../formats/weights-hash.ts';
import type { ModelConfig } from './config/config.ts';
import type { Weights } from './decoder.ts';

/**
 * The SHA-256 of a model, in hexadecimal. It reads all weights once, and hashes them as float32, so that every engine
 * gives the same hash.
 */
export async function modelHash(engine: Engine, config: ModelConfig, weights: Weights): Promise<string> {
  const digests = new Map<string, string>();
  for (const [name, tensor] of weights) digests.set(name, await tensorDigest(await engine.read(tensor)));
  return sha256(new TextEncoder().encode(`${canonical(decisive(config))}\n${await weightsHash(digests)}`));
}

/** The config without what affects no logit: the tokens that begin and end texts, and how it was trained. */
function decisive(config: ModelConfig): object {
  const { bosTokenId: _bos, eosTokenId: _eos, eosTokenIds: _ends, maxPositions: _trained, nats, ...rest } = config;
  const { window, localWindow, chunk, pooling } = nats;
  return { modelType: 'llama', ...rest, nats: { window, localWindow, chunk, pooling } };
}

/**
 * JSON with the keys of every object in order. Fields that are null or false count as absent, so that old files stay
 * valid when a later version adds switches.
 */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => {
    if (typeof each !== 'object' || each === null || Array.isArray(each)) return each;
    const set = Object.entries(each).filter(([, x]) => x !== null && x !== undefined && x !== false);
    return Object.fromEntries(set.sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
