/**
 * Tiny models in which one weight is NaN, infinite or too large.
 * @module
 */
import type { Engine } from '../../src/core/engine.ts';
import { createEngine } from '../../src/engines.ts';
import { type ModelConfig, parseConfig } from '../../src/model/config/config.ts';
import { initialWeights } from '../../src/model/init.ts';
import { Model } from '../../src/model/model.ts';
import type { NDArray } from '../../src/core/tensor.ts';

/** A weight of the second of three layers. */
export const DOWN = 'model.layers.1.mlp.down_proj.weight';

export function configOf(policy: string, fields: object = {}): ModelConfig {
  return parseConfig({
    vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 3, num_attention_heads: 2,
    max_position_embeddings: 16, tie_word_embeddings: false, nats: { policy, window: 4, lambda: 0.1 }, ...fields,
  });
}

/** Fresh weights, in which `name` has `value` at element 3 or everywhere. */
export function weightsWith(
  config: ModelConfig, name: string, value: number, everywhere = false,
): Map<string, NDArray> {
  const weights = initialWeights(config, 1);
  const { data } = weights.get(name)!;
  if (everywhere) data.fill(value);
  else data[3] = value;
  return weights;
}

/** A model of such weights. */
export const modelWith = (name: string, value: number, policy = 'full', engine: Engine = createEngine()): Model =>
  new Model(engine, configOf(policy), weightsWith(configOf(policy), name, value));
