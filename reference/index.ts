/**
 * The reference engine: kernels made of the plain functions of this folder. In float64 it is the standard for all
 * engines; in float32 it rounds every result, which is the accuracy that a float32 engine must reach.
 * @module
 */
import type { CacheOptions, CacheStep, MassCacheOptions } from '../src/core/cache.ts';
import { checked } from '../src/core/checked/index.ts';
import type { Pooling } from '../src/core/engine.ts';
import type { CacheKernels, PoolKernels, TrainingKernels } from '../src/core/kernels.ts';
import type { PoolSizes } from '../src/core/sizes.ts';
import { widen } from '../src/core/stored.ts';
import { type FloatArray, type NDArray, sizeOf, type TypedArray } from '../src/core/tensor.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { adamW, sumOfSquares } from './adamw.ts';
import { argmax } from './argmax.ts';
import { attention, attentionBackward } from './attention.ts';
import { EvictingCache } from './cache.ts';
import { poolChunks, RunningPool } from './chunks.ts';
import { crossEntropy, crossEntropyBackward } from './cross-entropy.ts';
import { embedding, embeddingBackward, pickRows } from './embedding.ts';
import { mergeHeads, splitHeads } from './heads.ts';
import { lifetime } from './lifetime.ts';
import { linear, linearBackwardBias, linearBackwardInput, linearBackwardWeight } from './linear.ts';
import { EvictingMassCache } from './mass-cache.ts';
import { axpy } from './matmul.ts';
import type { Prompt } from './prefill.ts';
import { addMemoryPrice, keptShare } from './price.ts';
import { rmsNorm, rmsNormBackward } from './rmsnorm.ts';
import { rope } from './rope.ts';
import { tokenTypes, tokenTypesBackward } from './search.ts';
import { swiglu, swigluBackward } from './swiglu.ts';

/** An array in the memory of this process. */
export interface HostArray extends NDArray<TypedArray> {
  data: TypedArray;
}

/** Runs every operation at once, in plain TypeScript. */
export function referenceEngine(precision: 'float64' | 'float32' = 'float64'): TrainingEngine {
  return checked(referenceKernels(precision));
}

/** The kernels of the reference, for engines that differ from it in some of them. */
export function referenceKernels(precision: 'float64' | 'float32'): TrainingKernels<HostArray> {
  const Floats = precision === 'float64' ? Float64Array : Float32Array;
  const inPrecision = (x: FloatArray): FloatArray => (x instanceof Floats ? x : new Floats(x));
  const pause = new Pause();

  /** Floats as they are stored: on a float64 engine, weights stay as narrow as they came. */
  const held = (x: HostArray): NDArray => x as NDArray;
  /** Floats in the engine's precision, to which the stored ones are widened for good. */
  const real = (x: HostArray): NDArray => {
    if (x.data.constructor !== Floats) x.data = new Floats(x.data);
    return x as NDArray;
  };
  const whole = (x: HostArray): NDArray<Int32Array> => x as NDArray<Int32Array>;
  /** A result in the engine's precision, copied only if it is in another. */
  const result = ({ data, shape }: NDArray): HostArray => ({ data: inPrecision(data), shape });
  /** Several results. */
  const results = <K extends string>(all: Record<K, NDArray>): Record<K, HostArray> =>
    Object.fromEntries(Object.entries<NDArray>(all).map(([name, x]) => [name, result(x)])) as Record<K, HostArray>;

  const prompt = ({ q, k, v, types, scale }: CacheStep<HostArray>): Prompt =>
    ({ q: real(q), k: real(k), v: real(v), types: whole(types!), scale });
  const cacheOf = (cache: EvictingCache): CacheKernels<HostArray> => ({
    append: (k, v, types, sizes) => cache.append(real(k), real(v), whole(types!), sizes),
    attend: (q, scale, sizes) => result(cache.attend(real(q), scale, sizes)),
    step: (step, sizes) => result(cache.step(prompt(step), sizes)),
    prefill: (step, sizes) => result(cache.prefill(prompt(step), sizes)),
    evict: () => cache.evict(),
    clear: () => cache.clear(),
    stats: async () => cache.stats(),
    positions: async (head) => cache.positions(head),
    fork: () => cacheOf(cache.fork()),
    snapshot: async () => cache.snapshot(),
    restore: ({ keys, values, scores, ...rest }) => cache.restore({
      ...rest, keys: inPrecision(keys), values: inPrecision(values), ...(scores && { scores: inPrecision(scores) }),
    }),
    dispose: () => cache.clear(),
  });
  const massCacheOf = (cache: EvictingMassCache): CacheKernels<HostArray> => ({
    append: (k, v, scores, sizes) => cache.append(real(k), real(v), sizes, scores && real(scores)),
    attend: (q, scale, sizes) => result(cache.attend(real(q), scale, sizes)),
    evict: () => cache.evict(),
    clear: () => cache.clear(),
    stats: async () => cache.stats(),
    positions: async (head) => cache.positions(head),
    fork: () => massCacheOf(cache.fork()),
    snapshot: async () => cache.snapshot(),
    restore: (snapshot) => cache.restore(snapshot),
    dispose: () => cache.clear(),
  });
  const poolOf = (pool: RunningPool): PoolKernels<HostArray> => ({
    push: (x, sizes) => result(pool.push(real(x), sizes)),
    fork: () => poolOf(pool.fork()),
    snapshot: async () => pool.snapshot(),
    restore: (snapshot) => pool.restore(snapshot),
    dispose: () => undefined,
  });

  return {
    name: `reference ${precision}`,
    precision,
    stores: precision === 'float64'
      ? { weights: ['f64', 'f32'], cache: ['f64', 'f32', 'f16'] }
      : { weights: ['f32'], cache: ['f32', 'f16'] },

    // ---- data -----------------------------------------------------------------------------------
    /**
     * On a float64 engine, float32 numbers stay float32 until something other than a product with weights reads them.
     * Those on shared memory are not even copied, so that weights exist only once however many threads there are. That
     * is safe because accumulate() and adamW() widen float32 arrays before they write to them.
     */
    tensor(data, shape) {
      if (!(data instanceof Float32Array)) return { data: new Floats(data), shape };
      return { data: precision === 'float64' && isShared(data) ? data : data.slice(), shape };
    },
    /** Weights of every dtype except f64 are held as float32, in which they are exact. */
    weight(bytes, dtype, shape) {
      const data = widen(bytes, dtype);
      return { data: precision === 'float32' ? inPrecision(data) : data, shape };
    },
    dtypeOf: ({ data }) => (data instanceof Float64Array ? 'f64' : 'f32'),
    integers: (data, shape) => ({ data, shape }),
    zeros: (shape) => ({ data: new Floats(sizeOf(shape)), shape }),
    read: (x) => pause.after(new Floats(x.data)),
    readIntegers: (x) => pause.after(whole(x).data.slice()),
    known: (x) => whole(x).data,
    free: () => undefined,
    dispose: () => undefined,

    // ---- layers ---------------------------------------------------------------------------------
    add(a, b, { n }) {
      const data = real(a).data.slice();
      axpy(1, real(b).data, 0, data, 0, n);
      return { data, shape: a.shape };
    },
    accumulate: (sum, x, { n }) => axpy(1, real(x).data, 0, real(sum).data, 0, n),
    embedding: (weight, ids, sizes) => result(embedding(held(weight), whole(ids), sizes)),
    embeddingBackward: (dOut, ids, sizes) => result(embeddingBackward(real(dOut), whole(ids), sizes)),
    pickRows: (x, rows, sizes) => result(pickRows(held(x), whole(rows), sizes)),
    linear: (x, weight, bias, sizes) => result(linear(real(x), held(weight), bias && real(bias), sizes)),
    linearBackwardInput: (dOut, weight, sizes) => result(linearBackwardInput(real(dOut), held(weight), sizes)),
    linearBackwardWeight: (dOut, x, sizes) => result(linearBackwardWeight(real(dOut), real(x), sizes)),
    linearBackwardBias: (dOut, sizes) => result(linearBackwardBias(real(dOut), sizes)),
    rmsNorm: (x, weight, epsilon, sizes) => result(rmsNorm(real(x), real(weight), epsilon, sizes)),
    rmsNormBackward: (dOut, x, weight, epsilon, sizes) =>
      results(rmsNormBackward(real(dOut), real(x), real(weight), epsilon, sizes)),
    swiglu: (gate, up) => result(swiglu(real(gate), real(up))),
    swigluBackward: (dOut, gate, up) => results(swigluBackward(real(dOut), real(gate), real(up))),
    splitHeads: (x, sizes) => result(splitHeads(real(x), sizes)),
    mergeHeads: (x, sizes) => result(mergeHeads(real(x), sizes)),
    rope: (x, cos, sin, inverse, sizes) => result(rope(real(x), real(cos), real(sin), inverse, sizes)),
    argmax: (x, sizes) => argmax(held(x), sizes),
    crossEntropy: (logits, targets, sizes) => result(crossEntropy(real(logits), whole(targets), sizes)),
    crossEntropyBackward: (logits, targets, weight, sizes) =>
      result(crossEntropyBackward(real(logits), whole(targets), weight, sizes)),

    // ---- optimiser ------------------------------------------------------------------------------
    sumOfSquares: (tensors) => result(sumOfSquares(tensors.map(real))),
    adamW: (parameter, gradient, m, v, { clip, guard, ...rest }) =>
      adamW(real(parameter), real(gradient), real(m), real(v), {
        ...rest, ...(clip && { clip: { ...clip, squaredNorm: real(clip.squaredNorm) } }),
        ...(guard && { guard: real(guard) }),
      }),

    // ---- token types and lifetime ---------------------------------------------------------------
    poolChunks: (x, pooling, sizes) => result(poolChunks(real(x), pooling, sizes)),
    createChunkPool: (pooling: Pooling, sizes: PoolSizes) => poolOf(new RunningPool(pooling, sizes)),
    tokenTypes(scores, { noise, temperature, forceGlobal }, sizes) {
      const how = { temperature, noise: noise && real(noise), forceGlobal: forceGlobal && whole(forceGlobal) };
      const { types, probabilities } = tokenTypes(real(scores), how, sizes);
      return { types, probabilities: result(probabilities) };
    },
    tokenTypesBackward: (dTypes, probabilities, { temperature, forceGlobal }, sizes) =>
      result(tokenTypesBackward(
        real(dTypes), real(probabilities), { temperature, forceGlobal: forceGlobal && whole(forceGlobal) }, sizes,
      )),
    lifetime: (types, options, sizes) => lifetime(whole(types), options, sizes),
    keptShare: (last, sizes) => result(keptShare(whole(last), sizes)),
    addMemoryPrice: (dTypes, types, options, sizes) =>
      result(addMemoryPrice(real(dTypes), whole(types), options, sizes)),

    // ---- attention and cache --------------------------------------------------------------------
    attention: ({ q, k, v, last, scale }, sizes) =>
      results(attention({ q: real(q), k: real(k), v: real(v), last: whole(last), scale }, sizes)),
    attentionBackward({ q, k, v, last, scale, out, lse, dOut, types }, sizes) {
      const { dTypes, ...gradients } = attentionBackward({
        q: real(q), k: real(k), v: real(v), last: whole(last), scale,
        out: real(out), lse: real(lse), dOut: real(dOut),
        ...(types && { types: { ...types, types: whole(types.types) } }),
      }, sizes);
      return { ...results(gradients), ...(dTypes && { dTypes: result(dTypes) }) };
    },
    createCache: (options: CacheOptions) => cacheOf(new EvictingCache(options)),
    createMassCache: (options: MassCacheOptions) => massCacheOf(new EvictingMassCache(options, Floats)),
  };
}

/** Returns to the event loop from time to time, so that signals, timers and streams get their turn. */
class Pause {
  #last: number = performance.now();

  async after<T>(value: T): Promise<T> {
    if (performance.now() - this.#last >= 20) {
      await new Promise((resolve) => setTimeout(resolve));
      this.#last = performance.now();
    }
    return value;
  }
}

/** Whether an array is on shared memory, which some pages of browsers do not have. */
function isShared({ buffer }: Float32Array): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && buffer instanceof SharedArrayBuffer;
}
