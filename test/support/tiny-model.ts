/**
 * A byte-level model with a few hundred weights, large enough in magnitude for its texts to differ.
 * @module
 */
import { createEngine } from '../../src/engines.ts';
import { parseConfig } from '../../src/model/config/config.ts';
import type { GenerationDefaults } from '../../src/model/config/generation-config.ts';
import { initialWeights } from '../../src/model/init.ts';
import { Model } from '../../src/model/model.ts';
import { generator } from '../../src/core/random.ts';

/** Makes the model. `generation` is the content of its generation_config.json. */
export function tinyModel(seed: number, policy = 'nats', generation?: GenerationDefaults): Model {
  const config = parseConfig({
    vocab_size: 258, hidden_size: 12, intermediate_size: 10, num_hidden_layers: 2, num_attention_heads: 4,
    num_key_value_heads: 2, head_dim: 4, max_position_embeddings: 64, tie_word_embeddings: true, bos_token_id: 256,
    eos_token_id: 257, nats: { policy, window: 3, lambda: 0 },
  });
  const random = generator(seed, [99]);
  const weights = initialWeights(config, seed);
  for (const [name, { data, shape }] of weights) {
    const scale = name.endsWith('proj_layer.weight') ? 2 : 0.4;
    data.forEach((_, n) => (data[n] = shape.length > 1 ? scale * random.normal() : 1 + 0.1 * random.normal()));
  }
  return new Model(createEngine(), config, weights, undefined, { generation });
}
