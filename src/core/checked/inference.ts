/**
 * An engine of the contract, made from raw kernels: every call is checked and its sizes are worked out here, and the
 * kernels compute it.
 * @module
 */
import { type Expected, finite, numbers, of, oneOf, optional, record, shape as sizes, wholeFrom } from '../arguments.ts';
import type { Cache, CacheDtype, CacheOptions, ChunkPool, MassCacheOptions } from '../cache.ts';
import { checkCacheOptions, checkIds, expectCacheDtype, checkPooling, checkRows } from '../checks.ts';
import { fail } from '../described.ts';
import type { AttentionInputs, Engine, Pooling, Stores, TokenTypesOptions } from '../engine.ts';
import { ShapeError, UnsupportedError } from '../errors.ts';
import type { Forms } from '../forms.ts';
import type { Kernels } from '../kernels.ts';
import { CACHE_OPTIONS, expectKnown, TYPE_OPTIONS } from '../known-options.ts';
import { chunkCount, type LifetimeOptions } from '../lifetime.ts';
import { attentionSizes, checkTypeValues, expectPositive, expectRank, expectShape, typesSizes } from '../shape.ts';
import {
  embeddingSizes, headSizes, linearSizes, normSizes, ropeSizes, rowSizes, sameSizes, scoresSizes, splitSizes,
} from '../sizes.ts';
import { massOf } from '../mass-checks.ts';
import { WEIGHT_BYTES } from '../stored.ts';
import { expectElements, type FloatArray, type Shaped, sizeOf, type Tensor, type WeightDtype } from '../tensor.ts';
import { CheckedCache } from './cache.ts';
import { checkedForms } from './forms.ts';
import { Handles } from './handles.ts';
import { CheckedPool } from './pool.ts';

/** Expects a size that is not part of a shape, such as a number of heads or a vocabulary. */
export const expectSize: Expected = (name, value) => wholeFrom(1, 2 ** 31 - 1)(name, value);

/** Expects W, C, the second window and the reach to be numbers. Their ranges are checked later. */
export const expectLifetimes: Expected = (name, value) =>
  record({ window: finite, chunk: finite, localWindow: optional(finite), reach: optional(finite) })(name, value);

/** Checked inference. */
export class CheckedEngine<A extends Shaped> implements Engine {
  readonly name: string;
  readonly precision: Engine['precision'];
  readonly stores: Stores;
  readonly forms?: Partial<Forms>;
  readonly prefillStep?: number;
  readonly limits?: NonNullable<Engine['limits']>;
  protected readonly on: Handles<A>;
  readonly #kernels: Kernels<A>;

  constructor(kernels: Kernels<A>) {
    this.#kernels = kernels;
    this.on = new Handles(kernels);
    this.name = kernels.name;
    this.precision = kernels.precision;
    this.stores = kernels.stores;
    if (kernels.prefillStep !== undefined) this.prefillStep = kernels.prefillStep;
    if (kernels.limits) this.limits = kernels.limits;
    if (kernels.forms) this.forms = checkedForms(this.on, kernels.forms);
  }

  dispose(): void {
    this.on.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  // ---- data -------------------------------------------------------------------------------------
  tensor(data: ArrayLike<number>, shape: readonly number[]): Tensor {
    numbers()('data', data);
    expectElements('the array', data, shape);
    return this.on.real('tensor', () => this.#kernels.tensor(data, [...shape]));
  }
  weight(bytes: Uint8Array, dtype: WeightDtype, shape: readonly number[]): Tensor {
    if (!(bytes instanceof Uint8Array)) fail('bytes', bytes, 'a Uint8Array');
    oneOf(...Object.keys(WEIGHT_BYTES))('dtype', dtype);
    expectElements(`the weight of ${bytes.length} bytes`, { length: bytes.length / WEIGHT_BYTES[dtype] }, shape);
    return this.on.real('weight', () => this.#kernels.weight(bytes, dtype, [...shape]));
  }
  integers(data: ArrayLike<number>, shape: readonly number[]): Tensor {
    numbers(true)('data', data);
    expectElements('the array', data, shape);
    return this.on.wholeOf(this.on.run('integers', () => this.#kernels.integers(new Int32Array(data), [...shape])));
  }
  zeros(shape: readonly number[]): Tensor {
    sizes('shape', shape);
    return this.on.real('zeros', () => this.#kernels.zeros([...shape]));
  }
  async read(tensor: Tensor): Promise<FloatArray> {
    const x = this.on.float('tensor', tensor);
    return this.on.run('read', () => this.#kernels.read(x));
  }
  async readIntegers(tensor: Tensor): Promise<Int32Array> {
    const x = this.on.integer('tensor', tensor);
    return this.on.run('readIntegers', () => this.#kernels.readIntegers(x));
  }

  // ---- layers -----------------------------------------------------------------------------------
  add(a: Tensor, b: Tensor): Tensor {
    const [x, y] = [this.on.float('a', a), this.on.float('b', b)];
    const same = sameSizes('b', y, x, 'add takes equal shapes');
    return this.on.real('add', () => this.#kernels.add(x, y, same));
  }
  embedding(weight: Tensor, ids: Tensor): Tensor {
    const [table, list] = [this.on.float('weight', weight), this.on.integer('ids', ids)];
    const sized = embeddingSizes(table, list);
    this.on.values(list, (values) => checkIds(values, sized.V));
    return this.on.real('embedding', () => this.#kernels.embedding(table, list, sized));
  }
  pickRows(x: Tensor, rows: Tensor): Tensor {
    const [table, list] = [this.on.float('x', x), this.on.integer('rows', rows)];
    const { rows: most, D } = rowSizes(table);
    this.on.values(list, (values) => checkRows(values, most));
    return this.on.real('pickRows', () => this.#kernels.pickRows(table, list, { count: sizeOf(list.shape), D }));
  }
  linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
    const [a, w] = [this.on.float('x', x), this.on.float('weight', weight)];
    const b = bias === undefined ? undefined : this.on.float('bias', bias);
    const layer = linearSizes(a, w);
    if (b) expectShape('bias', b, [layer.M], `the weight is [${w.shape}]`);
    return this.on.real('linear', () => this.#kernels.linear(a, w, b, layer));
  }
  rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
    const [a, w] = [this.on.float('x', x), this.on.float('weight', weight)];
    finite('epsilon', epsilon);
    const norm = normSizes(a, w);
    return this.on.real('rmsNorm', () => this.#kernels.rmsNorm(a, w, epsilon, norm));
  }
  swiglu(gate: Tensor, up: Tensor): Tensor {
    const [x, u] = [this.on.float('gate', gate), this.on.float('up', up)];
    const same = sameSizes('up', u, x, 'gate and up must have the same shape');
    return this.on.real('swiglu', () => this.#kernels.swiglu(x, u, same));
  }
  splitHeads(x: Tensor, heads: number): Tensor {
    const a = this.on.float('x', x);
    expectSize('heads', heads);
    const split = splitSizes(a, heads);
    return this.on.real('splitHeads', () => this.#kernels.splitHeads(a, split));
  }
  mergeHeads(x: Tensor): Tensor {
    const a = this.on.float('x', x);
    const split = headSizes(a);
    return this.on.real('mergeHeads', () => this.#kernels.mergeHeads(a, split));
  }
  rope(x: Tensor, cos: Tensor, sin: Tensor, inverse: boolean = false): Tensor {
    const [a, c, s] = [this.on.float('x', x), this.on.float('cos', cos), this.on.float('sin', sin)];
    of('boolean')('inverse', inverse);
    const turned = ropeSizes(a, c, s);
    return this.on.real('rope', () => this.#kernels.rope(a, c, s, inverse, turned));
  }
  argmax(x: Tensor): Tensor {
    const a = this.on.float('x', x);
    const sized = rowSizes(a);
    if (sized.D === 0) throw new ShapeError(`x is [${a.shape}], whose rows are empty: the largest of no elements does not exist`);
    return this.on.wholeOf(this.on.run('argmax', () => this.#kernels.argmax(a, sized)));
  }

  // ---- token types and lifetime -----------------------------------------------------------------
  poolChunks(x: Tensor, chunk: number, pooling: Pooling): Tensor {
    const a = this.on.float('x', x);
    checkPooling(chunk, pooling);
    expectRank('x', a, 'B,N,D');
    const [B, N, D] = a.shape;
    const pooled = { B, N, D, C: chunk, chunks: chunkCount(N, chunk) };
    return this.on.real('poolChunks', () => this.#kernels.poolChunks(a, pooling, pooled));
  }
  createChunkPool(batch: number, width: number, chunk: number, pooling: Pooling): ChunkPool {
    expectSize('batch', batch);
    expectSize('width', width);
    checkPooling(chunk, pooling);
    const pool = { B: batch, D: width, C: chunk };
    const made = this.on.run('createChunkPool', () => this.#kernels.createChunkPool(pooling, pool));
    return new CheckedPool(this.on, made, pool);
  }
  tokenTypes(scores: Tensor, options: TokenTypesOptions): { types: Tensor; probabilities: Tensor } {
    const z = this.on.float('scores', scores);
    const how = this.chosen(options);
    const sized = scoresSizes(z, how.noise, how.forceGlobal);
    const { types, probabilities } = this.on.run('tokenTypes', () => this.#kernels.tokenTypes(z, how, sized));
    return { types: this.on.wholeOf(types), probabilities: this.on.realOf(probabilities) };
  }
  /** Checks the options for choosing types. */
  protected chosen(options: TokenTypesOptions): TokenTypesOptions<A> {
    expectKnown('token types', options, ['noise', 'temperature', 'forceGlobal']);
    const { noise, temperature, forceGlobal } = options;
    expectPositive('temperature', temperature);
    return {
      temperature,
      ...(noise !== undefined && { noise: this.on.float('noise', noise) }),
      ...(forceGlobal !== undefined && { forceGlobal: this.on.integer('forceGlobal', forceGlobal) }),
    };
  }
  lifetime(types: Tensor, length: number, options: LifetimeOptions): Tensor {
    const { array, sized } = this.typed(types, length, options);
    return this.on.wholeOf(this.on.run('lifetime', () => this.#kernels.lifetime(array, options, sized)));
  }
  /** Checks the types [B,G,Nc] of `length` tokens. */
  protected typed(
    types: Tensor, length: number, options: LifetimeOptions,
  ): { array: A; sized: ReturnType<typeof typesSizes> } {
    const array = this.on.integer('types', types);
    expectLifetimes('options', options);
    const sized = typesSizes(array, length, options);
    this.on.values(array, checkTypeValues);
    return { array, sized };
  }

  // ---- attention and cache ----------------------------------------------------------------------
  attention(inputs: AttentionInputs): { out: Tensor; lse: Tensor } {
    const given = this.attended(inputs);
    const sized = attentionSizes(given.q, given.k, given.v, given.last);
    const { out, lse } = this.on.run('attention', () => this.#kernels.attention(given, sized));
    return { out: this.on.realOf(out), lse: this.on.realOf(lse) };
  }
  /** Checks the inputs of attention. */
  protected attended(inputs: AttentionInputs): AttentionInputs<A> {
    record({ scale: finite })('inputs', inputs);
    const { q, k, v, last, scale } = inputs;
    return {
      q: this.on.float('q', q), k: this.on.float('k', k), v: this.on.float('v', v),
      last: this.on.integer('last', last), scale,
    };
  }
  createCache(options: CacheOptions | MassCacheOptions): Cache {
    record()('options', options);
    expectKnown('createCache()', options, [...CACHE_OPTIONS, ...('mass' in options ? ['mass'] : TYPE_OPTIONS)]);
    if ('mass' in options) return this.#massCache(options);
    expectLifetimes('options', options);
    checkCacheOptions(options);
    const kept = { ...options, storage: this.#storage(options.storage) };
    return new CheckedCache(this.on, this.on.run('createCache', () => this.#kernels.createCache(kept)), kept);
  }
  #massCache(options: MassCacheOptions): Cache {
    if (!this.#kernels.createMassCache) throw new UnsupportedError(`the engine '${this.name}' has no caches under a budget: use wasm, wgsl or the reference, or a policy whose tokens have types`);
    checkCacheOptions(options);
    const kept = { ...options, mass: massOf(options.mass), storage: this.#storage(options.storage) };
    return new CheckedCache(this.on, this.on.run('createCache', () => this.#kernels.createMassCache!(kept)), kept);
  }
  /** The dtype in which a cache stores keys and values. */
  #storage(asked: CacheDtype | undefined): CacheDtype {
    optional(expectCacheDtype)('storage', asked);
    const { name, stores } = this;
    const storage = asked ?? stores.cache[0];
    if (stores.cache.includes(storage)) return storage;
    throw new UnsupportedError(`the cache's storage is ${storage}, but the engine '${name}' stores keys and values as ${stores.cache.join(' or ')}: choose one of these, or leave storage out`);
  }
}
