/**
 * A small model and a short text to train it on.
 * @module
 */
import { type ModelConfig, parseConfig } from '../../src/model/config/config.ts';
import { ByteTokenizer } from '../../src/model/tokenizer/tokenizer.ts';
import { tokenizeDocuments } from '../../src/train/data.ts';
import { DEFAULT_TRAIN_OPTIONS, type TrainOptions } from '../../src/train/options.ts';
import type { TrainingState } from '../../src/train/trainer.ts';

const TEXT = 'It was the best of times, it was the worst of times, it was the age of wisdom. '.repeat(3);
/** The text as tokens. */
export const tokens: Int32Array = tokenizeDocuments(new ByteTokenizer(), [TEXT]);

export function configOf(policy: string, lambda = 0.1, extra: object = {}): ModelConfig {
  return parseConfig({
    vocab_size: 258, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4,
    num_key_value_heads: 2, max_position_embeddings: 24, tie_word_embeddings: true,
    nats: { policy, window: 4, lambda, ...extra },
  });
}

export function optionsOf(change: Partial<TrainOptions> = {}): TrainOptions {
  return { ...DEFAULT_TRAIN_OPTIONS, steps: 6, batch: 3, context: 24, warmup: 2, seed: 11, ...change };
}

/** All numbers of a state in one list, for comparison bit for bit. */
export function bits(state: TrainingState): Float64Array {
  const parts = [state.weights, state.m, state.v];
  return Float64Array.from(parts.flatMap((part) => [...part.values()].flatMap(({ data }) => [...data])));
}
