/**
 * A small model as published, made anew on every platform: shards in half precision, and a tokenizer of its own.
 * @module
 */
import { encodeSafetensors } from '../../src/io/safetensors.ts';
import { parseConfig } from '../../src/model/config.ts';
import { initialWeights } from '../../src/model/init.ts';
import { tokenizerJson } from './hf-tokenizers.ts';

/** Its config.json. */
export const PUBLISHED_CONFIG: object = {
  architectures: ['MistralForCausalLM'], model_type: 'mistral', vocab_size: 1056, hidden_size: 8, intermediate_size: 12,
  num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 64,
  sliding_window: 24, bos_token_id: 1, eos_token_id: [2, 3],
};
/** What it goes on with after PROMPT, as Node says. */
export const CONTINUATION: string = 'ol-BALqu\ufffd|--me iB unk3 * Ilepylokey \ufffdquery radi\n\n`' +
  '``ct} \\\\[2pt]rs\n\\end{aligned}tokens igne< Ma\ufffd\ufffd}{so-out leng\ufffdfirst out ioun';
/** With characters of several bytes. */
export const PROMPT = 'It was a damp, drizzly November in my soul — naïve, 日本 👍';
/** How CONTINUATION was asked for. */
export const ASKED: { readonly maxNewTokens: number; readonly seed: number } = { maxNewTokens: 40, seed: 7 };

/** What such a folder holds; shards by name. */
export interface Published {
  readonly config: object;
  readonly shards: ReadonlyMap<string, Uint8Array>;
  readonly tokenizer: unknown;
}

/** Makes it. */
export async function publishedModel(): Promise<Published> {
  const weights = [...initialWeights(parseConfig(PUBLISHED_CONFIG), 1)].map(([name, { data, shape }]) => {
    return [name, { data, shape, dtype: 'F16' }] as const;
  });
  const shards = new Map([0, 1].map((n) => {
    const half = weights.filter((_, at) => at % 2 === n);
    return [`model-0000${n + 1}-of-00002.safetensors`, encodeSafetensors(half, { format: 'pt' })] as const;
  }));
  return { config: PUBLISHED_CONFIG, shards, tokenizer: await tokenizerJson('sentencepiece') };
}
