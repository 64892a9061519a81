/**
 * Models to measure: the shipped one, or one of the same shape.
 * @module
 */
import { readFileSync } from 'node:fs';
import type { Engine } from '../src/core/engine.ts';
import { loadModel, type ModelConfig, parseConfig } from '../src/index.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model } from '../src/model/model.ts';

const SHIPPED = {
  vocab_size: 258, hidden_size: 96, intermediate_size: 256, num_hidden_layers: 4, num_attention_heads: 4,
  num_key_value_heads: 2, max_position_embeddings: 512, tie_word_embeddings: true,
  nats: { policy: 'nats', window: 32, lambda: 0.03 },
};

/** One layer, so small that tens of thousands of tokens take seconds. */
export const TINY: Record<string, unknown> = {
  ...SHIPPED, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2,
  num_key_value_heads: 1,
};

/** The config of the model in `folder`, or of one like it, for training under `policy`. */
export function shippedConfig(folder: string | undefined, policy: string): ModelConfig {
  const raw = folder === undefined ? SHIPPED : JSON.parse(readFileSync(`${folder}/config.json`, 'utf8')) as typeof SHIPPED;
  return parseConfig({ ...raw, nats: { ...raw.nats, policy } });
}

/**
 * The model in `folder`, or one of its shape with random weights. These take the same time, except under the policy
 * `nats`, whose types depend on the weights.
 */
export async function shippedModel(folder: string | undefined, engine: Engine): Promise<Model> {
  return folder === undefined ? randomModel(SHIPPED, engine) : loadModel(folder, { engine });
}

/** A model with random weights. */
export function randomModel(raw: Record<string, unknown>, engine: Engine): Model {
  const config = parseConfig(raw);
  return new Model(engine, config, initialWeights(config, 0));
}
