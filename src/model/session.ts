/**
 * A forward pass that remembers: several sequences, one evicting cache per layer, any split into steps.
 * @module
 */
import type { Cache, CacheStats, ChunkPool, Engine, Tensor } from '../engine.ts';
import { ShapeError, ValueError } from '../errors.ts';
import { chunkOf } from '../lifetime.ts';
import { checkCounts } from '../shape.ts';
import { Tape } from '../tape.ts';
import type { ModelConfig, Policy } from './config.ts';
import { finalNorm, headLogits, layerStates, type LayerInputs, type Weights, weightOf } from './decoder.ts';
import { linear, pickRows, splitHeads } from './layers.ts';
import { fixedType, lifetimeOptions } from './policy.ts';
import { checkRows, Watch } from './watch.ts';

/** How a session keeps its cache. */
export interface SessionOptions {
  /** Sequences served at once (default 1). */
  readonly batch?: number;
  /** What the cache keeps (default: what the model was trained with). */
  readonly policy?: Policy;
  /** Entries per allocation block (default 16). */
  readonly blockSize?: number;
}

/**
 * Which logits a step computes: those of all its tokens, those of the last token that each sequence took, or none.
 * What is not asked for costs nothing: the head is the largest product of a small model.
 */
export type LogitsWanted = 'all' | 'last' | 'none';

/** How to feed tokens. */
export interface StepOptions {
  /** Sequence b uses its first counts[b] tokens (default: all T). */
  readonly counts?: readonly number[];
  /** Called per layer with the types chosen, integer [batch,G,nc], before they are freed. */
  readonly onTypes?: (layer: number, types: Int32Array) => void;
  /** Which logits to compute (default 'all'). */
  readonly logits?: LogitsWanted;
}

/** Decoding state of `batch` sequences. Dispose it when done. */
export class Session {
  readonly engine: Engine;
  readonly policy: Policy;
  readonly batch: number;
  readonly #config: ModelConfig;
  readonly #weights: Weights;
  readonly #caches: Cache[];
  readonly #pools: ChunkPool[];
  readonly #seen: number[];
  /** Why no step can follow: some layers' caches took a step that the others did not. */
  #failure: unknown;

  constructor(engine: Engine, config: ModelConfig, weights: Weights, options: SessionOptions & { policy: Policy }) {
    const { batch = 1, policy, blockSize = 16 } = options;
    this.engine = engine;
    this.policy = policy;
    this.batch = batch;
    this.#config = config;
    this.#weights = weights;
    this.#seen = new Array<number>(batch).fill(0);
    const { kvHeads, headDim, hiddenSize } = config;
    const lifetimes = lifetimeOptions(policy, config);
    const perLayer = { length: config.layers };
    this.#caches = Array.from(perLayer, () => engine.createCache({ batch, kvHeads, headDim, blockSize, ...lifetimes }));
    this.#pools = lifetimes.chunk === 1
      ? []
      : Array.from(perLayer, () => engine.createChunkPool(batch, hiddenSize, lifetimes.chunk, config.nats.pooling));
  }

  /** Tokens each sequence has seen. */
  get lengths(): readonly number[] {
    return [...this.#seen];
  }

  /**
   * Feeds the next tokens and reads the logits that are wanted.
   *
   * @param ids Row-major [batch, T]; sequence b uses its first counts[b] (default T) tokens.
   * @param options.counts Tokens taken by each sequence, 0 to T (default: T).
   * @param options.onTypes Called per layer with the types chosen, integer [batch,G,nc], before they are freed.
   * @param options.logits 'all' (default), 'last' or 'none'.
   * @returns Logits, row-major. 'all': [batch, T, V], where rows beyond counts[b] mean nothing. 'last': [batch, V],
   *   row b that of token counts[b] - 1, to the bit on the reference; it means nothing where counts[b] is 0.
   *   'none': an empty array, once the step has been computed.
   * @throws {ShapeError} If the rows are of unequal length. @throws {ValueError} If counts or a token are out of range.
   * @throws {NumericError} If what was asked for holds NaN or an infinity; it says in which layer or weight that began.
   */
  async step(
    ids: ArrayLike<number>, { counts, onTypes, logits: wanted = 'all' }: StepOptions = {},
  ): Promise<Float64Array | Float32Array> {
    if (wanted !== 'all' && wanted !== 'last' && wanted !== 'none') {
      throw new ValueError(`logits is ${String(wanted)}: it must be 'all', 'last' or 'none'`);
    }
    const T = ids.length / this.batch;
    if (!Number.isInteger(T) || T < 1) {
      throw new ShapeError(`${ids.length} tokens for ${this.batch} sequences: pass a row of the same length, 1 or more, for each`);
    }
    const taken = checkCounts(counts, this.batch, T);
    const positions = Array.from({ length: this.batch * T }, (_, n) => this.#seen[Math.floor(n / T)]! + (n % T));
    if (this.#failure !== undefined) throw this.#failure as Error;
    const tape = new Tape(this.engine, false);
    const watch = new Watch(this.engine, this.#weights, taken);
    const chosen: Tensor[] = [];
    const reached = { layers: false, end: false };
    try {
      const tokens = tape.own(this.engine.integers(ids, [this.batch, T]));
      const x = layerStates(tape, this.#config, this.#weights, tokens, positions, (layer, inputs) => {
        reached.layers = true;
        watch.see(layer, inputs);
        const types = this.#types(tape, layer, inputs, T, taken);
        chosen.push(types);
        const cache = this.#caches[layer]!;
        cache.append(inputs.k, inputs.v, types, taken);
        const out = tape.own(cache.attend(inputs.q, 1 / Math.sqrt(this.#config.headDim)));
        cache.evict();
        watch.attended(layer, out);
        return out;
      });
      for (let b = 0; b < this.batch; b++) this.#seen[b] = this.#seen[b]! + taken[b]!;
      reached.end = true;
      if (onTypes) {
        for (const [layer, types] of chosen.entries()) onTypes(layer, await this.engine.readIntegers(types));
      }
      const rows = wanted === 'all' ? x : pickRows(tape, x, tape.own(this.engine.integers(lastRows(taken, T), [this.batch])));
      if (wanted === 'none') {
        // One row waits for all the work of the step, and fails where any of it failed.
        const read = await this.engine.read(rows);
        await checkRows('hidden states', read, 'last', { taken, T, positions }, watch);
        return read.subarray(0, 0);
      }
      const final = finalNorm(tape, this.#config, this.#weights, rows);
      const logits = await this.engine.read(headLogits(tape, this.#config, this.#weights, final));
      await checkRows('logits', logits, wanted, { taken, T, positions }, watch);
      return logits;
    } catch (error) {
      const known = await watch.explain(error);
      if (reached.layers && !reached.end) this.#failure = known;
      throw known;
    } finally {
      tape.dispose();
    }
  }

  /** Types of the chunks this step touches, [B,G,nc]: learned (no noise, §6) or fixed. */
  #types(tape: Tape, layer: number, { hidden }: LayerInputs, T: number, counts: readonly number[]): Tensor {
    const { chunk } = lifetimeOptions(this.policy, this.#config);
    const G = this.#config.kvHeads;
    const rows = Math.floor((T + chunk - 2) / chunk) + 1;
    const chunkAt = (b: number, row: number) => chunkOf(this.#seen[b]!, chunk) + row;
    const { policy } = this;
    if (policy.kind !== 'nats') {
      const fixed = Int32Array.from({ length: this.batch * G * rows }, (_, n) => {
        return fixedType(policy, chunkAt(Math.floor(n / (G * rows)), n % rows));
      });
      return tape.own(this.engine.integers(fixed, [this.batch, G, rows]));
    }
    const pooled = chunk === 1 ? hidden : tape.own(this.#pools[layer]!.push(hidden, counts));
    const scorer = weightOf(this.#weights, `model.layers.${layer}.self_attn.proj_layer.weight`);
    const scores = splitHeads(tape, linear(tape, pooled, scorer), G);
    const first = Int32Array.from({ length: this.batch * rows }, (_, n) => {
      return chunkAt(Math.floor(n / rows), n % rows) === 0 ? 1 : 0;
    });
    const forceGlobal = tape.own(this.engine.integers(first, [this.batch, rows]));
    const { types, probabilities } = this.engine.tokenTypes(scores, { temperature: 1, forceGlobal });
    tape.own(probabilities);
    return tape.own(types);
  }

  /** What each layer's cache holds and has served. */
  stats(): Promise<CacheStats[]> {
    return Promise.all(this.#caches.map((cache) => cache.stats()));
  }

  /** Frees the caches. Idempotent. */
  dispose(): void {
    for (const cache of this.#caches) cache.dispose();
    for (const pool of this.#pools) pool.dispose();
  }
}

/** The row of [batch * T] in which each sequence's last token stands; the first where it took none. */
function lastRows(taken: readonly number[], T: number): number[] {
  return taken.map((count, b) => b * T + Math.max(count - 1, 0));
}

/** Refuses a nats policy for a model that has no token-type scorer. */
export function checkPolicy(policy: Policy, config: ModelConfig, weights: { has(name: string): boolean }): void {
  if (policy.kind === 'nats' && !weights.has('model.layers.0.self_attn.proj_layer.weight')) {
    throw new ValueError(
      `the policy nats needs token-type scorers, but the model was made with '${config.nats.policy}' and has none: use full, window:W or streaming:S+W`,
    );
  }
}
