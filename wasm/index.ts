/**
 * The engine of WebAssembly: kernels over the files of this folder, which have the names of those in reference/. Float
 * arrays are in the memory of a module; integers, and what is decided by them, stay in TypeScript.
 * @module
 */
import type { CacheOptions } from '../src/core/cache.ts';
import { checked } from '../src/core/checked/index.ts';
import type { TrainingKernels } from '../src/core/kernels.ts';
import { widen } from '../src/core/stored.ts';
import { type FloatArray, sizeOf } from '../src/core/tensor.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { adamW, sumOfSquares } from './adamw.ts';
import { attention, attentionBackward } from './attention.ts';
import { WasmCache } from './cache.ts';
import { poolChunks, RunningPool } from './chunks.ts';
import { crossEntropy, crossEntropyBackward } from './cross-entropy.ts';
import { embedding, embeddingBackward } from './embedding.ts';
import { formsOf } from './forms.ts';
import { lifetime } from './lifetime.ts';
import { linear, linearBackwardBias, linearBackwardInput, linearBackwardWeight } from './linear.ts';
import { Machine, WasmArray } from './machine.ts';
import { addMemoryPrice, keptShare } from './mask.ts';
import { WasmMassCache } from './mass-cache.ts';
import { rmsNorm, rmsNormBackward } from './rmsnorm.ts';
import { rope } from './rope.ts';
import { tokenTypes, tokenTypesBackward } from './search.ts';
import { machineThreads, MOST_THREADS, oneThreadOnly } from './threads.ts';

/** Options of wasmEngine(). */
export interface WasmOptions {
  /** `float32` (default), or `float64` with the reference's order of sums. */
  readonly precision?: 'float64' | 'float32';
  /** Memory starts as NaN, so that tests notice what is read before it is written. */
  readonly testing?: boolean;
  /** The most threads (default: 1). They start with the first operation that is worth it. */
  readonly threads?: number;
}

/** Runs every operation at once. @throws {DeviceError} If WebAssembly or its SIMD is missing. */
export function wasmEngine({ precision = 'float32', testing = false, threads = 1 }: WasmOptions = {}): TrainingEngine {
  return wasmEngineOn(new Machine(precision, testing, threads));
}

/** The same on a machine of the caller, which says how much memory is in use. */
export function wasmEngineOn(machine: Machine, name = `wasm ${machine.precision}`): TrainingEngine {
  return checked(kernels(machine, name));
}

/**
 * The same with as many threads as the machine has, which start when needed; or with as many as the caller asks for,
 * for which it waits. If there are none, the name says why.
 */
export async function openWasmEngine({ precision = 'float32', threads }: WasmOptions = {}): Promise<TrainingEngine> {
  const machine = new Machine(precision, false, threads ?? Math.min(DEFAULT_THREADS, machineThreads()));
  if (threads === undefined) return wasmEngineOn(machine);
  await machine.threads?.ready();
  const running = machine.threads?.running ?? 1;
  const fewer = (): string => oneThreadOnly() ?? machine.threads?.refused ?? `an engine has at most ${MOST_THREADS}`;
  const why = running === threads ? '' : ` (${fewer()})`;
  return wasmEngineOn(machine, `wasm ${precision}, ${running === 1 ? 'one thread' : `${running} threads`}${why}`);
}

/** More gain little in the kernels that are bound by memory. */
const DEFAULT_THREADS = 8;

/** An exponent of all ones, which is infinity or NaN, among float16 numbers. */
function hasInfinite(bytes: Uint8Array): boolean {
  for (let n = 1; n < bytes.length; n += 2) if ((bytes[n] & 0x7c) === 0x7c) return true;
  return false;
}

function kernels(on: Machine, name: string): TrainingKernels<WasmArray> {
  const whole = (data: Int32Array, shape: readonly number[]): WasmArray => new WasmArray(shape, 0, on.dtype, data);
  const argmax = (x: WasmArray, { rows, D }: { rows: number; D: number }): WasmArray => {
    const from = on.real(x);
    return on.within(rows * 4, (best) => {
      on.run('argmax', from, best, rows, D);
      return whole(on.whole(best, rows).slice(), x.shape.slice(0, -1));
    });
  };
  const pause = new Pause();

  return {
    name,
    precision: on.precision,
    stores: on.size === 8
      ? { weights: ['f64', 'f32'], cache: ['f64', 'f32', 'f16'] }
      : { weights: ['f32', 'f16', 'bf16'], cache: ['f32', 'f16'] },

    // ---- data -----------------------------------------------------------------------------------
    /** On a float64 engine, float32 numbers stay so until something other than a product with weights reads them. */
    tensor: (data, shape) => on.upload(data, shape, data instanceof Float32Array ? 'f32' : on.dtype),
    weight(bytes, dtype, shape) {
      const kept = on.size === 4 && (dtype === 'bf16' || (dtype === 'f16' && !hasInfinite(bytes)));
      if (!kept) return on.upload(widen(bytes, dtype), shape, dtype === 'f64' ? on.dtype : 'f32');
      const made = on.make(shape, dtype);
      on.bytes(made.at, bytes.length).set(bytes);
      return made;
    },
    dtypeOf: ({ dtype }) => dtype,
    integers: (data, shape) => whole(data, shape),
    zeros: (shape) => on.zeros(shape),
    read: (x) => pause.after(readable(on, x)),
    readIntegers: (x) => pause.after(x.integers!.slice()),
    known: (x) => x.integers,
    free: (x) => {
      if (!x.integers) on.free(x.at);
    },
    dispose: () => on.threads?.dispose(),

    // ---- layers ---------------------------------------------------------------------------------
    add: (a, b, { n }) => {
      const made = on.make(a.shape);
      on.flat('add', [on.real(a), on.real(b), made.at], n, 1);
      return made;
    },
    accumulate: (sum, x, { n }) => {
      const [to, from] = [on.real(sum), on.real(x)];
      on.flat('add', [to, from, to], n, 1);
    },
    embedding: (weight, ids, { D }) => embedding(on, weight, ids.integers!, [...ids.shape, D]),
    embeddingBackward: (dOut, ids, sizes) => embeddingBackward(on, dOut, ids.integers!, sizes),
    pickRows: (x, rows, { D }) => embedding(on, x, rows.integers!, [...rows.shape, D]),
    linear: (x, weight, bias, sizes) => linear(on, x, weight, bias, sizes),
    linearBackwardInput: (dOut, weight, sizes) => linearBackwardInput(on, dOut, weight, sizes),
    linearBackwardWeight: (dOut, x, sizes) => linearBackwardWeight(on, dOut, x, sizes),
    linearBackwardBias: (dOut, sizes) => linearBackwardBias(on, dOut, sizes),
    rmsNorm: (x, weight, epsilon, sizes) => rmsNorm(on, x, weight, epsilon, sizes),
    rmsNormBackward: (dOut, x, weight, epsilon, sizes) => rmsNormBackward(on, dOut, x, weight, epsilon, sizes),
    swiglu(gate, up, { n }) {
      const made = on.make(gate.shape);
      on.flat('swiglu', [on.real(gate), on.real(up), made.at], n, 16);
      return made;
    },
    swigluBackward(dOut, gate, up, { n }) {
      const [dGate, dUp] = [on.make(gate.shape), on.make(gate.shape)];
      on.flat('swigluBackward', [on.real(dOut), on.real(gate), on.real(up), dGate.at, dUp.at], n, 24);
      return { dGate, dUp };
    },
    splitHeads(x, { B, heads, N, d }) {
      const made = on.make([B, heads, N, d]);
      on.call('swapAxes', on.real(x), made.at, B, N, heads, d * on.size);
      return made;
    },
    mergeHeads(x, { B, heads, N, d }) {
      const made = on.make([B, N, heads * d]);
      on.call('swapAxes', on.real(x), made.at, B, heads, N, d * on.size);
      return made;
    },
    rope: (x, cos, sin, inverse, sizes) => rope(on, x, cos, sin, inverse ? -1 : 1, sizes),
    argmax,
    crossEntropy: (logits, targets, sizes) => crossEntropy(on, logits, targets, sizes),
    crossEntropyBackward: (logits, targets, weight, sizes) => crossEntropyBackward(on, logits, targets, weight, sizes),

    // ---- optimiser ------------------------------------------------------------------------------
    sumOfSquares: (tensors) => sumOfSquares(on, tensors),
    adamW: (parameter, gradient, m, v, options) => adamW(on, parameter, gradient, m, v, options),

    // ---- token types and lifetime ---------------------------------------------------------------
    poolChunks: (x, pooling, sizes) => poolChunks(on, x, pooling, sizes),
    createChunkPool: (pooling, sizes) => new RunningPool(on, pooling, sizes),
    tokenTypes(scores, { noise, temperature, forceGlobal }, sizes) {
      if (noise) on.real(noise);
      on.real(scores); // before the views, which the next allocation invalidates
      const { types, probabilities } = tokenTypes(on.view(scores), {
        temperature, noise: noise && on.view(noise), forceGlobal: forceGlobal?.integers,
      }, sizes);
      return {
        types: whole(types, [sizes.B, sizes.G, sizes.chunks]), probabilities: on.upload(probabilities, scores.shape),
      };
    },
    tokenTypesBackward(dTypes, probabilities, { temperature, forceGlobal }, sizes) {
      on.real(dTypes);
      on.real(probabilities);
      const how = { temperature, forceGlobal: forceGlobal?.integers };
      return on.upload(tokenTypesBackward(on.view(dTypes), on.view(probabilities), how, sizes), probabilities.shape);
    },
    lifetime: (types, options, sizes) => whole(lifetime(types.integers!, options, sizes), [sizes.B, sizes.G, sizes.N]),
    keptShare: (last, sizes) => keptShare(on, last.integers!, sizes),
    addMemoryPrice: (dTypes, types, options, sizes) => addMemoryPrice(on, dTypes, types.integers!, options, sizes),

    // ---- attention and cache --------------------------------------------------------------------
    attention: (inputs, sizes) => attention(on, inputs, sizes),
    attentionBackward: (inputs, sizes) => attentionBackward(on, inputs, sizes),
    createCache: (options: CacheOptions) => new WasmCache(on, options),
    createMassCache: (options) => new WasmMassCache(on, options),
    forms: formsOf(on, argmax),
  };
}

/** The numbers of an array in the engine's precision, without changing how it is stored. */
function readable(on: Machine, x: WasmArray): FloatArray {
  const length = sizeOf(x.shape);
  if (!x.packed && x.dtype === on.dtype) return on.floats(x.at, length).slice();
  const ids = Int32Array.from({ length: length / (x.shape[x.shape.length - 1] || 1) }, (_, n) => n);
  const copy = embedding(on, x, ids, x.shape);
  const numbers = on.view(copy).slice();
  on.free(copy.at);
  return numbers;
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
