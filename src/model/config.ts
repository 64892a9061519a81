/**
 * A model's configuration: Hugging Face's config.json of a Llama model, with one `nats` object added.
 * @module
 */
import type { Pooling } from '../engine.ts';
import { ConfigError, ValueError } from '../errors.ts';
import type { NDArray } from '../tensor.ts';
import { Fields, shown } from './config-fields.ts';

/** Far more than any model has; a wrong number must not become a wait without end. */
const MAX_LAYERS = 10_000;

/** What a cache keeps: learned types, everything, or a fixed pattern (§8). */
export type Policy =
  | { readonly kind: 'nats' }
  | { readonly kind: 'full' }
  | { readonly kind: 'window'; readonly window: number }
  | { readonly kind: 'streaming'; readonly sink: number; readonly window: number };

/** Sizes and constants of a model. */
export interface ModelConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Tokens of context that it was trained with. */
  readonly maxPositions: number;
  readonly rmsNormEpsilon: number;
  readonly ropeTheta: number;
  readonly tieWordEmbeddings: boolean;
  readonly bosTokenId: number;
  readonly eosTokenId: number;
  readonly nats: NatsConfig;
}

/** What NAtS adds. */
export interface NatsConfig {
  /** What it was trained with: 'nats', 'full', 'window:W' or 'streaming:S+W'. */
  readonly policy: string;
  /** W of §2, tokens. */
  readonly window: number;
  /** C of §2, tokens. */
  readonly chunk: number;
  readonly pooling: Pooling;
  /** Price of keeping the whole cache while training, nats per token (§7). */
  readonly lambda: number;
  /** tau of §6. */
  readonly temperature: number;
}

/**
 * Reads 'nats', 'full', 'window:W' or 'streaming:S+W'.
 *
 * @throws {ValueError} If it is none of these.
 * @example
 * ```ts
 * import { parsePolicy } from 'neural-attention-search';
 * console.log(parsePolicy('streaming:4+32')); // {"kind":"streaming","sink":4,"window":32}
 * ```
 */
export function parsePolicy(text: string): Policy {
  if (text === 'nats' || text === 'full') return { kind: text };
  const window = /^window:(\d{1,9})$/.exec(text);
  if (window) return { kind: 'window', window: Number(window[1]) };
  const streaming = /^streaming:(\d{1,9})\+(\d{1,9})$/.exec(text);
  if (streaming) return { kind: 'streaming', sink: Number(streaming[1]), window: Number(streaming[2]) };
  throw new ValueError(`the policy '${JSON.stringify(text.slice(0, 100)).slice(1, -1)}' is not known: use nats, full, window:W or streaming:S+W with whole numbers`);
}

/**
 * The inverse of parsePolicy.
 *
 * @example
 * ```ts
 * import { formatPolicy } from 'neural-attention-search';
 * console.log(formatPolicy({ kind: 'window', window: 64 })); // window:64
 * ```
 */
export function formatPolicy(policy: Policy): string {
  if (policy.kind === 'window') return `window:${policy.window}`;
  if (policy.kind === 'streaming') return `streaming:${policy.sink}+${policy.window}`;
  return policy.kind;
}

/**
 * Reads a config.json.
 *
 * @param json The parsed file. A plain Llama config, without `nats`, gets the policy `full`.
 * @throws {ConfigError} If a field is missing, out of range, or asks for what is not supported.
 * @example
 * ```ts
 * import { parseConfig } from 'neural-attention-search';
 * const config = parseConfig({
 *   vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2,
 *   max_position_embeddings: 64, nats: { policy: 'nats', window: 16 },
 * });
 * console.log(config.headDim, config.nats.chunk); // 4 1
 * ```
 */
export function parseConfig(json: unknown): ModelConfig {
  const fields = new Fields('config.json', json);
  fields.refuse('model_type', (x) => x !== 'llama', 'only Llama-style models ("llama") are supported');
  fields.refuse('hidden_act', (x) => x !== 'silu', 'only "silu" is supported');
  fields.refuse('attention_bias', (x) => x !== false, 'projections with bias are not supported');
  fields.refuse('mlp_bias', (x) => x !== false, 'projections with bias are not supported');
  fields.refuse('rope_scaling', (x) => x !== null, 'scaled rotary embeddings are not supported');
  const heads = fields.whole('num_attention_heads', 1);
  const hiddenSize = fields.whole('hidden_size', 1);
  const kvHeads = fields.whole('num_key_value_heads', 1, heads);
  const headDim = fields.whole('head_dim', 1, hiddenSize / heads);
  if (heads % kvHeads !== 0) {
    throw new ConfigError(`config.json: num_attention_heads (${heads}) must be a multiple of num_key_value_heads (${kvHeads})`);
  }
  if (headDim % 2 !== 0) throw new ConfigError(`config.json: head_dim is ${headDim}: it must be even, since rotary embedding turns pairs`);
  const vocabSize = fields.whole('vocab_size', 1);
  return {
    vocabSize,
    hiddenSize,
    intermediateSize: fields.whole('intermediate_size', 1),
    layers: fields.whole('num_hidden_layers', 1, undefined, MAX_LAYERS),
    heads,
    kvHeads,
    headDim,
    maxPositions: fields.whole('max_position_embeddings', 1),
    rmsNormEpsilon: fields.positive('rms_norm_eps', 1e-6),
    ropeTheta: parseRopeTheta(fields),
    tieWordEmbeddings: fields.boolean('tie_word_embeddings', false),
    bosTokenId: fields.whole('bos_token_id', 0, 1, vocabSize - 1),
    eosTokenId: fields.whole('eos_token_id', 0, 2, vocabSize - 1),
    nats: parseNats(fields.object('nats')),
  };
}

/** `rope_theta`, or where newer files keep it. */
function parseRopeTheta(fields: Fields): number {
  const rope = fields.object('rope_parameters');
  rope?.refuse('rope_type', (x) => x !== 'default', 'scaled rotary embeddings are not supported');
  return (rope?.has('rope_theta') ? rope : fields).positive('rope_theta', 10000);
}

function parseNats(fields: Fields | undefined): NatsConfig {
  if (!fields) return { policy: 'full', window: 0, chunk: 1, pooling: 'mean', lambda: 0, temperature: 1 };
  fields.only(['policy', 'window', 'chunk', 'pooling', 'lambda', 'temperature']);
  const policy = fields.text('policy', 'nats');
  let parsed: Policy;
  try {
    parsed = parsePolicy(policy);
  } catch (error) {
    throw new ConfigError(`config.json: nats.policy: ${(error as Error).message}`);
  }
  // Learned types mean nothing without the W they were learned with; fixed ones bring their own.
  const ownWindow = parsed.kind === 'nats' ? undefined : parsed.kind === 'full' ? 0 : parsed.window;
  const pooling = fields.text('pooling', 'mean');
  if (pooling !== 'mean' && pooling !== 'max') throw new ConfigError(`config.json: nats.pooling is ${shown(pooling)}: it must be 'mean' or 'max'`);
  return {
    policy,
    pooling,
    window: fields.whole('window', 0, ownWindow),
    chunk: fields.whole('chunk', 1, 1),
    lambda: fields.number('lambda', 0, 0),
    temperature: fields.positive('temperature', 1),
  };
}

/** Writes a config.json that parseConfig and Hugging Face's Llama read. */
export function serializeConfig(config: ModelConfig): string {
  const json = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headDim,
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.rmsNormEpsilon,
    rope_theta: config.ropeTheta,
    tie_word_embeddings: config.tieWordEmbeddings,
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenId,
    hidden_act: 'silu',
    attention_bias: false,
    mlp_bias: false,
    torch_dtype: 'float32',
    nats: config.nats,
  };
  return `${JSON.stringify(json, null, 2)}\n`;
}

/** Every weight that a config asks for, by Hugging Face name, with its shape. */
export function expectedWeights(config: ModelConfig): Map<string, readonly number[]> {
  const { vocabSize: V, hiddenSize: D, intermediateSize: F, heads, kvHeads, headDim } = config;
  const [Q, KV] = [heads * headDim, kvHeads * headDim];
  const weights = new Map<string, readonly number[]>([['model.embed_tokens.weight', [V, D]]]);
  for (let n = 0; n < config.layers; n++) {
    const add = (name: string, shape: readonly number[]) => weights.set(`model.layers.${n}.${name}.weight`, shape);
    add('input_layernorm', [D]);
    add('self_attn.q_proj', [Q, D]);
    add('self_attn.k_proj', [KV, D]);
    add('self_attn.v_proj', [KV, D]);
    add('self_attn.o_proj', [D, Q]);
    if (config.nats.policy === 'nats') add('self_attn.proj_layer', [3 * kvHeads, D]); // §6: rows [kv head][type]
    add('post_attention_layernorm', [D]);
    add('mlp.gate_proj', [F, D]);
    add('mlp.up_proj', [F, D]);
    add('mlp.down_proj', [D, F]);
  }
  weights.set('model.norm.weight', [D]);
  if (!config.tieWordEmbeddings) weights.set('lm_head.weight', [V, D]);
  return weights;
}

/** Refuses weights that are missing, of another shape, or that the config has no place for. */
export function checkWeights(config: ModelConfig, weights: ReadonlyMap<string, NDArray>): void {
  const expected = expectedWeights(config);
  const missing = [...expected.keys()].filter((name) => !weights.has(name));
  if (missing.length > 0) {
    throw new ConfigError(`config contradicts weights: ${missing.length} weights are missing, first '${missing[0]}': use the config.json that belongs to these weights`);
  }
  for (const [name, { shape }] of weights) {
    const wanted = expected.get(name);
    if (!wanted) {
      if (name.endsWith('rotary_emb.inv_freq') || (name === 'lm_head.weight' && config.tieWordEmbeddings)) continue;
      throw new ConfigError(`config contradicts weights: ${shown(name)} has no place in this config: use the config.json that belongs to these weights`);
    }
    if (shape.length !== wanted.length || shape.some((size, axis) => size !== wanted[axis])) {
      throw new ConfigError(`config contradicts weights: '${name}' is [${shape}] but the config makes it [${wanted}]`);
    }
  }
}
