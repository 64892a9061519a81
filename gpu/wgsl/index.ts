/**
 * The engine of hand-written WGSL over WebGPU: kernels over the files of this folder, in float32. A call records its
 * commands at once; what is recorded is submitted when something is read, or when it has become much.
 * @module
 */
import { checked } from '../../src/core/checked/index.ts';
import { DeviceError, ValueError } from '../../src/core/errors.ts';
import type { TrainingKernels } from '../../src/core/kernels.ts';
import { GPU_PREFILL_STEP } from '../../src/core/prefill.ts';
import { widen } from '../../src/core/stored.ts';
import { sizeOf } from '../../src/core/tensor.ts';
import type { TrainingEngine } from '../../src/core/training-engine.ts';
import { adamW, sumOfSquares } from './adamw.ts';
import { argmax } from './argmax.ts';
import { real, typesOf, WgslArray } from './array.ts';
import { attend } from './attention.ts';
import { attentionBackward } from './attention-backward.ts';
import { WgslCache } from './cache.ts';
import { poolChunks, WgslChunkPool } from './chunks.ts';
import { crossEntropy, crossEntropyBackward } from './cross-entropy.ts';
import type { Memory, WgslDevice } from './device.ts';
import { accumulate, add } from './elementwise.ts';
import { embedding, embeddingBackward, embeddingBackwardUnknown } from './embedding.ts';
import { formsOf } from './forms.ts';
import { mergeHeads, splitHeads } from './heads.ts';
import { keptShare, lifetime } from './lifetime.ts';
import { linear, linearBackwardBias, linearBackwardInput, linearBackwardWeight } from './linear.ts';
import { addMemoryPrice } from './mask.ts';
import type { WgslMassCache } from './mass-cache.ts';
import { rmsNorm, rmsNormBackward } from './rmsnorm.ts';
import { rope } from './rope.ts';
import { tokenTypes, tokenTypesBackward } from './search.ts';
import type { StoredDtype } from './stored.ts';
import { swiglu, swigluBackward } from './swiglu.ts';

/** What is in files of their own, so that no part of a bundle is too large for a page. */
export interface Parts {
  readonly MassCache: typeof WgslMassCache;
}

/** An engine on a device, which it disposes of. */
export function wgslEngine(device: WgslDevice, parts: Parts): TrainingEngine {
  return checked(kernels(device, parts));
}

function kernels(device: WgslDevice, { MassCache }: Parts): TrainingKernels<WgslArray> {
  const f32 = (x: WgslArray): Memory => real(device, x);
  const made = (memory: Memory, shape: readonly number[]): WgslArray => new WgslArray(shape, memory);
  const whole = (memory: Memory, shape: readonly number[]): WgslArray => new WgslArray(shape, memory, 'i32');
  const stored = (x: WgslArray): StoredDtype => x.dtype as StoredDtype;
  /** The memory of an array that is about to be changed, which nothing else may share or read in the same call. */
  const own = (x: WgslArray, ...read: readonly Memory[]): Memory => {
    const memory = f32(x);
    if (memory.holds.count > 1 || read.includes(memory)) {
      x.memory = device.copied(memory);
      device.free(memory);
    }
    return x.memory;
  };

  return {
    name: device.description,
    precision: 'float32',
    stores: { weights: ['f32', 'f16', 'bf16'], cache: ['f32', 'f16'] },
    limits: { tensorBytes: device.maxBytes, name: device.limitName },
    prefillStep: GPU_PREFILL_STEP,
    forms: formsOf(device),

    // ---- data -----------------------------------------------------------------------------------
    tensor(data, shape) {
      expectRoom(device, shape, 4);
      return made(device.upload(data instanceof Float32Array ? data : new Float32Array(data)), shape);
    },
    dtypeOf: (x) => (x.dtype === 'i32' ? 'f32' : x.dtype),
    weight(bytes, dtype, shape) {
      expectRoom(device, shape, dtype === 'f16' || dtype === 'bf16' ? 2 : 4);
      if (dtype === 'f64') return made(device.upload(Float32Array.from(widen(bytes, dtype))), shape);
      return new WgslArray(shape, device.upload(bytes), dtype);
    },
    integers: (data, shape) => new WgslArray(shape, device.upload(data), 'i32', data),
    zeros(shape) {
      expectRoom(device, shape, 4);
      return made(device.upload(new Float32Array(sizeOf(shape))), shape);
    },
    async read(x) {
      const [dtype, length] = [stored(x), sizeOf(x.shape)];
      const bytes = await device.read(x.memory);
      if (dtype === 'f32') return new Float32Array(bytes, 0, length);
      return Float32Array.from(widen(new Uint8Array(bytes, 0, length * 2), dtype));
    },
    async readIntegers(x) {
      const values = new Int32Array(await device.read(x.memory), 0, sizeOf(x.shape));
      const { least, most } = x;
      for (let n = 0; n < values.length && !x.host; n++) {
        if (values[n] < least || values[n] > most) throw new ValueError(`token type ${n} could not be chosen, since a score is NaN: look for an overflow in the layer before`);
      }
      return values;
    },
    known: (x) => x.host,
    free: (x) => device.free(x.memory),
    dispose: () => device.dispose(),

    // ---- layers ---------------------------------------------------------------------------------
    add: (a, b, { n }) => made(add(device, f32(a), f32(b), n), a.shape),
    accumulate(sum, x, { n }) {
      const from = f32(x); // sum and x may be the same array
      accumulate(device, own(sum, from), from, n);
    },
    embedding: (weight, ids, { count, D }) =>
      made(embedding(device, weight.memory, stored(weight), ids.memory, count, D), [...ids.shape, D]),
    embeddingBackward: (dOut, ids, { count, V, D }) => made(
      ids.host ? embeddingBackward(device, f32(dOut), ids.host, V, D)
        : embeddingBackwardUnknown(device, f32(dOut), ids.memory, count, V, D), [V, D],
    ),
    pickRows: (x, rows, { count, D }) =>
      made(embedding(device, x.memory, stored(x), rows.memory, count, D), [...rows.shape, D]),
    linear: (x, weight, bias, sizes) => made(
      linear(device, f32(x), weight.memory, stored(weight), bias && f32(bias), sizes),
      [...x.shape.slice(0, -1), sizes.M],
    ),
    linearBackwardInput: (dOut, weight, sizes) =>
      made(linearBackwardInput(device, f32(dOut), f32(weight), sizes), [...dOut.shape.slice(0, -1), sizes.K]),
    linearBackwardWeight: (dOut, x, sizes) =>
      made(linearBackwardWeight(device, f32(dOut), f32(x), sizes), [sizes.M, sizes.K]),
    linearBackwardBias: (dOut, { rows, M }) => made(linearBackwardBias(device, f32(dOut), rows, M), [M]),
    rmsNorm: (x, weight, epsilon, { rows, D }) => made(rmsNorm(device, f32(x), f32(weight), epsilon, rows, D), x.shape),
    rmsNormBackward(dOut, x, weight, epsilon, { rows, D }) {
      const [dx, dWeight] = rmsNormBackward(device, f32(dOut), f32(x), f32(weight), epsilon, rows, D);
      return { dx: made(dx, x.shape), dWeight: made(dWeight, [D]) };
    },
    swiglu: (gate, up, { n }) => made(swiglu(device, f32(gate), f32(up), n), gate.shape),
    swigluBackward(dOut, gate, up, { n }) {
      const [dGate, dUp] = swigluBackward(device, f32(dOut), f32(gate), f32(up), n);
      return { dGate: made(dGate, gate.shape), dUp: made(dUp, gate.shape) };
    },
    splitHeads: (x, sizes) => made(splitHeads(device, f32(x), sizes), [sizes.B, sizes.heads, sizes.N, sizes.d]),
    mergeHeads: (x, sizes) => made(mergeHeads(device, f32(x), sizes), [sizes.B, sizes.N, sizes.heads * sizes.d]),
    rope: (x, cos, sin, inverse, sizes) => made(rope(device, f32(x), f32(cos), f32(sin), inverse, sizes), x.shape),
    argmax(x, { rows, D }) {
      const best = whole(argmax(device, f32(x), rows, D), x.shape.slice(0, -1));
      best.least = -1;
      return best;
    },
    crossEntropy: (logits, targets, { rows, V }) =>
      made(crossEntropy(device, f32(logits), targets.memory, rows, V), targets.shape),
    crossEntropyBackward: (logits, targets, weight, { rows, V }) =>
      made(crossEntropyBackward(device, f32(logits), targets.memory, weight, rows, V), logits.shape),

    // ---- optimiser ------------------------------------------------------------------------------
    sumOfSquares: (tensors, { lengths }) => made(sumOfSquares(device, tensors.map(f32), lengths), [1]),
    adamW(parameter, gradient, m, v, { clip, guard, ...rest }, { n }) {
      const [dy, squaredNorm, bar] = [gradient, clip?.squaredNorm, guard].map((x) => x && f32(x));
      const inputs = [dy!, ...(squaredNorm ? [squaredNorm] : []), ...(bar ? [bar] : [])];
      const [theta, mean, square] = [parameter, m, v].map((x) => own(x, ...inputs));
      adamW(device, theta, dy!, mean, square, n, {
        ...rest, ...(clip && { clip: { ...clip, squaredNorm: squaredNorm! } }), ...(bar && { guard: bar }),
      });
    },

    // ---- token types and lifetime ---------------------------------------------------------------
    poolChunks: (x, pooling, sizes) =>
      made(poolChunks(device, f32(x), pooling, sizes), [sizes.B, sizes.chunks, sizes.D]),
    createChunkPool(pooling, sizes) {
      expectRoom(device, [sizes.B, sizes.D], 4);
      return new WgslChunkPool(device, pooling, sizes);
    },
    tokenTypes(scores, { noise, temperature, forceGlobal }, sizes) {
      const [types, probabilities] = tokenTypes(device, f32(scores), {
        temperature, ...(noise && { noise: f32(noise) }), ...(forceGlobal && { forceGlobal: forceGlobal.memory }),
      }, sizes);
      const { B, G, chunks } = sizes;
      return { types: typesOf(types, [B, G, chunks]), probabilities: made(probabilities, scores.shape) };
    },
    tokenTypesBackward: (dTypes, probabilities, { temperature, forceGlobal }, sizes) => made(
      tokenTypesBackward(device, f32(dTypes), f32(probabilities), {
        temperature, ...(forceGlobal && { forceGlobal: forceGlobal.memory }),
      }, sizes), probabilities.shape,
    ),
    lifetime: (types, options, sizes) =>
      whole(lifetime(device, types.memory, options, sizes), [sizes.B, sizes.G, sizes.N]),
    keptShare: (last, { B, G, N }) => made(keptShare(device, last.memory, B * G, N), [B, G]),
    addMemoryPrice: (dTypes, types, options, { B, G, N }) =>
      made(addMemoryPrice(device, f32(dTypes), types.memory, B * G, N, options), dTypes.shape),

    // ---- attention and cache --------------------------------------------------------------------
    attention({ q, k, v, last, scale }, sizes) {
      const [out, lse] = attend(device, f32(q), { k: f32(k), v: f32(v), entries: last.memory }, sizes, scale);
      return { out: made(out, q.shape), lse: made(lse, q.shape.slice(0, 3)) };
    },
    attentionBackward({ q, k, v, last, scale, out, lse, dOut, types }, sizes) {
      const [dq, dk, dv, dTypes] = attentionBackward(device, {
        q: f32(q), k: f32(k), v: f32(v), last: last.memory, out: f32(out), lse: f32(lse), dOut: f32(dOut),
      }, sizes, scale, types && { ...types, types: types.types.memory, bounded: types.rule === 'bounded' });
      return {
        dq: made(dq, q.shape), dk: made(dk, k.shape), dv: made(dv, v.shape),
        ...(types && dTypes && { dTypes: made(dTypes, [...types.types.shape, 3]) }),
      };
    },
    createCache: (options) => new WgslCache(device, options),
    createMassCache: (options) => new MassCache(device, options),
  };
}

/** Refuses what the device cannot hold, before anything of that size is made. */
function expectRoom({ maxBytes, limitName, description }: WgslDevice, shape: readonly number[], bytes: number): void {
  const size = sizeOf(shape) * bytes;
  if (size <= maxBytes) return;
  // Activations are [B,N,D] or [B,H,N,d]; what has fewer axes is a weight or a list.
  const axis = Math.max(0, shape.length - 2);
  const fits = Math.floor(maxBytes / (size / shape[axis]));
  const what = shape.length > 2 ? 'tokens' : 'rows';
  const remedy = fits > 0 ? `at most ${fits} instead of ${shape[axis]} ${what} fit` :
    `not one of its ${shape[axis]} ${what} fits, use a smaller ${shape.length > 2 ? 'batch' : 'model'}`;
  throw new DeviceError(`a tensor [${shape}] takes ${size} bytes but ${limitName} is ${maxBytes} on ${description}: ${remedy}`);
}
