/**
 * Small models with weights so large that attention is not uniform and types differ.
 * @module
 */
import type { Engine } from '../../src/core/engine.ts';
import { type ModelConfig, parseConfig } from '../../src/model/config/config.ts';
import { initialWeights } from '../../src/model/init.ts';
import { Model } from '../../src/model/model.ts';
import { generator } from '../../src/core/random.ts';
import type { NDArray } from '../../src/core/tensor.ts';

/** Two layers, two KV heads, a vocabulary of 31 tokens. */
export function livelyConfig(policy: string, nats: object = {}, fields: object = {}): ModelConfig {
  return parseConfig({
    vocab_size: 31, hidden_size: 12, intermediate_size: 10, num_hidden_layers: 2, num_attention_heads: 4,
    num_key_value_heads: 2, head_dim: 4, max_position_embeddings: 64, tie_word_embeddings: true,
    bos_token_id: 1, eos_token_id: 2, nats: { policy, window: 3, lambda: 0, ...nats }, ...fields,
  });
}

/** Weights that are exact in float32, so that every engine has the same. */
export function livelyWeights(config: ModelConfig, seed: number): Map<string, NDArray> {
  const random = generator(seed, [99]);
  const weights = initialWeights(config, seed);
  for (const [name, { data, shape }] of weights) {
    const [mean, deviation] = name.endsWith('proj_layer.weight') ? [0, 2] : shape.length > 1 ? [0, 0.4] : [1, 0.1];
    data.forEach((_, n) => (data[n] = Math.fround(mean + deviation * random.normal())));
  }
  return weights;
}

/** The model on an engine. */
export function livelyModel(engine: Engine, config: ModelConfig, seed = 1): Model {
  return new Model(engine, config, livelyWeights(config, seed));
}

/** Random token ids of livelyConfig's vocabulary. */
export function livelyIds(seed: number, length: number): Int32Array {
  const random = generator(seed, [7]);
  return Int32Array.from({ length }, () => random.below(31));
}
