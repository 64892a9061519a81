/**
 * A model's configuration: Hugging Face's config.json of a Llama, Mistral, Qwen2 or Qwen3 model, with one `nats` object
 * added.
 * @module
 */
import type { Pooling } from '../../core/engine.ts';
import { ConfigError } from '../../core/errors.ts';
import { givesTypes, grammars, kindOf, parsePolicy, type Policy } from '../../policies/index.ts';
import { ARCHITECTURES, architectureOf, type ModelType } from '../arch/index.ts';
import { Fields, shown } from './config-fields.ts';
import { parseModelType, parseSpecials } from './hf-config.ts';
import { refuseForeignFields } from './known-fields.ts';
import { EMBEDDING, HEAD, scorerName } from './names.ts';
import { isRecency, type Recency } from './recency.ts';
import { parseRope, type RopeScaling, writeRopeScaling } from './rope-config.ts';

/** Far more layers than any model has, so that a wrong number does not become an endless wait. */
const MAX_LAYERS = 10_000;

/** Sizes and constants of a model. */
export interface ModelConfig {
  /** Default 'llama'. */
  readonly modelType?: ModelType;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** The number of tokens of context that it was trained with. */
  readonly maxPositions: number;
  readonly rmsNormEpsilon: number;
  readonly ropeTheta: number;
  readonly ropeScaling?: RopeScaling;
  /** The most tokens that a query sees, including its own. It bounds the lifetime of every type. */
  readonly slidingWindow?: number;
  readonly tieWordEmbeddings: boolean;
  /** Begins texts if the tokenizer says so. It is eosTokenId if the model has none, and -1 if it has neither. */
  readonly bosTokenId: number;
  /** Ends texts. It is bosTokenId if the model has none, and -1 if it has neither. */
  readonly eosTokenId: number;
  /** Every token at which generation stops. Default: eosTokenId alone. */
  readonly eosTokenIds?: readonly number[];
  readonly nats: NatsConfig;
}

/** What NAtS adds to the config. */
export interface NatsConfig {
  /** The policy that the model was trained with: 'nats', 'full', 'window:W' or 'streaming:S+W'. */
  readonly policy: string;
  /** W of §2, in tokens. */
  readonly window: number;
  /**
   * Makes LOCAL a second window of this many tokens (§2): `local_window` in config.json. Default: LOCAL tokens live
   * until the next GLOBAL.
   */
  readonly localWindow?: number;
  /** C of §2, in tokens. */
  readonly chunk: number;
  readonly pooling: Pooling;
  /** The price of keeping the whole cache in training, in nats per token (§7). */
  readonly lambda: number;
  /** tau of §6. */
  readonly temperature: number;
  /** By how much the policy nats-rank ranks a token above an equal one before it, by layer and KV head. Default: 0. */
  readonly recency?: Recency;
}

/**
 * Reads a config.json.
 *
 * @param json The parsed file. A published config, which has no `nats`, gets the policy `full`.
 * @throws {ConfigError} If a field is missing, out of range or misspelt, or asks for something that is not supported.
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
  const modelType = parseModelType(fields);
  const architecture = ARCHITECTURES[modelType];
  const { absent } = architecture;
  const heads = fields.whole('num_attention_heads', 1);
  const hiddenSize = fields.whole('hidden_size', 1);
  const kvHeads = fields.whole('num_key_value_heads', 1, fields.lacks('num_key_value_heads') ? absent.kvHeads ?? heads : heads);
  const headDim = fields.whole('head_dim', 1, absent.headDim ?? hiddenSize / heads);
  const layers = fields.whole('num_hidden_layers', 1, undefined, MAX_LAYERS);
  if (heads % kvHeads !== 0) {
    throw new ConfigError(`config.json: num_attention_heads (${heads}) must be a multiple of num_key_value_heads (${kvHeads})`);
  }
  if (headDim % 2 !== 0) throw new ConfigError(`config.json: head_dim is ${headDim}: it must be even, since rotary embedding rotates pairs`);
  const vocabSize = fields.whole('vocab_size', 1);
  const maxPositions = fields.whole('max_position_embeddings', 1, absent.maxPositions);
  const slidingWindow = architecture.window(fields, layers);
  refuseForeignFields(fields);
  return {
    modelType,
    vocabSize,
    hiddenSize,
    intermediateSize: fields.whole('intermediate_size', 1),
    layers,
    heads,
    kvHeads,
    headDim,
    maxPositions,
    rmsNormEpsilon: fields.positive('rms_norm_eps', 1e-6),
    ...parseRope(fields, maxPositions),
    ...(slidingWindow !== undefined && { slidingWindow }),
    tieWordEmbeddings: fields.boolean('tie_word_embeddings', false),
    ...parseSpecials(fields, absent, vocabSize),
    nats: parseNats(fields.object('nats'), layers, kvHeads),
  };
}

function parseNats(fields: Fields | undefined, layers: number, kvHeads: number): NatsConfig {
  if (!fields) return { policy: 'full', window: 0, chunk: 1, pooling: 'mean', lambda: 0, temperature: 1 };
  fields.only(['policy', 'window', 'local_window', 'chunk', 'pooling', 'lambda', 'temperature', 'recency']);
  const recency = fields.value('recency') ?? undefined;
  if (recency !== undefined && !isRecency(recency, layers, kvHeads)) {
    throw new ConfigError('config.json: nats.recency must be a number from 0 for each KV head of each layer');
  }
  const policy = fields.text('policy', 'nats');
  let parsed: Policy;
  try {
    parsed = parsePolicy(policy);
  } catch (error) {
    throw new ConfigError(`config.json: nats.policy: ${(error as Error).message}`);
  }
  // Learned types need the W that they were learned with. Fixed patterns have their own.
  const kind = kindOf(parsed);
  const rule = kind.rule(parsed, { window: 0, chunk: 1 });
  if ('mass' in rule) throw new ConfigError(`config.json: nats.policy is ${shown(policy)}: models cannot be trained with it; it must be ${grammars(givesTypes)}`);
  const ownWindow = kind.learned ? undefined : rule.window;
  if (!kind.learned && fields.has('local_window')) {
    throw new ConfigError(`config.json: nats.local_window is for learned types, but nats.policy is ${shown(policy)}: leave it out`);
  }
  const pooling = fields.text('pooling', 'mean');
  if (pooling !== 'mean' && pooling !== 'max') throw new ConfigError(`config.json: nats.pooling is ${shown(pooling)}: it must be 'mean' or 'max'`);
  return {
    policy,
    pooling,
    window: fields.whole('window', 0, ownWindow),
    ...(fields.has('local_window') && { localWindow: fields.whole('local_window', 0) }),
    chunk: fields.whole('chunk', 1, 1),
    lambda: fields.number('lambda', 0, 0),
    temperature: fields.positive('temperature', 1),
    ...(recency !== undefined && { recency }),
  };
}

/** Writes a config.json that parseConfig and Hugging Face's transformers read. */
export function serializeConfig(config: ModelConfig): string {
  const { localWindow, ...nats } = config.nats;
  const { modelType = 'llama', ropeScaling: scaling, eosTokenIds: ends = [config.eosTokenId] } = config;
  const json = {
    architectures: [ARCHITECTURES[modelType].className],
    model_type: modelType,
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
    bos_token_id: config.bosTokenId < 0 ? null : config.bosTokenId,
    eos_token_id: ends.length > 1 ? ends : ends[0] ?? null,
    hidden_act: 'silu',
    ...ARCHITECTURES[modelType].write(config.slidingWindow),
    ...(scaling && { rope_scaling: writeRopeScaling(scaling) }),
    torch_dtype: 'float32',
    nats: { ...nats, ...(localWindow !== undefined && { local_window: localWindow }) },
  };
  return `${JSON.stringify(json, null, 2)}\n`;
}

/** The shape of every weight that a config requires, by Hugging Face's name. */
export function expectedWeights(config: ModelConfig): Map<string, readonly number[]> {
  const { vocabSize: V, hiddenSize: D, intermediateSize: F, heads, kvHeads, headDim } = config;
  const [Q, KV] = [heads * headDim, kvHeads * headDim];
  const { projectionBias, headNorm } = architectureOf(config);
  const weights = new Map<string, readonly number[]>([[EMBEDDING, [V, D]]]);
  for (let n = 0; n < config.layers; n++) {
    const add = (name: string, shape: readonly number[]) => weights.set(`model.layers.${n}.${name}.weight`, shape);
    add('input_layernorm', [D]);
    for (const [part, rows] of [['q_proj', Q], ['k_proj', KV], ['v_proj', KV]] as const) {
      add(`self_attn.${part}`, [rows, D]);
      if (projectionBias) weights.set(`model.layers.${n}.self_attn.${part}.bias`, [rows]);
    }
    if (headNorm) for (const part of ['q_norm', 'k_norm']) add(`self_attn.${part}`, [headDim]);
    add('self_attn.o_proj', [D, Q]);
    if (config.nats.policy === 'nats') weights.set(scorerName(n), [3 * kvHeads, D]);
    add('post_attention_layernorm', [D]);
    add('mlp.gate_proj', [F, D]);
    add('mlp.up_proj', [F, D]);
    add('mlp.down_proj', [D, F]);
  }
  weights.set('model.norm.weight', [D]);
  if (!config.tieWordEmbeddings) weights.set(HEAD, [V, D]);
  return weights;
}

/** A tensor of a file or of an engine, as far as a config can contradict it. */
interface Shaped {
  readonly shape: readonly number[];
  /** The path of the file that holds it. */
  readonly path?: string;
}

/**
 * Refuses weights that are missing, have another shape, or do not belong to the config. A bias may be a table [1,M], as
 * engines hold it.
 */
export function checkWeights(config: ModelConfig, weights: ReadonlyMap<string, Shaped>): void {
  const expected = expectedWeights(config);
  const missing = [...expected.keys()].filter((name) => !weights.has(name));
  if (missing.length === 1 && missing[0] === HEAD) {
    throw new ConfigError(`config contradicts weights: '${HEAD}' is missing: set tie_word_embeddings to true if the head is the embedding, or use the config.json that belongs to these weights`);
  }
  if (missing.length > 0) {
    throw new ConfigError(`config contradicts weights: ${missing.length} weights are missing, first '${missing[0]}': use the config.json that belongs to these weights`);
  }
  for (const [name, { shape, path }] of weights) {
    const wanted = expected.get(name);
    const remedy = `use the config.json that belongs to ${path ?? 'these weights'}`;
    if (!wanted) {
      if (isSuperfluous(name, config)) continue;
      throw new ConfigError(`config contradicts weights: ${shown(name)} does not belong to this config: ${remedy}`);
    }
    if (String(shape) !== String(wanted)) throw new ConfigError(`config contradicts weights: '${name}' is [${shape}] but by the config it must be [${wanted}]: ${remedy}`);
  }
}

/** Whether a tensor, though some files hold it, is not needed because it follows from the config or other weights. */
export function isSuperfluous(name: string, config: ModelConfig): boolean {
  return /rotary_emb\.(inv_freq|cos_cached|sin_cached)$/.test(name) || (name === HEAD && config.tieWordEmbeddings);
}
