/**
 * How much memory a model takes, from its config alone, by the formulas of the engines.
 * @module
 */
import { CACHE_BYTES, type CacheDtype, entryBytes as bytesOfEntry, massEntryBytes } from '../core/cache.ts';
import { expectCacheDtype } from '../core/checks.ts';
import type { Stores } from '../core/engine.ts';
import { type Expected, list, of, oneOf, optional, record, share, wholeFrom } from '../core/arguments.ts';
import { fail } from '../core/described.ts';
import { ValueError } from '../core/errors.ts';
import { GPU_PREFILL_STEP, PREFILL_STEP } from '../core/prefill.ts';
import { expectKnown } from '../core/known-options.ts';
import { WEIGHT_BYTES } from '../core/stored.ts';
import { sizeOf } from '../core/tensor.ts';
import { expectPolicy, formatPolicy, kindOf, type Policy } from '../policies/index.ts';
import { expectedWeights, type ModelConfig } from './config/config.ts';
import { expectConfig } from './config/expect-config.ts';
import { cacheEntries, type KeptShares, longestContext, mostEntries } from './plan-cache.ts';
import { cacheRule } from './policy.ts';

/** How an engine computes: the reference in float64, WebAssembly and engines on a GPU in float32. */
export type PlannedEngine = 'reference' | 'wasm' | 'gpu';

/** Options of planMemory(). */
export interface PlanOptions {
  /** The policies to compare. Default: full, a window, and the model's own if it is learned. */
  readonly policies?: readonly Policy[];
  /** The lengths of text to plan for, in tokens. Default: 4096, 32768 and 131072. */
  readonly contexts?: readonly number[];
  /** Share of the cache that learned types keep, over all layers or of each; see PolicyPlan.assumed. */
  readonly kept?: KeptShares;
  readonly engine?: PlannedEngine;
  /** In which dtypes the engine stores numbers, as it says itself. Default: those of this package's engine. */
  readonly stores?: Stores;
  /** The dtype of keys and values in the cache. Default: the first in `stores.cache`. */
  readonly cache?: CacheDtype;
  /** The number of sequences processed at once. Default: 1. */
  readonly batch?: number;
  /** How many tokens of a prompt are fed at once. Default: 64 on a CPU, 1,024 on a GPU. */
  readonly prefillStep?: number;
  /** Entries per allocation block. Default: 16. */
  readonly blockSize?: number;
  /** The bytes of memory available for everything. Default: no limit. */
  readonly memory?: number;
  /** The most bytes that one tensor may have, and what sets that limit. Default: no limit. */
  readonly tensor?: { readonly bytes: number; readonly name: string };
  /** The bytes of a stored number. Default: 4, as for float32. */
  readonly storedBytes?: number;
}

const OPTIONS = [
  'policies', 'contexts', 'kept', 'engine', 'stores', 'cache', 'batch', 'prefillStep', 'blockSize', 'memory', 'tensor',
  'storedBytes',
] as const satisfies readonly (keyof PlanOptions)[];

/** Expects a number of bytes, which may be fractional or infinite. */
const bytes: Expected = (name, value) => {
  if (typeof value !== 'number' || !(value > 0)) fail(name, value, 'a number above 0');
};

/** One policy of a plan. */
export interface PolicyPlan {
  readonly policy: string;
  /** For each context, in the order given: the entries and bytes of the cache after reading the text. */
  readonly caches: readonly {
    readonly tokens: number;
    readonly entries: number;
    readonly bytes: number;
    /** The bytes of weights, cache and step together, while the last part of the text is read. */
    readonly total: number;
    /** The limit that it exceeds, if any. */
    readonly exceeds: string | undefined;
  }[];
  /** The longest text that fits, in tokens, and the limit it meets, which is positions if the cache stops growing. */
  readonly longest: { readonly tokens: number; readonly limit: string | undefined };
}

/** How much memory a model takes. */
export interface MemoryPlan {
  readonly parameters: number;
  /** The bytes of its files. */
  readonly stored: number;
  /** The bytes of the weights on the engine. */
  readonly weights: number;
  /** The largest weight, which is in memory twice while it is read. */
  readonly largest: { readonly name: string; readonly bytes: number };
  /** The dtype of keys and values in the cache. */
  readonly cache: CacheDtype;
  /** Bytes of one entry of the cache, and of a token over all layers and heads if all of it is kept. */
  readonly entryBytes: number;
  readonly tokenBytes: number;
  /** The bytes that one step of a prompt takes temporarily, besides weights and cache. */
  readonly step: number;
  /** The limit that the weights alone exceed, if any. */
  readonly exceeds: string | undefined;
  readonly policies: readonly PolicyPlan[];
}

/** The W of a window if nothing else determines it. */
const USUAL_WINDOW = 256;
/** The number up to which float32 can count positions. */
const GPU_TOKENS = 2 ** 24;
const HOST_TOKENS = 2 ** 31 - 2;
/** The limit on a text for which memory suffices. */
export const POSITIONS: Readonly<Record<PlannedEngine, string>> = {
  reference: 'positions of 32 bits', wasm: 'positions of 32 bits', gpu: 'positions that float32 counts',
};

/**
 * Plans the memory of weights, cache and the activations of a step, and finds the longest context that fits.
 *
 * @param config The config of the model, including an adapter's types if there is an adapter.
 * @returns The bytes that the engines allocate: exactly for weights and cache; for a step, without tensors that are
 *   freed before the next operation.
 * @throws {ValueError} If an option is out of range, or learned types are planned without `kept`.
 * @example
 * ```ts
 * import { parseConfig, planMemory } from 'neural-attention-search';
 * const config = parseConfig({
 *   model_type: 'llama', vocab_size: 32000, hidden_size: 2048, intermediate_size: 5632, num_hidden_layers: 22,
 *   num_attention_heads: 32, num_key_value_heads: 4, max_position_embeddings: 2048,
 * });
 * const { parameters, policies } = planMemory(config, { memory: 8 * 2 ** 30, contexts: [2048] });
 * console.log(parameters, policies[0]!.policy, policies[0]!.caches[0]!.bytes); // 1100048384 full 186171392
 * ```
 */
export function planMemory(config: ModelConfig, options: PlanOptions = {}): MemoryPlan {
  expectConfig('config', config);
  expectKnown('planMemory()', options, OPTIONS);
  const size = wholeFrom(1);
  record({
    engine: optional(oneOf('reference', 'wasm', 'gpu')), stores: optional(record({
      weights: list(oneOf(...Object.keys(WEIGHT_BYTES))), cache: list(expectCacheDtype),
    })),
    cache: optional(expectCacheDtype), contexts: optional(list(size)), policies: optional(list(expectPolicy)),
    kept: optional((name, value) => (Array.isArray(value) ? list(share) : share)(name, value)), batch: optional(size),
    prefillStep: optional(size), blockSize: optional(size), memory: optional(bytes),
    tensor: optional(record({ bytes, name: of('string') })), storedBytes: optional(bytes),
  })('options', options);
  const { engine = 'reference', batch = 1, blockSize = 16, contexts = [4096, 32_768, 131_072] } = options;
  const { prefillStep = engine === 'gpu' ? GPU_PREFILL_STEP : PREFILL_STEP } = options;
  const { stores = STORES[engine] } = options;
  const { cache = stores.cache[0] } = options;
  if (!stores.cache.includes(cache)) throw new ValueError(`cache is ${cache}, but this engine stores keys and values as ${stores.cache.join(' or ')}: choose one of these, or leave it out`);
  const number = engine === 'reference' ? 8 : 4;
  const shapes = [...expectedWeights(config)];
  const parameters = shapes.reduce((sum, [, shape]) => sum + sizeOf(shape), 0);
  const { storedBytes = 4 } = options;
  const held = shapes.map(([name, shape]) => {
    return { name, bytes: sizeOf(shape) * heldBytes(engine, stores, name, storedBytes) };
  });
  const weights = held.reduce((sum, { bytes }) => sum + bytes, 0);
  const largest = held.reduce((most, each) => (each.bytes > most.bytes ? each : most));
  const entryBytes = bytesOfEntry(config.headDim, cache);
  const heads = batch * config.kvHeads;
  /** The bytes of an entry under a policy. Under a budget it has no type, but scores. */
  const entryBytesOf = (policy: Policy): number => {
    const rule = cacheRule(policy, config);
    return 'mass' in rule ? massEntryBytes({ ...rule, headDim: config.headDim }, cache, number) : entryBytes;
  };
  const step = stepNumbers(config, batch, prefillStep) * number;
  const limits = {
    // A module of WebAssembly has addresses of 32 bits.
    memory: Math.min(options.memory ?? Infinity, engine === 'wasm' ? 2 ** 32 : Infinity),
    // The keys of a layer are one tensor on a device; on the reference every block is one of its own.
    entries: engine === 'gpu' && options.tensor
      ? Math.floor(options.tensor.bytes / (CACHE_BYTES[cache] * config.headDim * blockSize)) * blockSize : Infinity,
    tensorName: options.tensor?.name ?? '',
    tokens: engine === 'gpu' ? GPU_TOKENS : HOST_TOKENS,
  };
  const exceeds = options.tensor && largest.bytes > options.tensor.bytes ? options.tensor.name
    : weights + Math.max(largest.bytes, step) > limits.memory ? 'memory' : undefined;
  const policies = (options.policies ?? usualPolicies(config)).map((policy): PolicyPlan => {
    if (kindOf(policy).learned && options.kept === undefined) {
      throw new ValueError('kept was not given: what learned types keep is measured, so pass the share (0 to 1)');
    }
    // During a step, the cache holds all of the step's own tokens too.
    const mostAt = (tokens: number): number[] =>
      mostEntries(config, policy, tokens, options.kept).map((each) => Math.min(each + prefillStep, tokens));
    const bytesOf = (perHead: readonly number[]): number =>
      perHead.reduce((sum, each) => sum + Math.ceil(each / blockSize), 0) * blockSize * heads * entryBytesOf(policy);
    const totalAt = (tokens: number): number =>
      weights + Math.max(largest.bytes, step + bytesOf(mostAt(tokens)) * poolFactor(engine));
    const exceededAt = (tokens: number): string | undefined => {
      if (exceeds !== undefined) return exceeds;
      if (tokens > limits.tokens) return POSITIONS[engine];
      const most = Math.max(...mostAt(tokens));
      if (Math.ceil(most / blockSize) * blockSize * heads > limits.entries) return limits.tensorName;
      return totalAt(tokens) > limits.memory ? 'memory' : undefined;
    };
    return {
      policy: formatPolicy(policy),
      caches: contexts.map((tokens) => {
        const perHead = cacheEntries(config, policy, tokens, options.kept);
        const entries = perHead.reduce((sum, each) => sum + each, 0) * heads;
        return { tokens, entries, bytes: bytesOf(perHead), total: totalAt(tokens), exceeds: exceededAt(tokens) };
      }),
      longest: longestContext(exceededAt, limits.tokens),
    };
  });
  const tokenBytes = config.layers * config.kvHeads * entryBytes;
  const stored = parameters * storedBytes;
  return { parameters, stored, weights, largest, cache, entryBytes, tokenBytes, step, exceeds, policies };
}

/** The policies to compare by default. */
export function usualPolicies(config: ModelConfig): Policy[] {
  const window = Math.min(config.nats.window || USUAL_WINDOW, (config.slidingWindow ?? Infinity) - 1);
  const own: Policy[] = config.nats.policy === 'nats' ? [{ kind: 'nats' }] : [];
  return [{ kind: 'full' }, { kind: 'window', window }, ...own];
}

/** What the engines of this package store. */
const STORES: Readonly<Record<PlannedEngine, Stores>> = {
  reference: { weights: ['f64', 'f32'], cache: ['f64', 'f32', 'f16'] },
  wasm: { weights: ['f32', 'f16', 'bf16'], cache: ['f32', 'f16'] }, gpu: { weights: ['f32'], cache: ['f32'] },
};

/** The bytes of one number of a weight. The reference widens norms and biases for good. */
function heldBytes(engine: PlannedEngine, { weights }: Stores, name: string, stored: number): number {
  if (engine === 'reference' && /(norm\.weight|\.bias)$/.test(name)) return 8;
  const sizes = weights.map((dtype) => WEIGHT_BYTES[dtype]);
  const wide = sizes.filter((size) => size >= stored);
  return wide.length > 0 ? Math.min(...wide) : Math.max(...sizes);
}

/** A pool on a device doubles when it is full, so it has at most twice as many blocks as are used. */
function poolFactor(engine: PlannedEngine): number {
  return engine === 'gpu' ? 2 : 1;
}

/**
 * The most numbers that a step of T tokens holds at once. The input, queries, keys, values and attention output of
 * every layer stay until the step is over, so that NaN can be traced. In addition comes the largest amount at any
 * moment within a layer, which is in its feed-forward part or the head.
 */
function stepNumbers(config: ModelConfig, batch: number, T: number): number {
  const { hiddenSize: D, intermediateSize: F, headDim: d, vocabSize: V } = config;
  const [Q, KV, rows] = [config.heads * d, config.kvHeads * d, batch * T];
  const scores = config.nats.policy === 'nats' ? 9 * config.kvHeads : 0; // the scores twice, and the probabilities
  const kept = rows * (D + 2 * Q + 2 * KV + scores);
  // Merged heads, the norm, gate, up, and their product; or the last rows, their norm and logits, and their copies.
  const widest = Math.max(rows * (Q + D + 3 * F), 2 * batch * (D + V));
  return config.layers * kept + widest + rows * (D + d); // the residual stream, and the rotary tables
}
