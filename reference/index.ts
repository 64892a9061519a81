/**
 * The reference engine: the contract of src/core/engine.ts over the plain functions of this folder.
 * float64 is the ruler; float32 stores every result rounded, which is what a float32 engine is held to.
 * @module
 */
import type {
  AttentionInputs, Cache, CacheOptions, CacheSnapshot, CacheStats, ChunkPool, LifetimeOptions, Pooling, Tensor,
} from '../src/core/engine.ts';
import type { AdamWOptions, AttentionBackwardInputs, TrainingEngine } from '../src/core/training-engine.ts';
import { DisposedError, ValueError } from '../src/core/errors.ts';
import { guardCache, guardEngine, guardPool } from '../src/core/operations.ts';
import { expectShape } from '../src/core/shape.ts';
import { type FloatArray, type NDArray, ndarray, sizeOf, type TypedArray } from '../src/core/tensor.ts';
import { adamW, sumOfSquares } from './adamw.ts';
import { maskedAttention, maskedAttentionBackward } from './attention.ts';
import { KVCache } from './cache.ts';
import { poolChunks, RunningPool } from './chunks.ts';
import { crossEntropy, crossEntropyBackward } from './cross-entropy.ts';
import { embedding, embeddingBackward, pickRows } from './embedding.ts';
import { mergeHeads, splitHeads } from './heads.ts';
import { lifetime } from './lifetime.ts';
import { linear, linearBackwardInput, linearBackwardWeight } from './linear.ts';
import { axpy } from './matmul.ts';
import { addMemoryPrice, keptShare } from './price.ts';
import { rmsNorm, rmsNormBackward } from './rmsnorm.ts';
import { rope } from './rope.ts';
import { selectTokenTypes, tokenTypesBackward } from './search.ts';
import { swiglu, swigluBackward } from './swiglu.ts';

/** A tensor in the memory of this process. */
class HostTensor implements Tensor {
  readonly shape: readonly number[];
  readonly kind: 'float' | 'integer';
  readonly engine: ReferenceEngine;
  #data: TypedArray | undefined;

  constructor(engine: ReferenceEngine, { data, shape }: NDArray<TypedArray>) {
    this.engine = engine;
    this.shape = shape;
    this.kind = data instanceof Int32Array ? 'integer' : 'float';
    this.#data = data;
  }

  /** The elements in float64 from now on: weights are held as narrow as they came, results are not. */
  widen(): void {
    if (this.#data instanceof Float32Array) this.#data = new Float64Array(this.#data);
  }

  get data(): TypedArray {
    this.engine.assertAlive();
    if (!this.#data) throw new DisposedError(`a tensor [${this.shape}] was used after dispose(): keep it alive until its last use`);
    return this.#data;
  }

  dispose(): void {
    this.#data = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Runs every operation at once, in plain TypeScript. */
export class ReferenceEngine implements TrainingEngine {
  readonly name: string;
  readonly precision: 'float64' | 'float32';
  #disposed = false;
  #breath: number = performance.now();

  constructor(precision: 'float64' | 'float32' = 'float64') {
    this.precision = precision;
    this.name = `reference ${precision}`;
    guardEngine(this);
  }

  /** Throws DisposedError once dispose() was called. */
  assertAlive(): void {
    if (this.#disposed) throw new DisposedError(`the engine '${this.name}' was used after dispose(): create a new one`);
  }

  dispose(): void {
    this.#disposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  // ---- data -------------------------------------------------------------------------------------
  /**
   * float32 numbers stay float32 on a float64 engine until something other than a product with weights reads them.
   * Those on shared memory are not even copied, so that weights are there once for any number of threads: what is
   * held in float32 is never written to, since accumulate() and adamW() widen it first.
   */
  tensor(data: ArrayLike<number>, shape: readonly number[]): Tensor {
    if (data instanceof Float32Array) {
      this.assertAlive();
      const asIs = this.precision === 'float64' && isShared(data);
      return new HostTensor(this, ndarray(asIs ? data : data.slice(), shape));
    }
    return this.#wrap(ndarray(this.#floats(data), shape));
  }
  integers(data: ArrayLike<number>, shape: readonly number[]): Tensor {
    return this.#wrap(ndarray(Int32Array.from(data), shape));
  }
  zeros(shape: readonly number[]): Tensor {
    return this.#wrap({ data: this.#floats(new Float64Array(sizeOf(shape))), shape: [...shape] });
  }
  async read(tensor: Tensor): Promise<FloatArray> {
    const copy = this.#floats(held(tensor).data);
    await this.#breathe();
    return copy;
  }
  async readIntegers(tensor: Tensor): Promise<Int32Array> {
    const copy = integer(tensor).data.slice();
    await this.#breathe();
    return copy;
  }
  /** Goes back to the event loop now and then, so that signals, timers and streams have their turn. */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#breath < 20) return;
    await new Promise((resolve) => setTimeout(resolve));
    this.#breath = performance.now();
  }

  // ---- element-wise -----------------------------------------------------------------------------
  add(a: Tensor, b: Tensor): Tensor {
    expectShape('b', b, a.shape, 'add takes equal shapes');
    const data = float(a).data.slice();
    axpy(1, float(b).data, 0, data, 0, data.length);
    return this.#wrap({ data, shape: a.shape });
  }
  accumulate(sum: Tensor, x: Tensor): void {
    expectShape('x', x, sum.shape, 'accumulate takes equal shapes');
    axpy(1, float(x).data, 0, float(sum).data, 0, sizeOf(sum.shape));
  }

  // ---- layers -----------------------------------------------------------------------------------
  embedding(weight: Tensor, ids: Tensor): Tensor {
    return this.#wrap(embedding(held(weight), integer(ids)));
  }
  embeddingBackward(dOut: Tensor, ids: Tensor, vocabulary: number): Tensor {
    return this.#wrap(embeddingBackward(float(dOut), integer(ids), vocabulary));
  }
  pickRows(x: Tensor, rows: Tensor): Tensor {
    return this.#wrap(pickRows(held(x), integer(rows)));
  }
  linear(x: Tensor, weight: Tensor): Tensor {
    return this.#wrap(linear(float(x), held(weight)));
  }
  linearBackwardInput(dOut: Tensor, weight: Tensor): Tensor {
    return this.#wrap(linearBackwardInput(float(dOut), held(weight)));
  }
  linearBackwardWeight(dOut: Tensor, x: Tensor): Tensor {
    return this.#wrap(linearBackwardWeight(float(dOut), float(x)));
  }
  rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
    return this.#wrap(rmsNorm(float(x), float(weight), epsilon));
  }
  rmsNormBackward(dOut: Tensor, x: Tensor, weight: Tensor, epsilon: number): { dx: Tensor; dWeight: Tensor } {
    const { dx, dWeight } = rmsNormBackward(float(dOut), float(x), float(weight), epsilon);
    return { dx: this.#wrap(dx), dWeight: this.#wrap(dWeight) };
  }
  swiglu(gate: Tensor, up: Tensor): Tensor {
    return this.#wrap(swiglu(float(gate), float(up)));
  }
  swigluBackward(dOut: Tensor, gate: Tensor, up: Tensor): { dGate: Tensor; dUp: Tensor } {
    const { dGate, dUp } = swigluBackward(float(dOut), float(gate), float(up));
    return { dGate: this.#wrap(dGate), dUp: this.#wrap(dUp) };
  }
  splitHeads(x: Tensor, heads: number): Tensor {
    return this.#wrap(splitHeads(float(x), heads));
  }
  mergeHeads(x: Tensor): Tensor {
    return this.#wrap(mergeHeads(float(x)));
  }
  rope(x: Tensor, cos: Tensor, sin: Tensor, inverse = false): Tensor {
    return this.#wrap(rope(float(x), float(cos), float(sin), inverse));
  }
  crossEntropy(logits: Tensor, targets: Tensor): Tensor {
    return this.#wrap(crossEntropy(float(logits), integer(targets)));
  }
  crossEntropyBackward(logits: Tensor, targets: Tensor, weight: number): Tensor {
    return this.#wrap(crossEntropyBackward(float(logits), integer(targets), weight));
  }

  // ---- optimiser --------------------------------------------------------------------------------
  sumOfSquares(tensors: readonly Tensor[]): Tensor {
    return this.#wrap(sumOfSquares(tensors.map(float)));
  }
  adamW(parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, options: AdamWOptions): void {
    const { clip, ...rest } = options;
    adamW(float(parameter), float(gradient), float(m), float(v), {
      ...rest,
      ...(clip && { clip: { squaredNorm: float(clip.squaredNorm), maxNorm: clip.maxNorm } }),
    });
  }

  // ---- token types and lifetime -----------------------------------------------------------------
  poolChunks(x: Tensor, chunk: number, pooling: Pooling): Tensor {
    return this.#wrap(poolChunks(float(x), chunk, pooling));
  }
  createChunkPool(batch: number, width: number, chunk: number, pooling: Pooling): ChunkPool {
    return this.#pool(new RunningPool(batch, width, chunk, pooling));
  }
  #pool(running: RunningPool): ChunkPool {
    const pool = new Disposable(this, 'chunk pool', running);
    const made: ChunkPool = {
      push: (x, counts) => this.#wrap(pool.value.push(float(x), counts)),
      fork: () => this.#pool(pool.value.fork()),
      snapshot: async () => pool.value.snapshot(),
      restore: (snapshot) => pool.value.restore(snapshot),
      dispose: () => pool.dispose(),
      [Symbol.dispose]: () => pool.dispose(),
    };
    guardPool(made);
    return made;
  }
  tokenTypes(
    scores: Tensor, options: { noise?: Tensor; temperature: number; forceGlobal?: Tensor },
  ): { types: Tensor; probabilities: Tensor } {
    const { noise, temperature, forceGlobal } = options;
    const { types, probabilities } = selectTokenTypes({
      scores: float(scores),
      temperature,
      ...(noise && { noise: float(noise) }),
      ...(forceGlobal && { forceGlobal: integer(forceGlobal) }),
    });
    return { types: this.#wrap(types), probabilities: this.#wrap(probabilities) };
  }
  tokenTypesBackward(
    dTypes: Tensor, probabilities: Tensor, options: { temperature: number; forceGlobal?: Tensor },
  ): Tensor {
    const { temperature, forceGlobal } = options;
    return this.#wrap(tokenTypesBackward({
      dTypes: float(dTypes),
      probabilities: float(probabilities),
      temperature,
      ...(forceGlobal && { forceGlobal: integer(forceGlobal) }),
    }));
  }
  lifetime(types: Tensor, length: number, options: LifetimeOptions): Tensor {
    return this.#wrap(lifetime(integer(types), { ...options, length }));
  }
  keptShare(last: Tensor): Tensor {
    return this.#wrap(keptShare(integer(last)));
  }
  addMemoryPrice(dTypes: Tensor, types: Tensor, length: number, options: LifetimeOptions & { weight: number }): Tensor {
    return this.#wrap(addMemoryPrice({ ...options, dTypes: float(dTypes), types: integer(types), length }));
  }

  // ---- attention and cache ----------------------------------------------------------------------
  attention({ q, k, v, last, scale }: AttentionInputs): { out: Tensor; lse: Tensor } {
    const { out, lse } = maskedAttention({ q: float(q), k: float(k), v: float(v), last: integer(last), scale });
    return { out: this.#wrap(out), lse: this.#wrap(lse) };
  }
  attentionBackward(inputs: AttentionBackwardInputs): { dq: Tensor; dk: Tensor; dv: Tensor; dTypes?: Tensor } {
    const { q, k, v, last, scale, out, lse, dOut, types } = inputs;
    const gradients = maskedAttentionBackward({
      q: float(q), k: float(k), v: float(v), last: integer(last), scale,
      out: float(out), lse: float(lse), dOut: float(dOut),
      ...(types && { ...types, types: integer(types.types) }),
    });
    return {
      dq: this.#wrap(gradients.dq),
      dk: this.#wrap(gradients.dk),
      dv: this.#wrap(gradients.dv),
      ...(gradients.dTypes && { dTypes: this.#wrap(gradients.dTypes) }),
    };
  }
  createCache(options: CacheOptions): Cache {
    return new HostCache(this, new KVCache(options, this.precision === 'float64' ? 8 : 4), (x) => this.#wrap(x));
  }

  #floats(data: ArrayLike<number>): FloatArray {
    return this.precision === 'float64' ? new Float64Array(data) : new Float32Array(data);
  }

  /** Results leave in the engine's precision; what is already in it is not copied. */
  #wrap(x: NDArray<TypedArray>): Tensor {
    this.assertAlive();
    const wanted = this.precision === 'float64' ? Float64Array : Float32Array;
    const data = x.data instanceof Int32Array || x.data instanceof wanted ? x.data : this.#floats(x.data);
    return new HostTensor(this, { data, shape: x.shape });
  }
}

/** A cache behind the contract. */
class HostCache implements Cache {
  readonly options: CacheOptions;
  readonly #engine: ReferenceEngine;
  readonly #cache: Disposable<KVCache>;
  readonly #wrap: (x: NDArray) => Tensor;

  constructor(engine: ReferenceEngine, cache: KVCache, wrap: (x: NDArray) => Tensor) {
    this.options = cache.options;
    this.#engine = engine;
    this.#cache = new Disposable(engine, 'cache', cache);
    this.#wrap = wrap;
    guardCache(this);
  }
  append(k: Tensor, v: Tensor, types: Tensor, counts?: readonly number[]): void {
    this.#cache.value.append({ k: float(k), v: float(v), types: integer(types), ...(counts && { counts }) });
  }
  attend(q: Tensor, scale: number): Tensor {
    return this.#wrap(this.#cache.value.attend({ q: float(q), scale }));
  }
  evict(): void {
    this.#cache.value.evict();
  }
  clear(): void {
    this.#cache.value.clear();
  }
  async stats(): Promise<CacheStats> {
    return this.#cache.value.stats();
  }
  async positions(b: number, g: number): Promise<Int32Array> {
    return this.#cache.value.positions(b, g);
  }
  fork(): Cache {
    return new HostCache(this.#engine, this.#cache.value.fork(), this.#wrap);
  }
  async snapshot(): Promise<CacheSnapshot> {
    return this.#cache.value.snapshot();
  }
  restore(snapshot: CacheSnapshot): void {
    const numbers = this.#engine.precision === 'float64' ? Float64Array : Float32Array;
    const inPrecision = (x: FloatArray): FloatArray => (x instanceof numbers ? x : new numbers(x));
    const [keys, values] = [inPrecision(snapshot.keys), inPrecision(snapshot.values)];
    this.#cache.value.restore({ ...snapshot, keys, values });
  }
  dispose(): void {
    this.#cache.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A value that can be let go, and then refuses to be used. */
class Disposable<T> {
  readonly #engine: ReferenceEngine;
  readonly #name: string;
  #value: T | undefined;

  constructor(engine: ReferenceEngine, name: string, value: T) {
    engine.assertAlive();
    this.#engine = engine;
    this.#name = name;
    this.#value = value;
  }
  get value(): T {
    this.#engine.assertAlive();
    if (this.#value === undefined) throw new DisposedError(`a ${this.#name} was used after dispose(): create a new one`);
    return this.#value;
  }
  dispose(): void {
    this.#value = undefined;
  }
}

/** Not every page of a browser has shared memory. */
function isShared({ buffer }: Float32Array): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && buffer instanceof SharedArrayBuffer;
}

function host(tensor: Tensor): HostTensor {
  if (!(tensor instanceof HostTensor)) {
    throw new ValueError('a tensor of another engine reached the reference engine: read() it there and upload it here');
  }
  return tensor;
}

/** Real numbers in the engine's precision. */
function float(tensor: Tensor): NDArray {
  const each = host(tensor);
  if (each.engine.precision === 'float64') each.widen();
  return held(each);
}

/** Real numbers in the precision they are held in. */
function held(tensor: Tensor): NDArray {
  const { data, shape } = host(tensor);
  if (data instanceof Int32Array || data instanceof Uint8Array) throw new ValueError(`an integer tensor [${shape}] stands where real numbers must`);
  return { data, shape };
}

function integer(tensor: Tensor): NDArray<Int32Array> {
  const { data, shape } = host(tensor);
  if (!(data instanceof Int32Array)) throw new ValueError(`a float tensor [${shape}] stands where whole numbers must`);
  return { data, shape };
}
