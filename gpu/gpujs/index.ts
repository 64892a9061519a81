/**
 * The gpu.js engine: the contract of src/core/engine.ts over the files of this folder, in float32.
 *
 * A call checks its input, returns a handle, and leaves a job in the queue; reading waits for the queue.
 * @module
 */
import * as check from '../../src/core/checks.ts';
import type {
  AttentionInputs, Cache, CacheOptions, ChunkPool, Engine, LifetimeOptions, Pooling, Tensor,
} from '../../src/core/engine.ts';
import type { AdamWOptions, AttentionBackwardInputs, TrainingEngine } from '../../src/core/training-engine.ts';
import { DeviceError, DisposedError, ValueError } from '../../src/core/errors.ts';
import { chunkCount, FOREVER } from '../../src/core/lifetime.ts';
import {
  attentionSizes, checkTypesShape, checkTypeValues, expectRank, expectShape,
} from '../../src/core/shape.ts';
import { guardEngine } from '../../src/core/operations.ts';
import { ndarray, sizeOf } from '../../src/core/tensor.ts';
import { adamW, sumOfSquares } from './adamw.ts';
import { attention } from './attention.ts';
import { attentionBackward } from './attention-backward.ts';
import { GpuCache } from './cache-handle.ts';
import { DeviceCache } from './cache.ts';
import { poolChunks } from './chunks.ts';
import { crossEntropy, crossEntropyBackward } from './cross-entropy.ts';
import { type Device, type Memory, Scope } from './device.ts';
import { add } from './elementwise.ts';
import { embedding, embeddingBackward } from './embedding.ts';
import { mergeHeads, splitHeads } from './heads.ts';
import { ENDLESS, keptShare, lifetime } from './lifetime.ts';
import { linear, linearBackwardInput, linearBackwardWeight } from './linear.ts';
import { addMemoryPrice } from './price.ts';
import type { Body, EngineJobs } from './jobs.ts';
import { GpuChunkPool } from './pool-handle.ts';
import { JobQueue } from '../device/queue.ts';
import { rmsNorm, rmsNormBackward } from './rmsnorm.ts';
import { rope } from './rope.ts';
import { tokenTypes, tokenTypesBackward, typeProbabilities } from './search.ts';
import { swiglu, swigluBackward } from './swiglu.ts';
import { DeviceTensor, float, integer, memoriesOf, memoryOf, Pending, type TensorOwner } from './tensor.ts';

/** Runs every operation as kernels of gpu.js. */
export class GpuEngine implements TrainingEngine, TensorOwner {
  readonly name: string;
  readonly precision = 'float32' as const;
  readonly limits: NonNullable<Engine['limits']>;
  readonly device: Device;
  readonly #queue = new JobQueue(() => this.device.flush());
  /** What caches and pools may ask for. */
  readonly #jobs: EngineJobs;
  #disposed = false;

  constructor(device: Device) {
    this.device = device;
    this.name = device.description;
    guardEngine(this);
    this.limits = { tensorBytes: device.maxLength * 4, name: device.limitName };
    this.#jobs = {
      device,
      assertAlive: () => this.assertAlive(),
      add: (job) => this.#queue.add(job),
      call: (inputs, shapes, body) => this.#call(inputs, shapes, body),
      replace: (target, inputs, shape, body) => {
        const made = this.#made(shape, 'float');
        this.#update([made, target], inputs, body);
        return made;
      },
      upload: (data, shape) => this.#upload({ data, shape }),
      read: (tensor) => this.#read(tensor),
    };
  }

  /** Throws DisposedError once dispose() was called. */
  assertAlive(): void {
    if (this.#disposed) throw new DisposedError(`the engine '${this.name}' was used after dispose(): create a new one`);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#queue.add(async () => this.device.dispose());
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  release(tensor: DeviceTensor): void {
    this.#queue.add(async () => {
      if (tensor.memory) this.device.free(tensor.memory);
      tensor.pending?.drop();
      tensor.memory = tensor.pending = undefined;
    });
  }

  // ---- data -------------------------------------------------------------------------------------
  tensor(data: ArrayLike<number>, shape: readonly number[]): Tensor {
    this.#checkSize(shape);
    return this.#upload(ndarray(Float32Array.from(data), shape));
  }
  integers(data: ArrayLike<number>, shape: readonly number[]): Tensor {
    this.#checkSize(shape);
    return this.#upload(ndarray(Int32Array.from(data), shape));
  }
  zeros(shape: readonly number[]): Tensor {
    this.#checkSize(shape);
    return this.#upload({ data: new Float32Array(sizeOf(shape)), shape: [...shape] });
  }
  async read(tensor: Tensor): Promise<Float32Array> {
    return this.#read(float(tensor));
  }
  async readIntegers(tensor: Tensor): Promise<Int32Array> {
    const handle = integer(tensor);
    if (handle.host) {
      await this.#queue.idle();
      return handle.host.slice();
    }
    return Int32Array.from(await this.#read(handle), (x, n) => {
      if (handle.chosen ? x > 2 : x < 0) throw new ValueError(`element ${n} came of a NaN score: token types need numbers; look for an overflow in the layer before`);
      return x >= ENDLESS ? FOREVER : x;
    });
  }

  #upload({ data, shape }: { data: Float32Array | Int32Array; shape: readonly number[] }): DeviceTensor {
    this.assertAlive();
    const whole = data instanceof Int32Array;
    const tensor = this.#made(shape, whole ? 'integer' : 'float', whole ? data : undefined);
    tensor.memory = this.device.upload(whole ? Float32Array.from(data) : data);
    return tensor;
  }

  #read(tensor: DeviceTensor): Promise<Float32Array> {
    tensor.assertAlive();
    return new Promise((resolve, reject) => {
      this.#queue.add(async () => {
        try {
          // Not waited for: what comes after may be sent to the device meanwhile.
          resolve(this.device.read(await memoryOf(tensor), sizeOf(tensor.shape)));
        } catch (error) {
          reject(error as Error);
        }
      });
    });
  }

  /** A handle, refused if the device cannot hold what it stands for. */
  #made(shape: readonly number[], kind: 'float' | 'integer', host?: Int32Array): DeviceTensor {
    this.#checkSize(shape);
    return new DeviceTensor(this, shape, kind, host);
  }

  /** Refuses what the device cannot hold, before anything of that size is made. */
  #checkSize(shape: readonly number[]): void {
    const length = sizeOf(shape);
    const { maxLength, limitName } = this.device;
    if (length <= maxLength) return;
    // Activations are [B,N,D] or [B,H,N,d]; what has fewer axes is a weight or a list.
    const axis = Math.max(0, shape.length - 2);
    const fits = Math.floor(maxLength / (length / shape[axis]));
    const what = shape.length > 2 ? 'tokens' : 'rows';
    const remedy = fits > 0 ? `at most ${fits} instead of ${shape[axis]} ${what} fit` :
      `not one of its ${shape[axis]} ${what} fits, use a smaller ${shape.length > 2 ? 'batch' : 'model'}`;
    throw new DeviceError(`a tensor [${shape}] takes ${length * 4} bytes but ${limitName} is ${maxLength * 4} on ${this.name}: ${remedy}`);
  }

  /** Leaves a job that computes tensors of the given shapes from `inputs`. */
  #call(inputs: readonly DeviceTensor[], shapes: readonly (readonly number[] | 'none')[], body: Body): DeviceTensor[] {
    this.assertAlive();
    const outputs = shapes.map((shape) => this.#made(shape === 'none' ? [0] : shape, 'float'));
    this.#queue.add(() => this.#compute(inputs, outputs, body));
    return outputs;
  }

  async #compute(inputs: readonly DeviceTensor[], outputs: readonly DeviceTensor[], body: Body): Promise<void> {
    const scope = new Scope(this.device);
    try {
      const made = await body(scope, await memoriesOf(inputs));
      outputs.forEach((output, n) => (output.memory = made[n]));
      scope.end(made.filter((memory) => memory !== undefined));
    } catch (error) {
      for (const output of outputs) output.failure = error as Error;
      scope.end([]);
    }
  }

  /** A result that is computed if someone wants it. */
  #later(
    inputs: readonly DeviceTensor[], shape: readonly number[],
    body: (scope: Scope, m: readonly Memory[]) => Promise<Memory>,
  ): DeviceTensor {
    const output = this.#made(shape, 'float');
    this.#queue.add(async () => {
      try {
        output.pending = new Pending(this.device, await memoriesOf(inputs), body);
      } catch (error) {
        output.failure = error as Error;
      }
    });
    return output;
  }

  /** One result. */
  #one(
    inputs: readonly Tensor[], shape: readonly number[], body: (scope: Scope, m: readonly Memory[]) => Promise<Memory>,
  ): DeviceTensor {
    return this.#call(inputs.map(float), [shape], async (scope, m) => [await body(scope, m)])[0];
  }

  // ---- element-wise -----------------------------------------------------------------------------
  add(a: Tensor, b: Tensor): Tensor {
    expectShape('b', b, a.shape, 'add takes equal shapes');
    return this.#one([a, b], a.shape, (scope, [x, y]) => add(scope, x, y, sizeOf(a.shape)));
  }
  accumulate(sum: Tensor, x: Tensor): void {
    expectShape('x', x, sum.shape, 'accumulate takes equal shapes');
    this.#update([float(sum)], [float(sum), float(x)], async (scope, [a, b]) =>
      [await add(scope, a, b, sizeOf(sum.shape))]);
  }

  /** Leaves a job whose results take the place of `targets`. */
  #update(targets: readonly DeviceTensor[], inputs: readonly DeviceTensor[], body: Body): void {
    this.assertAlive();
    this.#queue.add(async () => {
      const results = targets.map(({ shape, kind }) => new DeviceTensor(this, shape, kind));
      await this.#compute(inputs, results, body);
      targets.forEach((target, n) => {
        if (target.memory) this.device.free(target.memory);
        target.memory = results[n].memory;
        target.failure = results[n].failure;
      });
    });
  }

  // ---- layers -----------------------------------------------------------------------------------
  embedding(weight: Tensor, ids: Tensor): Tensor {
    expectRank('weight', weight, 'V,D');
    const [V, D] = weight.shape as [number, number];
    const whole = integer(ids);
    if (whole.host) check.checkIds(whole.host, V);
    return this.#call([float(weight), whole], [[...ids.shape, D]], async (scope, [table, list]) =>
      [await embedding(scope, table, list, sizeOf(ids.shape), D)])[0];
  }
  embeddingBackward(dOut: Tensor, ids: Tensor, vocabulary: number): Tensor {
    const D = dOut.shape[dOut.shape.length - 1];
    expectShape('dOut', dOut, [...ids.shape, D], `ids is [${ids.shape}]`);
    const whole = integer(ids);
    if (whole.host) check.checkIds(whole.host, vocabulary);
    return this.#call([float(dOut), whole], [[vocabulary, D]], async (scope, [gradient, list]) => {
      const host = whole.host ?? Int32Array.from(await this.device.read(list, sizeOf(ids.shape)));
      check.checkIds(host, vocabulary);
      return [await embeddingBackward(scope, gradient, host, vocabulary, D)];
    })[0];
  }
  pickRows(x: Tensor, rows: Tensor): Tensor {
    const { count, width } = check.pickedRows(x);
    const whole = integer(rows);
    if (whole.host) check.checkRows(whole.host, count);
    return this.#call([float(x), whole], [[...rows.shape, width]], async (scope, [table, list]) =>
      [await embedding(scope, table, list, sizeOf(rows.shape), width)])[0];
  }
  linear(x: Tensor, weight: Tensor): Tensor {
    expectRank('weight', weight, 'M,K');
    const [M, K] = weight.shape as [number, number];
    const rows = check.rowsOf('x', x, K, weight);
    return this.#one([x, weight], [...x.shape.slice(0, -1), M], (scope, [a, w]) => linear(scope, a, w, rows, M, K));
  }
  linearBackwardInput(dOut: Tensor, weight: Tensor): Tensor {
    expectRank('weight', weight, 'M,K');
    const [M, K] = weight.shape as [number, number];
    const rows = check.rowsOf('dOut', dOut, M, weight);
    return this.#one([dOut, weight], [...dOut.shape.slice(0, -1), K], (scope, [dy, w]) =>
      linearBackwardInput(scope, dy, w, rows, M, K));
  }
  linearBackwardWeight(dOut: Tensor, x: Tensor): Tensor {
    const { rows, M, K } = check.linearGradientSizes(dOut, x);
    return this.#one([dOut, x], [M, K], (scope, [dy, a]) => linearBackwardWeight(scope, dy, a, rows, M, K));
  }
  rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
    const D = check.normWidth(x, weight);
    return this.#one([x, weight], x.shape, (scope, [a, w]) => rmsNorm(scope, a, w, epsilon, sizeOf(x.shape) / D, D));
  }
  rmsNormBackward(dOut: Tensor, x: Tensor, weight: Tensor, epsilon: number): { dx: Tensor; dWeight: Tensor } {
    const D = check.normWidth(x, weight);
    expectShape('dOut', dOut, x.shape, 'it is the cotangent of a result shaped like x');
    const [dx, dWeight] = this.#call([dOut, x, weight].map(float), [x.shape, [D]], (scope, [dy, a, w]) =>
      rmsNormBackward(scope, dy, a, w, epsilon, sizeOf(x.shape) / D, D));
    return { dx: dx, dWeight: dWeight };
  }
  swiglu(gate: Tensor, up: Tensor): Tensor {
    expectShape('up', up, gate.shape, 'gate and up must have the same shape');
    return this.#one([gate, up], gate.shape, (scope, [x, u]) => swiglu(scope, x, u, sizeOf(gate.shape)));
  }
  swigluBackward(dOut: Tensor, gate: Tensor, up: Tensor): { dGate: Tensor; dUp: Tensor } {
    expectShape('up', up, gate.shape, 'gate and up must have the same shape');
    expectShape('dOut', dOut, gate.shape, 'it is the cotangent of a result shaped like gate');
    const [dGate, dUp] = this.#call([dOut, gate, up].map(float), [gate.shape, gate.shape], (scope, [dy, x, u]) =>
      swigluBackward(scope, dy, x, u, sizeOf(gate.shape)));
    return { dGate: dGate, dUp: dUp };
  }
  splitHeads(x: Tensor, heads: number): Tensor {
    const d = check.splitWidth(x, heads);
    const [B, N] = x.shape as [number, number];
    return this.#one([x], [B, heads, N, d], (scope, [a]) => splitHeads(scope, a, B, heads, N, d));
  }
  mergeHeads(x: Tensor): Tensor {
    expectRank('x', x, 'B,heads,N,d');
    const [B, heads, N, d] = x.shape as [number, number, number, number];
    return this.#one([x], [B, N, heads * d], (scope, [a]) => mergeHeads(scope, a, B, heads, N, d));
  }
  rope(x: Tensor, cos: Tensor, sin: Tensor, inverse = false): Tensor {
    const { B, heads, N, d } = check.ropeSizes(x, cos, sin);
    return this.#one([x, cos, sin], x.shape, (scope, [a, c, s]) => rope(scope, a, c, s, inverse, B, heads, N, d));
  }
  crossEntropy(logits: Tensor, targets: Tensor): Tensor {
    const V = this.#vocabulary(logits, targets);
    return this.#call([float(logits), integer(targets)], [targets.shape], async (scope, [z, t]) =>
      [await crossEntropy(scope, z, t, sizeOf(targets.shape), V)])[0];
  }
  crossEntropyBackward(logits: Tensor, targets: Tensor, weight: number): Tensor {
    const V = this.#vocabulary(logits, targets);
    return this.#call([float(logits), integer(targets)], [logits.shape], async (scope, [z, t]) =>
      [await crossEntropyBackward(scope, z, t, weight, sizeOf(targets.shape), V)])[0];
  }
  #vocabulary(logits: Tensor, targets: Tensor): number {
    const V = check.logitsWidth(logits, targets);
    const { host } = integer(targets);
    if (host) check.checkTargets(host, V);
    return V;
  }

  // ---- optimiser --------------------------------------------------------------------------------
  sumOfSquares(tensors: readonly Tensor[]): Tensor {
    return this.#one(tensors, [1], (scope, m) => sumOfSquares(scope, m, tensors.map(({ shape }) => sizeOf(shape))));
  }
  adamW(parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, options: AdamWOptions): void {
    check.checkAdamW(parameter, { gradient, m, v }, options);
    const { clip, ...rest } = options;
    const targets = [parameter, m, v].map(float);
    const inputs = [...targets, float(gradient), ...(clip ? [float(clip.squaredNorm)] : [])];
    this.#update(targets, inputs, (scope, [theta, mean, square, dy, squaredNorm]) =>
      adamW(scope, theta, dy, mean, square, sizeOf(parameter.shape), {
        ...rest, ...(clip && { clip: { squaredNorm: squaredNorm, maxNorm: clip.maxNorm } }),
      }));
  }

  // ---- token types and lifetime -----------------------------------------------------------------
  poolChunks(x: Tensor, chunk: number, pooling: Pooling): Tensor {
    check.checkPooling(chunk, pooling);
    expectRank('x', x, 'B,N,D');
    const [B, N, D] = x.shape as [number, number, number];
    return this.#one([x], [B, chunkCount(N, chunk), D], (scope, [a]) =>
      poolChunks(scope, a, B, N, D, chunk, pooling === 'max'));
  }
  createChunkPool(batch: number, width: number, chunk: number, pooling: Pooling): ChunkPool {
    check.checkPooling(chunk, pooling);
    return new GpuChunkPool(this.#jobs, { batch, width, chunk, pooling }, this.zeros([batch, width]) as DeviceTensor);
  }
  tokenTypes(
    scores: Tensor, options: { noise?: Tensor; temperature: number; forceGlobal?: Tensor },
  ): { types: Tensor; probabilities: Tensor } {
    const { noise, temperature, forceGlobal } = options;
    const { B, G, chunks } = check.scoresSizes(scores, noise, temperature, forceGlobal);
    const inputs = [float(scores), ...(noise ? [float(noise)] : []), ...(forceGlobal ? [integer(forceGlobal)] : [])];
    this.assertAlive();
    const types = this.#made([B, G, chunks], 'integer');
    types.chosen = true;
    this.#queue.add(() => this.#compute(inputs, [types], async (scope, m) => [await tokenTypes(scope, m[0], {
      ...(noise && { noise: m[1] }),
      ...(forceGlobal && { forceGlobal: m[m.length - 1] }),
    }, B, G, chunks)]));
    // Inference asks for the types only.
    const probabilities = this.#later(noise ? inputs.slice(0, 2) : inputs.slice(0, 1), scores.shape, (scope, [s, n]) =>
      typeProbabilities(scope, s, n, temperature, B * G * chunks));
    return { types, probabilities };
  }
  tokenTypesBackward(
    dTypes: Tensor, probabilities: Tensor, options: { temperature: number; forceGlobal?: Tensor },
  ): Tensor {
    const { temperature, forceGlobal } = options;
    const { B, G, chunks } = check.scoresSizes(probabilities, dTypes, temperature, forceGlobal);
    const inputs = [float(dTypes), float(probabilities), ...(forceGlobal ? [integer(forceGlobal)] : [])];
    return this.#call(inputs, [probabilities.shape], async (scope, [dt, y, force]) => {
      const how = { temperature, ...(force && { forceGlobal: force }) };
      return [await tokenTypesBackward(scope, dt, y, how, B, G, chunks)];
    })[0];
  }
  lifetime(types: Tensor, length: number, options: LifetimeOptions): Tensor {
    const whole = this.#types(types, length, options);
    const [B, G] = types.shape as [number, number];
    const last = this.#made([B, G, length], 'integer');
    this.assertAlive();
    this.#queue.add(() => this.#compute([whole], [last], async (scope, [t]) =>
      [await lifetime(scope, t, B * G, length, options)]));
    return last;
  }
  #types(types: Tensor, length: number, options: LifetimeOptions): DeviceTensor {
    checkTypesShape(types, length, options);
    const whole = integer(types);
    if (whole.host) checkTypeValues(whole.host);
    for (const name of ['window', 'bound'] as const) {
      const reach = options[name] ?? FOREVER;
      if (length + reach >= MOST_TOKENS && reach < FOREVER - length) {
        throw new DeviceError(`${length} tokens and a ${name} of ${reach} pass ${MOST_TOKENS}, beyond which float32 does not count: use a smaller ${name}`);
      }
    }
    return whole;
  }
  keptShare(last: Tensor): Tensor {
    expectRank('last', last, 'B,G,N');
    const [B, G, N] = last.shape as [number, number, number];
    return this.#call([integer(last)], [[B, G]], async (scope, [ends]) =>
      [await keptShare(scope, ends, B * G, N)])[0];
  }
  addMemoryPrice(dTypes: Tensor, types: Tensor, length: number, options: LifetimeOptions & { weight: number }): Tensor {
    const whole = this.#types(types, length, options);
    const [B, G, chunks] = types.shape as [number, number, number];
    expectShape('dTypes', dTypes, [B, G, chunks, 3], `types is [${types.shape}]`);
    return this.#call([float(dTypes), whole], [dTypes.shape], async (scope, [dt, t]) =>
      [await addMemoryPrice(scope, dt, t, B * G, length, options)])[0];
  }

  // ---- attention and cache ----------------------------------------------------------------------
  attention({ q, k, v, last, scale }: AttentionInputs): { out: Tensor; lse: Tensor } {
    const sizes = { ...attentionSizes(q, k, v, last), scale };
    const inputs = [float(q), float(k), float(v), integer(last)];
    const [out, lse] = this.#call(inputs, [q.shape, q.shape.slice(0, 3)], (scope, m) =>
      attention(scope, { q: m[0], k: m[1], v: m[2], last: m[3] }, sizes));
    return { out: out, lse: lse };
  }
  attentionBackward(inputs: AttentionBackwardInputs): { dq: Tensor; dk: Tensor; dv: Tensor; dTypes?: Tensor } {
    const { q, k, v, last, out, lse, dOut, types } = inputs;
    const sizes = { ...attentionSizes(q, k, v, last), scale: inputs.scale };
    check.checkForward(out, lse, dOut, sizes);
    const handles = [float(q), float(k), float(v), integer(last), float(out), float(lse), float(dOut)];
    if (types) handles.push(this.#types(types.types, sizes.N, types));
    const typeShape = types ? [...types.types.shape, 3] : 'none';
    const [dq, dk, dv, dTypes] = this.#call(handles, [q.shape, k.shape, v.shape, typeShape], (scope, m) =>
      attentionBackward(
        scope, { q: m[0], k: m[1], v: m[2], last: m[3], out: m[4], lse: m[5], dOut: m[6] }, sizes,
        types && { ...types, types: m[7], bounded: types.rule === 'bounded' },
      ));
    return { dq: dq, dk: dk, dv: dv, ...(types && { dTypes: dTypes }) };
  }
  createCache(options: CacheOptions): Cache {
    this.assertAlive();
    check.checkCacheOptions(options);
    return new GpuCache(this.#jobs, new DeviceCache(this.device, { ...options }));
  }
}

/** float32 counts whole numbers up to here. */
const MOST_TOKENS = 2 ** 24;
