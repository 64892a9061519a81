/**
 * A forward pass with memory: several sequences, one evicting cache per layer, any split into steps.
 * @module
 */
import { list, numbers, of, oneOf, optional, record, wholeFrom } from '../../core/arguments.ts';
import type { CacheDtype } from '../../core/cache.ts';
import type { Cache, CacheStats, ChunkPool, Engine, Tensor } from '../../core/engine.ts';
import { DisposedError, ShapeError, ValueError } from '../../core/errors.ts';
import { expectKnown } from '../../core/known-options.ts';
import { checkCounts, expectWhole } from '../../core/shape.ts';
import { kindOf, type Policy } from '../../policies/index.ts';
import type { ModelConfig } from '../config/config.ts';
import type { Weights } from '../decoder.ts';
import { cacheRule, checkPolicy } from '../policy.ts';
import { expectLearnedRoom, expectStepRoom } from '../room.ts';
import { type AheadOf, Flight, greedyAhead } from './flight.ts';
import { Recording } from './recording.ts';
import { type Pass, readLogits, readNextTokens } from './results.ts';
import { decodeSession, encodeSession, MAX_BLOCK } from './session-file.ts';
import type { SessionModel, SessionOptions, StepOptions } from './session-options.ts';
import { expectScorers } from './step-types.ts';

/** The state that a new session takes over from another one. */
type Inherited = Readonly<{ caches: Cache[]; pools: ChunkPool[]; tokens: number[][] }>;

/** Decoding ahead in a session, step by step. */
export let flightOf: (session: Session) => Flight;

/**
 * The decoding state of `batch` sequences. Dispose of it when done.
 *
 * @example
 * ```ts
 * import { loadModel } from 'neural-attention-search';
 * const model = await loadModel('models/nats');
 * const session = model.session();
 * await session.step(model.tokenizer.encode('We the people'), { logits: 'none' });
 * const other = session.fork(); // each continues from here on its own
 * const file = await session.snapshot(); // bytes to keep
 * const again = await model.restore(file);
 * console.log(other.lengths, again.lengths); // [13] [13]
 * for (const each of [session, other, again]) each.dispose();
 * model.dispose();
 * ```
 */
export class Session {
  readonly engine: Engine;
  readonly policy: Policy;
  readonly batch: number;
  readonly blockSize: number;
  /** The dtype of keys and values that was asked for. */
  readonly cache: CacheDtype | undefined;
  readonly #model: SessionModel;
  readonly #config: ModelConfig;
  readonly #weights: Weights;
  readonly #caches: Cache[];
  readonly #pools: ChunkPool[];
  /** The ids that each sequence has read. */
  readonly #tokens: number[][];
  /** Why no further step is possible: the caches of some layers took a step that the others did not. */
  #failure: unknown;
  #disposed = false;

  constructor(model: SessionModel, options: SessionOptions & { policy: Policy }, inherited?: Inherited) {
    const { batch = 1, policy, blockSize = 16, cache } = options;
    const { engine, config, weights } = model;
    expectWhole('batch', batch, 1, 2 ** 20);
    expectWhole('blockSize', blockSize, 1);
    if (blockSize > MAX_BLOCK) throw new ValueError(`blockSize is ${blockSize}: it must be at most ${MAX_BLOCK}, since every head takes at least one block`);
    this.engine = engine;
    this.policy = policy;
    this.batch = batch;
    this.blockSize = blockSize;
    this.cache = cache;
    this.#model = model;
    this.#config = config;
    this.#weights = weights;
    const { kvHeads, headDim, hiddenSize } = config;
    const rule = cacheRule(policy, config);
    const [chunk, perLayer] = ['mass' in rule ? 1 : rule.chunk, { length: config.layers }];
    const storage = cache !== undefined && { storage: cache };
    this.#tokens = inherited?.tokens ?? Array.from({ length: batch }, () => []);
    this.#caches = inherited?.caches ??
      Array.from(perLayer, () => engine.createCache({ batch, kvHeads, headDim, blockSize, ...storage, ...rule }));
    this.#pools = inherited?.pools ?? (chunk === 1 ? [] :
      Array.from(perLayer, () => engine.createChunkPool(batch, hiddenSize, chunk, config.nats.pooling)));
  }

  /** The number of tokens that each sequence has seen. */
  get lengths(): readonly number[] {
    return this.#tokens.map((ids) => ids.length);
  }

  /** The ids that each sequence has read. */
  get tokens(): readonly Int32Array[] {
    return this.#tokens.map((ids) => Int32Array.from(ids));
  }

  /** Whether the session was made by this model. */
  isOf(model: Pick<SessionModel, 'weights'>): boolean {
    record()('model', model);
    return this.#weights === model.weights;
  }

  /**
   * Feeds the next tokens and reads the logits that are wanted.
   *
   * @param ids Row-major [batch, T]; sequence b uses its first counts[b] tokens.
   * @param options.counts The number of tokens taken by each sequence, 0 to T. Default: T.
   * @param options.onTypes Called for each layer with the types chosen, integers [batch,G,nc].
   * @param options.logits 'all' (default), 'last' or 'none'.
   * @returns Logits, row-major. 'all': [batch, T, V], where rows beyond counts[b] are undefined. 'last': [batch, V],
   *   where row b is that of token counts[b] - 1, with the same bits as under 'all' on the reference, and is undefined
   *   if counts[b] is 0. 'none': an empty array, once the step has been computed.
   * @throws {ShapeError} If the rows are of unequal length. @throws {ValueError} If counts or a token are out of range.
   * @throws {NumericError} If the result holds NaN or an infinity. It says in which layer or weight that began.
   */
  async step(
    ids: ArrayLike<number>, options: StepOptions = {},
  ): Promise<Float64Array | Float32Array> {
    expectKnown('step()', options, ['counts', 'onTypes', 'logits']);
    const { logits = 'all' } = options;
    oneOf('all', 'last', 'none')('logits', logits);
    return this.#feed(ids, { ...options, logits }, (pass) => readLogits(pass, logits));
  }

  /**
   * Feeds the next tokens, and finds the most likely token after them: one number is read back for each sequence.
   *
   * @param ids Row-major [batch, T]; sequence b uses its first counts[b] tokens.
   * @param options.counts The number of tokens taken by each sequence, 0 to T. Default: T.
   * @param options.onTypes Called for each layer with the types chosen, integers [batch,G,nc].
   * @returns For each sequence the token with the largest logit after the last token that it took, ties to the lowest;
   *   undefined for those that took none.
   * @throws The same errors as step().
   */
  async next(ids: ArrayLike<number>, options: Omit<StepOptions, 'logits'> = {}): Promise<Int32Array> {
    expectKnown('next()', options, ['counts', 'onTypes']);
    return this.#feed(ids, options, readNextTokens);
  }

  /**
   * Feeds `ids` [batch], then the most likely token after it, and so on, with several steps in flight, so that neither
   * host nor engine waits for the other.
   *
   * @param options.ahead How many steps, 1 or more, may be recorded before a token is read (default: 1). A caller that
   *   stops before `steps` are done finds that the session has read up to so many tokens more.
   * @returns The tokens that each step found, [batch]. @throws The same errors as step().
   */
  async *greedy(
    ids: ArrayLike<number>, options: { readonly steps: number; readonly ahead?: number },
  ): AsyncGenerator<Int32Array, void, undefined> {
    record({ steps: wholeFrom(0), ahead: optional(wholeFrom(1)) })('options', options);
    this.#expectRow(ids, 1);
    yield* greedyAhead(this.#ahead(), ids, options.steps, options.ahead ?? 1);
  }

  #ahead(): AheadOf {
    const begin: AheadOf['begin'] = (tokens, taken) => this.#begin(tokens, 1, taken);
    return { tokens: this.#tokens, begin, explain: (...one) => this.#explain(...one) };
  }
  static { flightOf = (session) => new Flight(session.#ahead()); }

  /** Runs the layers over the next tokens, and gives the pass to `read`. */
  async #feed<Result>(
    ids: ArrayLike<number>, options: StepOptions, read: (pass: Pass) => Promise<Result>,
  ): Promise<Result> {
    const T = this.#expectRow(ids);
    record({ counts: optional(list(wholeFrom(0))), onTypes: optional(of('function')) })('options', options);
    const { counts, onTypes, logits } = options;
    this.#assertSound();
    const recording = await this.#begin(ids, T, checkCounts(counts, this.batch, T), logits === 'all' ? T : 1);
    try {
      if (onTypes) {
        for (const [layer, types] of recording.chosen.entries()) onTypes(layer, await this.engine.readIntegers(types));
      }
      return await read(recording.pass);
    } catch (error) {
      throw await this.#explain(recording, error);
    } finally {
      recording.dispose();
    }
  }

  #expectRow(ids: ArrayLike<number>, only?: 1): number {
    numbers(true)('ids', ids);
    const T = only ?? ids.length / this.batch;
    if (Number.isInteger(T) && T >= 1 && ids.length === T * this.batch) return T;
    throw new ShapeError(`${ids.length} tokens for ${this.batch} sequences: pass a row of the same length, 1 or more, for each`);
  }

  /** Records a pass over tokens [batch,T]; the numbers of those of a tensor are not known yet. */
  async #begin(ids: ArrayLike<number> | Tensor, T: number, taken: readonly number[], rows = 1): Promise<Recording> {
    this.#assertSound();
    expectStepRoom(this, this.#config, T, Math.max(...taken), rows);
    const { learned, ranks } = kindOf(this.policy);
    if (learned || ranks) await expectScorers(this.engine, this.#weights, this.#config.layers);
    if (learned) await expectLearnedRoom(this, this.#config, taken);
    const { policy, lengths: seen } = this; // as they are now
    const recording = new Recording(this.#model, seen, T, taken);
    try {
      recording.run(ids, { policy, seen, caches: this.#caches, pools: this.#pools });
    } catch (error) {
      const known = await this.#explain(recording, error);
      recording.dispose();
      throw known;
    }
    for (const [b, count] of taken.entries()) {
      for (let t = 0; t < count; t++) this.#tokens[b].push('kind' in ids ? NaN : ids[b * T + t]);
    }
    return recording;
  }

  /** Says where an error comes from. If only some layers took the tokens, the session is of no use any more. */
  async #explain({ watch, reached }: Recording, error: unknown): Promise<unknown> {
    const known = await watch.explain(error);
    if (reached.layers && !reached.end) this.#failure = known;
    return known;
  }

  /** The statistics of each layer's cache. */
  async stats(): Promise<CacheStats[]> {
    this.#assertSound();
    return Promise.all(this.#caches.map((cache) => cache.stats()));
  }

  get #options(): SessionOptions & { policy: Policy; blockSize: number } {
    const { batch, policy, blockSize, cache } = this;
    return { batch, policy, blockSize, ...(cache && { cache }) };
  }

  /**
   * An independent copy of the session, which gives the same results bit for bit.
   *
   * @throws {DisposedError} If this one was disposed of.
   */
  fork(): Session {
    this.#assertSound();
    return new Session(this.#model, this.#options, {
      caches: this.#caches.map((cache) => cache.fork()),
      pools: this.#pools.map((pool) => pool.fork()),
      tokens: this.#tokens.map((ids) => [...ids]),
    });
  }

  /**
   * The session as a file. `model.restore()` makes a session from it, in this runtime or in another, that continues
   * with the same bits if engine and runtime are the same, and otherwise within their accuracy. The first snapshot of a
   * model hashes its weights.
   *
   * @returns The bytes of a safetensors file, some hundred bytes for each entry that the caches hold.
   * @throws {NumericError} If a cache holds NaN or an infinity.
   * @throws {DisposedError} If the session was disposed of.
   */
  async snapshot(): Promise<Uint8Array> {
    this.#assertSound();
    const tokens = this.tokens;
    const parts = Promise.all([
      Promise.all(this.#caches.map((cache) => cache.snapshot())),
      Promise.all(this.#pools.map((pool) => pool.snapshot())),
    ]);
    const [[caches, pools], model] = await Promise.all([parts, this.#model.hash()]);
    return encodeSession({ ...this.#options, tokens, caches, pools }, model, this.engine.name);
  }

  /** Restores a session from a snapshot, after checking every number. */
  static async restore(model: SessionModel, bytes: Uint8Array): Promise<Session> {
    const { caches, pools, tokens, cache, ...options } = await decodeSession(bytes, model.config, () => model.hash());
    checkPolicy(options.policy, model.config, model.weights);
    // Another engine may not store this dtype. Then it keeps the numbers in its own.
    const stored = cache && model.engine.stores.cache.includes(cache) && { cache };
    const session = new Session(model, { ...options, ...stored, batch: tokens.length });
    try {
      for (const [n, cache] of caches.entries()) session.#caches[n].restore(cache);
      for (const [n, pool] of pools.entries()) session.#pools[n].restore(pool);
      for (const [b, ids] of tokens.entries()) session.#tokens[b] = Array.from(ids);
      await session.stats(); // a device may report only now that it lacks the memory
      return session;
    } catch (error) {
      session.dispose();
      throw error;
    }
  }

  #assertSound(): void {
    if (this.#disposed) throw new DisposedError('a session was used after dispose(): make a new one, or fork() it before');
    if (this.#failure !== undefined) throw this.#failure as Error;
  }

  /** Frees the caches. It may be called again. */
  dispose(): void {
    this.#disposed = true;
    for (const cache of this.#caches) cache.dispose();
    for (const pool of this.#pools) pool.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
