/**
 * What a model takes before any of its weights is there: from its config alone, by the formulas of the engines.
 * @module
 */
import { list, of, optional, record, wholeFrom } from '../core/arguments.ts';
import { ValueError } from '../core/errors.ts';
import { expectWhole } from '../core/shape.ts';
import { sizeOf } from '../core/tensor.ts';
import { formatPolicy, kindOf, type Policy } from '../policies/index.ts';
import { expectedWeights, type ModelConfig } from './config/config.ts';
import { cacheEntries, type KeptShares, longestContext, mostEntries } from './plan-cache.ts';

/** How an engine holds numbers: the reference computes in float64 and holds matrices in float32, gpu.js float32 all. */
export type PlannedEngine = 'reference' | 'gpu';

/** What a plan is made for. */
export interface PlanOptions {
  /** Policies to compare (default: the model's own, full, and a window). */
  readonly policies?: readonly Policy[];
  /** Lengths of text, in tokens (default 4096, 32768 and 131072). */
  readonly contexts?: readonly number[];
  /** Share of the cache that learned types keep, over all layers or of each; see PolicyPlan.assumed. */
  readonly kept?: KeptShares;
  readonly engine?: PlannedEngine;
  /** Sequences at once (default 1). */
  readonly batch?: number;
  /** Tokens of a prompt that are fed at once (default 64). */
  readonly prefillStep?: number;
  /** Entries per allocation block (default 16). */
  readonly blockSize?: number;
  /** Bytes of memory that there are for all of it (default: no limit). */
  readonly memory?: number;
  /** The most bytes that one tensor may have, and what sets that limit (default: none). */
  readonly tensor?: { readonly bytes: number; readonly name: string };
  /** Bytes of a stored number, by dtype (default 4: float32). */
  readonly storedBytes?: number;
}

/** One policy of a plan. */
export interface PolicyPlan {
  readonly policy: string;
  /** By context, in the order asked for: entries and bytes of the cache once the text is read. */
  readonly caches: readonly {
    readonly tokens: number;
    readonly entries: number;
    readonly bytes: number;
    /** Weights, cache and step together, while the last part of the text is read. */
    readonly total: number;
    /** What it does not fit, if there is such a limit. */
    readonly exceeds: string | undefined;
  }[];
  /** The longest text that fits, in tokens, and the limit that it meets: positions, where the cache stops growing. */
  readonly longest: { readonly tokens: number; readonly limit: string | undefined };
}

/** What a model takes. */
export interface MemoryPlan {
  readonly parameters: number;
  /** Bytes of its files. */
  readonly stored: number;
  /** Bytes of the weights on the engine. */
  readonly weights: number;
  /** The largest weight: while weights are read, it is there twice. */
  readonly largest: { readonly name: string; readonly bytes: number };
  /** Bytes of one entry of the cache, and of a token over all layers and heads if all of it is kept. */
  readonly entryBytes: number;
  readonly tokenBytes: number;
  /** Bytes that one step of a prompt takes besides weights and cache, and is done with afterwards. */
  readonly step: number;
  /** Why the weights alone do not fit, if they do not. */
  readonly exceeds: string | undefined;
  readonly policies: readonly PolicyPlan[];
}

/** Where nothing says which W a window is to have. */
const USUAL_WINDOW = 256;
/** float32 counts positions up to here. */
const GPU_TOKENS = 2 ** 24;
const HOST_TOKENS = 2 ** 31 - 2;
/** What ends a text that no memory ends. */
export const POSITIONS: Readonly<Record<PlannedEngine, string>> = {
  reference: 'positions of 32 bits', gpu: 'positions that float32 counts',
};

/**
 * Plans memory: weights, cache and a step's activations, and the longest context that fits.
 *
 * @param config The model's, with an adapter's types if it has one.
 * @returns Bytes, as the engines allocate them: of weights and cache to the byte, of a step without what is gone
 *   before the next operation.
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
  record({
    vocabSize: wholeFrom(1), hiddenSize: wholeFrom(1), intermediateSize: wholeFrom(1), layers: wholeFrom(1, 10_000),
    heads: wholeFrom(1), kvHeads: wholeFrom(1), headDim: wholeFrom(1), nats: record({ policy: of('string') }),
  })('config', config);
  record({ engine: optional(of('string')), contexts: optional(list(wholeFrom(1))) })('options', options);
  const { engine = 'reference', batch = 1, prefillStep = 64, blockSize = 16, contexts = [4096, 32_768, 131_072] } = options;
  for (const [name, value] of Object.entries({ batch, prefillStep, blockSize })) expectWhole(name, value, 1);
  for (const context of contexts) expectWhole('a context', context, 1);
  const number = engine === 'reference' ? 8 : 4;
  const shapes = [...expectedWeights(config)];
  const parameters = shapes.reduce((sum, [, shape]) => sum + sizeOf(shape), 0);
  const { storedBytes = 4 } = options;
  const held = shapes.map(([name, shape]) => ({ name, bytes: sizeOf(shape) * heldBytes(engine, name, storedBytes) }));
  const weights = held.reduce((sum, { bytes }) => sum + bytes, 0);
  const largest = held.reduce((most, each) => (each.bytes > most.bytes ? each : most));
  const entryBytes = 2 * config.headDim * number + 9; // position, last and type
  const heads = batch * config.kvHeads;
  const step = stepNumbers(config, batch, prefillStep) * number;
  const limits = {
    memory: options.memory ?? Infinity,
    // The keys of a layer are one tensor on a device; on the reference every block is one of its own.
    entries: engine === 'gpu' && options.tensor
      ? Math.floor(options.tensor.bytes / (4 * config.headDim * blockSize)) * blockSize : Infinity,
    tensorName: options.tensor?.name ?? '',
    tokens: engine === 'gpu' ? GPU_TOKENS : HOST_TOKENS,
  };
  const exceeds = options.tensor && largest.bytes > options.tensor.bytes ? options.tensor.name
    : weights + Math.max(largest.bytes, step) > limits.memory ? 'memory' : undefined;
  const policies = (options.policies ?? usualPolicies(config)).map((policy): PolicyPlan => {
    if (kindOf(policy).learned && options.kept === undefined) {
      throw new ValueError('kept was not given: what learned types keep is measured, so pass the share (0 to 1)');
    }
    // While a step is read, its own tokens are all there.
    const mostAt = (tokens: number): number[] =>
      mostEntries(config, policy, tokens, options.kept).map((each) => Math.min(each + prefillStep, tokens));
    const bytesOf = (perHead: readonly number[]): number =>
      perHead.reduce((sum, each) => sum + Math.ceil(each / blockSize), 0) * blockSize * heads * entryBytes;
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
  return { parameters, stored, weights, largest, entryBytes, tokenBytes, step, exceeds, policies };
}

/** What is compared where nothing is asked for. */
export function usualPolicies(config: ModelConfig): Policy[] {
  const window = Math.min(config.nats.window || USUAL_WINDOW, (config.slidingWindow ?? Infinity) - 1);
  const own: Policy[] = config.nats.policy === 'nats' ? [{ kind: 'nats' }] : [];
  return [{ kind: 'full' }, { kind: 'window', window }, ...own];
}

/** Bytes of a weight's number: the reference widens a norm's, and what is stored narrow becomes float32. */
function heldBytes(engine: PlannedEngine, name: string, stored: number): number {
  return engine === 'reference' && (stored === 8 || name.endsWith('norm.weight')) ? 8 : 4;
}

/** A pool on a device doubles when it is full: at the most, it has twice the blocks that are used. */
function poolFactor(engine: PlannedEngine): number {
  return engine === 'gpu' ? 2 : 1;
}

/**
 * The most numbers that a step of T tokens holds at once. Of every layer its input, queries, keys, values and what was
 * attended stay until the step is over, so that a number that is none can be traced; the widest moment of a layer
 * comes on top, which is its feed-forward part or the head.
 */
function stepNumbers(config: ModelConfig, batch: number, T: number): number {
  const { hiddenSize: D, intermediateSize: F, headDim: d, vocabSize: V } = config;
  const [Q, KV, rows] = [config.heads * d, config.kvHeads * d, batch * T];
  const scores = config.nats.policy === 'nats' ? 9 * config.kvHeads : 0; // twice, and what is made of them
  const kept = rows * (D + 2 * Q + 2 * KV + scores);
  // Attended heads, the norm, gate, up, and their product; or the last rows, their norm and logits, and what is read.
  const widest = Math.max(rows * (Q + D + 3 * F), 2 * batch * (D + V));
  return config.layers * kept + widest + rows * (D + d); // the residual stream, and the rotary tables
}
