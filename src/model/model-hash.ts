/**
 * What makes two models the same to a session: every number of the config that a logit rests on, and the weights.
 * @module
 */
import type { Engine } from '../core/engine.ts';
import { sha256 } from '../formats/sha256.ts';
import { tensorDigest, weightsHash } from '../formats/weights-hash.ts';
import type { ModelConfig } from './config/config.ts';
import type { Weights } from './decoder.ts';

/**
 * SHA-256, hexadecimal, of a model. Weights count as float32 numbers, so that every engine gives the same hash,
 * whatever it holds them in. Reads all of them once.
 */
export async function modelHash(engine: Engine, config: ModelConfig, weights: Weights): Promise<string> {
  const digests = new Map<string, string>();
  for (const [name, tensor] of weights) digests.set(name, await tensorDigest(await engine.read(tensor)));
  return sha256(new TextEncoder().encode(`${canonical(decisive(config))}\n${await weightsHash(digests)}`));
}

/** The config without what changes no logit: which tokens begin and end texts, and how it was trained. */
function decisive(config: ModelConfig): object {
  const { bosTokenId: _bos, eosTokenId: _eos, eosTokenIds: _ends, maxPositions: _trained, nats, ...rest } = config;
  const { window, chunk, pooling } = nats;
  return { modelType: 'llama', ...rest, nats: { window, chunk, pooling } };
}

/**
 * JSON with the keys of every object in order. What is absent, null or false says the same, so that a later version's
 * new switches leave old files valid.
 */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => {
    if (typeof each !== 'object' || each === null || Array.isArray(each)) return each;
    const set = Object.entries(each).filter(([, x]) => x !== null && x !== undefined && x !== false);
    return Object.fromEntries(set.sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
