/**
 * The composition root: the only file that knows which engines exist.
 * @module
 */
import { referenceEngine } from '../reference/index.ts';
import { oneOf, optional, record } from './core/arguments.ts';
import { ValueError } from './core/errors.ts';
import { expectKnown } from './core/known-options.ts';
import type { TrainingEngine } from './core/training-engine.ts';

/** A backend of gpu.js, or true for the best GPU present. */
export type GpuChoice = true | 'webgpu' | 'webgl2' | 'webasm' | 'cpu';

/** Options of createEngine() for an engine on gpu.js. */
export interface GpuEngineOptions {
  /** `true` takes the best GPU present: WebGPU or, in browsers without it, WebGL2. A name forces a backend. */
  readonly gpu: GpuChoice;
  /** A GPUDevice of the application to use instead of a new one. dispose() does not destroy it. */
  readonly gpuDevice?: object;
  /** Switches for Dawn in Node, such as 'enable-dawn-features=allow_unsafe_apis'. */
  readonly dawn?: readonly string[];
}

/**
 * Creates an engine: either the reference, or one on gpu.js, whose code is loaded when first needed.
 *
 * @param options `precision` is that of the reference: `float64` (default) or `float32`, to which every result is then
 *   rounded. `gpu` requests a float32 engine on a backend of gpu.js, as a promise: `true`, 'webgpu', 'webgl2',
 *   'webasm' or 'cpu'. There is no fallback: it throws if the backend is not available.
 * @returns The engine. Call its `dispose()` when done.
 * @throws {DeviceError} If there is no such GPU or driver; the message says what to install.
 * @throws {ValueError} If options contradict each other.
 * @example
 * ```ts
 * import { createEngine } from 'neural-attention-search';
 * const engine = createEngine();
 * const sum = engine.add(engine.tensor([1, 2], [2]), engine.tensor([3, 4], [2]));
 * console.log([...(await engine.read(sum))]); // [4,6]
 * engine.dispose();
 * ```
 */
export function createEngine(options?: { precision?: 'float64' | 'float32' }): TrainingEngine;
export function createEngine(options: GpuEngineOptions): Promise<TrainingEngine>;
export function createEngine(
  options: { precision?: 'float64' | 'float32' } | GpuEngineOptions = {},
): TrainingEngine | Promise<TrainingEngine> {
  record({ precision: optional(oneOf('float64', 'float32')) })('options', options);
  expectKnown('createEngine()', options, ['precision', 'gpu', 'gpuDevice', 'dawn']);
  if ('gpu' in options && options.gpu !== undefined) return createGpuEngine(options);
  return referenceEngine((options as { precision?: 'float64' | 'float32' }).precision);
}

async function createGpuEngine(options: GpuEngineOptions): Promise<TrainingEngine> {
  if ('precision' in options) throw new ValueError('precision was given with gpu: leave it out, as gpu.js computes only in float32');
  const { openEngine } = await import('../gpu/gpujs/open.ts');
  return openEngine(options);
}

export { attention, type AttentionArguments, attentionBackward, type AttentionBackwardArguments, maskGradient } from '../reference/public/attention.ts';
export { KVCache, type StepInputs } from '../reference/public/cache.ts';
export { lifetime } from '../reference/public/lifetime.ts';
export { attentionMask, relaxedMask } from '../reference/public/mask.ts';
export { massAttention, type MassArguments, MassCache } from '../reference/public/mass.ts';
export { addMemoryPrice, keptShare } from '../reference/public/price.ts';
export { selectTokenTypes, tokenTypesBackward } from '../reference/public/search.ts';
