/**
 * What makes two models the same to a session: every number of the config that a logit rests on, and the weights.
 * @module
 */
import type { Engine } from '../engine.ts';
import { sha256 } from '../io/sha256.ts';
import type { ModelConfig } from './config.ts';
import type { Weights } from './decoder.ts';

/**
 * SHA-256, hexadecimal, of a model. Weights count as float32 numbers, so that every engine gives the same hash,
 * whatever it holds them in. Reads all of them once.
 */
export async function modelHash(engine: Engine, config: ModelConfig, weights: Weights): Promise<string> {
  const lines = [canonical(decisive(config))];
  for (const name of [...weights.keys()].sort()) {
    const tensor = weights.get(name)!;
    const { buffer, byteOffset, byteLength } = Float32Array.from(await engine.read(tensor));
    lines.push(`${name} [${tensor.shape}] ${await sha256(new Uint8Array(buffer, byteOffset, byteLength))}`);
  }
  return sha256(new TextEncoder().encode(lines.join('\n')));
}

/** The config without what changes no logit: which tokens begin and end texts, and how it was trained. */
function decisive(config: ModelConfig): object {
  const { bosTokenId: _bos, eosTokenId: _eos, eosTokenIds: _ends, maxPositions: _trained, nats, ...rest } = config;
  const { window, chunk, pooling } = nats;
  return { modelType: 'llama', ...rest, nats: { window, chunk, pooling } };
}

/** JSON with the keys of every object in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => {
    if (typeof each !== 'object' || each === null || Array.isArray(each)) return each;
    return Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
