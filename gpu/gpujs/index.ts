/**
 * The gpu.js engine: kernels over the files of this folder, in float32. A call leaves a job in the queue and returns
 * an array; reading waits for the queue.
 * @module
 */
import { checked } from '../../src/core/checked/index.ts';
import { checkIds } from '../../src/core/checks.ts';
import { DeviceError, ValueError } from '../../src/core/errors.ts';
import type { TrainingKernels } from '../../src/core/kernels.ts';
import { FOREVER, type LifetimeOptions } from '../../src/core/lifetime.ts';
import { GPU_PREFILL_STEP } from '../../src/core/prefill.ts';
import { widen } from '../../src/core/stored.ts';
import { sizeOf } from '../../src/core/tensor.ts';
import type { TrainingEngine } from '../../src/core/training-engine.ts';
import { adamW, sumOfSquares } from './adamw.ts';
import { argmax } from './argmax.ts';
import type { DeviceArray } from './array.ts';
import { attention } from './attention.ts';
import { attentionBackward } from './attention-backward.ts';
import { GpuCache } from './cache-handle.ts';
import { poolChunks } from './chunks.ts';
import { crossEntropy, crossEntropyBackward } from './cross-entropy.ts';
import type { Device } from './device.ts';
import { add } from './elementwise.ts';
import { embedding, embeddingBackward } from './embedding.ts';
import { mergeHeads, splitHeads } from './heads.ts';
import { Jobs } from './jobs.ts';
import { ENDLESS, keptShare, lifetime } from './lifetime.ts';
import { linear, linearBackwardBias, linearBackwardInput, linearBackwardWeight } from './linear.ts';
import { GpuChunkPool } from './pool-handle.ts';
import { addMemoryPrice } from './price.ts';
import { rmsNorm, rmsNormBackward } from './rmsnorm.ts';
import { rope } from './rope.ts';
import { tokenTypes, tokenTypesBackward, typeProbabilities } from './search.ts';
import { swiglu, swigluBackward } from './swiglu.ts';

/** An engine on a device of gpu.js, which it disposes of. */
export function gpuEngine(device: Device): TrainingEngine {
  return checked(kernels(new Jobs(device)));
}

function kernels(jobs: Jobs): TrainingKernels<DeviceArray> {
  const { device } = jobs;
  return {
    name: device.description,
    precision: 'float32',
    stores: { weights: ['f32'], cache: ['f32'] },
    limits: { tensorBytes: device.maxLength * 4, name: device.limitName },
    ...(device.mode === 'webgpu' && { prefillStep: GPU_PREFILL_STEP }),

    // ---- data -----------------------------------------------------------------------------------
    tensor(data, shape) {
      jobs.expectRoom(shape);
      return jobs.upload(Float32Array.from(data), shape);
    },
    weight(bytes, dtype, shape) {
      jobs.expectRoom(shape);
      return jobs.upload(Float32Array.from(widen(bytes, dtype)), shape);
    },
    dtypeOf: () => 'f32',
    integers: (data, shape) => jobs.upload(Float32Array.from(data), shape, data),
    zeros(shape) {
      jobs.expectRoom(shape);
      return jobs.upload(new Float32Array(sizeOf(shape)), shape);
    },
    read: (x) => jobs.read(x),
    async readIntegers(x) {
      if (x.host) {
        await jobs.idle();
        return x.host.slice();
      }
      return Int32Array.from(await jobs.read(x), (value, n) => {
        if (value < x.least || value > x.most) throw new ValueError(`token type ${n} could not be chosen, since a score is NaN: look for an overflow in the layer before`);
        return value >= ENDLESS ? FOREVER : value;
      });
    },
    known: (x) => x.host,
    free: (x) => jobs.free(x),
    dispose: () => jobs.add(async () => device.dispose()),

    // ---- layers ---------------------------------------------------------------------------------
    add: (a, b, { n }) => jobs.one([a, b], a.shape, (scope, [x, y]) => add(scope, x, y, n)),
    accumulate: (sum, x, { n }) => jobs.update([sum], [sum, x], async (scope, [a, b]) => [await add(scope, a, b, n)]),
    embedding: (weight, ids, { count, D }) =>
      jobs.one([weight, ids], [...ids.shape, D], (scope, [table, list]) => embedding(scope, table, list, count, D)),
    embeddingBackward: (dOut, ids, { count, V, D }) => jobs.one([dOut, ids], [V, D], async (scope, [dy, list]) => {
      const host = ids.host ?? Int32Array.from(await device.read(list, count));
      if (!ids.host) checkIds(host, V); // the checked layer has seen those that were known at the call
      return embeddingBackward(scope, dy, host, V, D);
    }),
    pickRows: (x, rows, { count, D }) =>
      jobs.one([x, rows], [...rows.shape, D], (scope, [table, list]) => embedding(scope, table, list, count, D)),
    linear: (x, weight, bias, { rows, M, K }) =>
      jobs.one([x, weight, ...(bias ? [bias] : [])], [...x.shape.slice(0, -1), M], (scope, [a, w, b]) =>
        linear(scope, a, w, b, rows, M, K)),
    linearBackwardInput: (dOut, weight, { rows, M, K }) =>
      jobs.one([dOut, weight], [...dOut.shape.slice(0, -1), K], (scope, [dy, w]) =>
        linearBackwardInput(scope, dy, w, rows, M, K)),
    linearBackwardWeight: (dOut, x, { rows, M, K }) =>
      jobs.one([dOut, x], [M, K], (scope, [dy, a]) => linearBackwardWeight(scope, dy, a, rows, M, K)),
    linearBackwardBias: (dOut, { rows, M }) =>
      jobs.one([dOut], [M], (scope, [dy]) => linearBackwardBias(scope, dy, rows, M)),
    rmsNorm: (x, weight, epsilon, { rows, D }) =>
      jobs.one([x, weight], x.shape, (scope, [a, w]) => rmsNorm(scope, a, w, epsilon, rows, D)),
    rmsNormBackward(dOut, x, weight, epsilon, { rows, D }) {
      const [dx, dWeight] = jobs.call([dOut, x, weight], [x.shape, [D]], (scope, [dy, a, w]) =>
        rmsNormBackward(scope, dy, a, w, epsilon, rows, D));
      return { dx, dWeight };
    },
    swiglu: (gate, up, { n }) => jobs.one([gate, up], gate.shape, (scope, [x, u]) => swiglu(scope, x, u, n)),
    swigluBackward(dOut, gate, up, { n }) {
      const [dGate, dUp] = jobs.call([dOut, gate, up], [gate.shape, gate.shape], (scope, [dy, x, u]) =>
        swigluBackward(scope, dy, x, u, n));
      return { dGate, dUp };
    },
    splitHeads: (x, { B, heads, N, d }) =>
      jobs.one([x], [B, heads, N, d], (scope, [a]) => splitHeads(scope, a, B, heads, N, d)),
    mergeHeads: (x, { B, heads, N, d }) =>
      jobs.one([x], [B, N, heads * d], (scope, [a]) => mergeHeads(scope, a, B, heads, N, d)),
    rope: (x, cos, sin, inverse, { B, heads, N, d }) =>
      jobs.one([x, cos, sin], x.shape, (scope, [a, c, s]) => rope(scope, a, c, s, inverse, B, heads, N, d)),
    argmax(x, { rows, D }) {
      const best = jobs.one([x], x.shape.slice(0, -1), (scope, [a]) => argmax(scope, a, rows, D));
      best.least = -1;
      return best;
    },
    crossEntropy: (logits, targets, { rows, V }) =>
      jobs.one([logits, targets], targets.shape, (scope, [z, t]) => crossEntropy(scope, z, t, rows, V)),
    crossEntropyBackward: (logits, targets, weight, { rows, V }) =>
      jobs.one([logits, targets], logits.shape, (scope, [z, t]) =>
        crossEntropyBackward(scope, z, t, weight, rows, V)),

    // ---- optimiser ------------------------------------------------------------------------------
    sumOfSquares: (tensors, { lengths }) => jobs.one(tensors, [1], (scope, m) => sumOfSquares(scope, m, lengths)),
    adamW(parameter, gradient, m, v, { clip, guard, ...rest }, { n }) {
      const inputs = [parameter, m, v, gradient, ...(guard ? [guard] : []), ...(clip ? [clip.squaredNorm] : [])];
      jobs.update([parameter, m, v], inputs, (scope, [theta, mean, square, dy, ...more]) =>
        adamW(scope, theta, dy, mean, square, n, {
          ...rest, ...(clip && { clip: { ...clip, squaredNorm: more[more.length - 1] } }),
          ...(guard && { guard: more[0] }),
        }));
    },

    // ---- token types and lifetime ---------------------------------------------------------------
    poolChunks: (x, pooling, { B, N, D, C, chunks }) =>
      jobs.one([x], [B, chunks, D], (scope, [a]) => poolChunks(scope, a, B, N, D, C, pooling === 'max')),
    createChunkPool: (pooling, sizes) => {
      const state = [sizes.B, sizes.D];
      jobs.expectRoom(state);
      return new GpuChunkPool(jobs, pooling, sizes, jobs.upload(new Float32Array(sizeOf(state)), state));
    },
    tokenTypes(scores, { noise, temperature, forceGlobal }, { B, G, chunks }) {
      const inputs = [scores, ...(noise ? [noise] : []), ...(forceGlobal ? [forceGlobal] : [])];
      const types = jobs.one(inputs, [B, G, chunks], (scope, m) => tokenTypes(scope, m[0], {
        ...(noise && { noise: m[1] }),
        ...(forceGlobal && { forceGlobal: m[m.length - 1] }),
      }, B, G, chunks));
      types.most = 2;
      // Inference asks for the types only.
      const probabilities = jobs.later(noise ? [scores, noise] : [scores], scores.shape, (scope, [s, n]) =>
        typeProbabilities(scope, s, n, temperature, B * G * chunks));
      return { types, probabilities };
    },
    tokenTypesBackward: (dTypes, probabilities, { temperature, forceGlobal }, { B, G, chunks }) =>
      jobs.one([dTypes, probabilities, ...(forceGlobal ? [forceGlobal] : [])], probabilities.shape,
        (scope, [dt, y, force]) => {
          const how = { temperature, ...(force && { forceGlobal: force }) };
          return tokenTypesBackward(scope, dt, y, how, B, G, chunks);
        }),
    lifetime(types, options, { B, G, N }) {
      expectCountable(N, options);
      return jobs.one([types], [B, G, N], (scope, [t]) => lifetime(scope, t, B * G, N, options));
    },
    keptShare: (last, { B, G, N }) => jobs.one([last], [B, G], (scope, [ends]) => keptShare(scope, ends, B * G, N)),
    addMemoryPrice(dTypes, types, options, { B, G, N }) {
      expectCountable(N, options);
      return jobs.one([dTypes, types], dTypes.shape, (scope, [dt, t]) =>
        addMemoryPrice(scope, dt, t, B * G, N, options));
    },

    // ---- attention and cache --------------------------------------------------------------------
    attention({ q, k, v, last, scale }, sizes) {
      const [out, lse] = jobs.call([q, k, v, last], [q.shape, q.shape.slice(0, 3)], (scope, m) =>
        attention(scope, { q: m[0], k: m[1], v: m[2], last: m[3] }, { ...sizes, scale }));
      return { out, lse };
    },
    attentionBackward({ q, k, v, last, scale, out, lse, dOut, types }, sizes) {
      if (types) expectCountable(sizes.N, types);
      const inputs = [q, k, v, last, out, lse, dOut, ...(types ? [types.types] : [])];
      const shapes = [q.shape, k.shape, v.shape, types ? [...types.types.shape, 3] : [0]];
      const [dq, dk, dv, dTypes] = jobs.call(inputs, shapes, (scope, m) =>
        attentionBackward(
          scope, { q: m[0], k: m[1], v: m[2], last: m[3], out: m[4], lse: m[5], dOut: m[6] }, { ...sizes, scale },
          types && { ...types, types: m[7], bounded: types.rule === 'bounded' },
        ));
      return { dq, dk, dv, ...(types && { dTypes }) };
    },
    createCache: (options) => new GpuCache(jobs, options),
  };
}

/** float32 counts whole numbers up to here. */
const MOST_TOKENS = 2 ** 24;

/** Refuses lifetimes that float32 cannot count. */
function expectCountable(length: number, options: LifetimeOptions): void {
  for (const name of ['window', 'localWindow', 'reach'] as const) {
    const reach = options[name] ?? FOREVER;
    if (length + reach >= MOST_TOKENS && reach < FOREVER - length) {
      throw new DeviceError(`${length} tokens and a ${name} of ${reach} pass ${MOST_TOKENS}, beyond which float32 does not count: use a smaller ${name}`);
    }
  }
}
