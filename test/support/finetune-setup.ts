/**
 * A small base with attention far from uniform, and the text and options of fine-tuning it.
 * @module
 */
import { type ModelConfig, parseConfig } from '../../src/model/config/config.ts';
import { initialWeights } from '../../src/model/init.ts';
import { ByteTokenizer } from '../../src/model/tokenizer/tokenizer.ts';
import { generator, Stream } from '../../src/core/random.ts';
import type { NDArray } from '../../src/core/tensor.ts';
import { tokenizeDocuments } from '../../src/train/data.ts';
import { DEFAULT_FINETUNE_OPTIONS, type FinetuneOptions } from '../../src/train/finetune-options.ts';

const TEXT = 'It was the best of times, it was the worst of times, it was the age of wisdom. '.repeat(4);
/** The text as tokens. */
export const tokens: Int32Array = tokenizeDocuments(new ByteTokenizer(), [TEXT]);
export const NATS = { window: 3, chunk: 1, pooling: 'mean', lambda: 0, temperature: 1 } as const;

export function configOf(extra: object = {}): ModelConfig {
  return parseConfig({
    vocab_size: 258, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 4,
    num_key_value_heads: 2, max_position_embeddings: 16, tie_word_embeddings: true, ...extra,
  });
}

/** Weights so large that attention is far from uniform, and scorers that have preferences. */
export function weightsOf(config: ModelConfig, seed = 5): Map<string, NDArray> {
  const random = generator(seed, [Stream.WEIGHTS]);
  return new Map([...initialWeights(config, seed)].map(([name, { data, shape }]) => {
    const scale = shape.length === 1 ? 1 : 20;
    return [name, { shape, data: data.map((x) => scale * x + 0.3 * random.normal()) }];
  }));
}

export function optionsOf(change: Partial<FinetuneOptions> = {}): FinetuneOptions {
  return { ...DEFAULT_FINETUNE_OPTIONS, steps: 6, batch: 2, context: 16, warmup: 2, seed: 11, keep: 0.4, ...change };
}
