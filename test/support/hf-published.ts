/**
 * A small model in the form of a published one, made on the platform that runs the test: shards in half precision, and
 * a tokenizer of its own.
 * @module
 */
import { encodeSafetensors } from '../../src/formats/safetensors.ts';
import { parseConfig } from '../../src/model/config/config.ts';
import { initialWeights } from '../../src/model/init.ts';
import type { NDArray } from '../../src/core/tensor.ts';
import { tokenizerJson } from './hf-tokenizers.ts';

/** Its config.json. */
export const PUBLISHED_CONFIG: object = {
  architectures: ['MistralForCausalLM'], model_type: 'mistral', vocab_size: 1056, hidden_size: 8, intermediate_size: 12,
  num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 64,
  sliding_window: 24, bos_token_id: 1, eos_token_id: [2, 3],
};
/** Its tokenizer_config.json, like that of Llama 2: texts start with <s>. */
const TOKENIZER_CONFIG = { tokenizer_class: 'LlamaTokenizer', add_bos_token: true, add_eos_token: false, bos_token: '<s>' };
/** How it continues PROMPT, according to Node. */
export const CONTINUATION: string = 'ol-BALqu\ufffd|--me iB unk3 * Ilepylokey \ufffdquery radi\n\n`' +
  '``ct} \\\\[2pt]rs\n\\end{aligned}tokens igne< Ma\ufffd\ufffd}{so-out leng\ufffdfirst out ioun';
/** A prompt with characters of several bytes. */
export const PROMPT = 'It was a damp, drizzly November in my soul — naïve, 日本 👍';
/** The options with which CONTINUATION was generated. */
export const ASKED: { readonly maxNewTokens: number; readonly seed: number } = { maxNewTokens: 40, seed: 7 };

/** What such a folder holds, with shards by name. */
export interface Published {
  readonly config: object;
  readonly shards: ReadonlyMap<string, Uint8Array>;
  readonly tokenizer: unknown;
  readonly tokenizerConfig: unknown;
}

/** The model in memory. */
export async function publishedModel(): Promise<Published> {
  const shards = new Map([0, 1].map((n) => [nameOf(n), encodeSafetensors(shard(n), { format: 'pt' })] as const));
  return { config: PUBLISHED_CONFIG, shards, tokenizer: await tokenizerJson('sentencepiece'), tokenizerConfig: TOKENIZER_CONFIG };
}

/** The same as the files of a folder. */
export async function publishedFiles(): Promise<Map<string, Uint8Array | string>> {
  const { config, shards, tokenizer, tokenizerConfig } = await publishedModel();
  const places = [0, 1].flatMap((n) => shard(n).map(([name]) => [name, nameOf(n)]));
  return new Map<string, Uint8Array | string>([
    ...shards,
    ['config.json', JSON.stringify(config)],
    ['tokenizer.json', JSON.stringify(tokenizer)],
    ['tokenizer_config.json', JSON.stringify(tokenizerConfig)],
    ['model.safetensors.index.json', JSON.stringify({ weight_map: Object.fromEntries(places) as object })],
  ]);
}

function nameOf(n: number): string {
  return `model-0000${n + 1}-of-00002.safetensors`;
}

/** Shard n: every second weight. */
function shard(n: number): (readonly [string, NDArray & { readonly dtype: 'F16' }])[] {
  const weights = [...initialWeights(parseConfig(PUBLISHED_CONFIG), 1)].filter((_, at) => at % 2 === n);
  return weights.map(([name, { data, shape }]) => [name, { data, shape, dtype: 'F16' }]);
}
