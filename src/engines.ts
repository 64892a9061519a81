/**
 * The composition root: the only file that knows which engines exist.
 * @module
 */
import { referenceEngine } from '../reference/index.ts';
import { oneOf, optional, record, wholeFrom } from './core/arguments.ts';
import { DeviceError, ValueError } from './core/errors.ts';
import { expectKnown } from './core/known-options.ts';
import type { TrainingEngine } from './core/training-engine.ts';

/** The backends of gpu.js. */
export type GpuJsBackend = 'webgpu' | 'webgl2' | 'webasm' | 'cpu';

/**
 * A GPU engine: 'wgsl' is hand-written WGSL over WebGPU, 'gpujs' is gpu.js on the best GPU present, and 'gpujs:' with a
 * backend, or the backend alone, forces that. `true` takes WGSL or, in browsers without WebGPU, gpu.js on WebGL2.
 */
export type GpuChoice = true | 'wgsl' | 'gpujs' | `gpujs:${GpuJsBackend}` | GpuJsBackend;

/** An engine on the CPU: the readable `reference`, or `wasm`, which is WebAssembly with SIMD. */
export type CpuChoice = 'reference' | 'wasm';

/** Options of createEngine() for the engine of WebAssembly. */
export interface WasmEngineOptions {
  readonly engine: 'wasm';
  /** `float32` (default), or `float64`, in which results have the reference's bits. */
  readonly precision?: 'float64' | 'float32';
  /**
   * How many threads compute, 1 to 64; results have the same bits for any number. They are worker threads in Node and
   * Deno, and Web Workers in pages that are cross-origin isolated. Where there can be none, one thread computes, and
   * the engine's name says why. Default: as many as the machine has, at most 8, which start when first needed.
   */
  readonly threads?: number;
}

/** Options of createEngine() for the reference. */
export interface ReferenceEngineOptions {
  readonly engine?: 'reference';
  /** `float64` (default), or `float32`, to which every result is then rounded. */
  readonly precision?: 'float64' | 'float32';
}

/** Options of createEngine() for an engine on a GPU. */
export interface GpuEngineOptions {
  /** `true` takes 'wgsl' or, in browsers without WebGPU, 'gpujs' on WebGL2. A name forces an engine. */
  readonly gpu: GpuChoice;
  /** A GPUDevice of the application to use instead of a new one. dispose() does not destroy it. */
  readonly gpuDevice?: object;
  /**
   * For 'wgsl': what products of many rows, and attention of many queries, are computed in, as when a prompt is read.
   * 'f16' is several times as fast on GPUs with matrix units that WebGPU reaches, and off by about 5e-4 of the largest
   * numbers instead of 1e-6; it refuses other devices. Default: 'f32'.
   */
  readonly compute?: 'f32' | 'f16';
  /** Switches for Dawn in Node, such as 'enable-dawn-features=allow_unsafe_apis'. */
  readonly dawn?: readonly string[];
}

/**
 * Creates an engine: the reference, one of WebAssembly, or one on a GPU. The code of the latter two is loaded when
 * first needed.
 *
 * @param options Without options, the reference in float64, at once. `engine: 'wasm'` requests the fast engine for
 *   CPUs, as a promise, and `threads` how many it has. `precision` is that of either. `gpu` requests a float32 engine,
 *   as a promise: 'wgsl' for hand-written WGSL over WebGPU, 'gpujs' for gpu.js, 'gpujs:webgpu', 'gpujs:webgl2',
 *   'gpujs:webasm' or 'gpujs:cpu' for one of its backends, which may also be named alone, or `true` for the best GPU
 *   present. There is no fallback: it throws if that is not available.
 * @returns The engine. Call its `dispose()` when done.
 * @throws {DeviceError} If there is no such GPU or driver; the message says what to install. Or if there is no
 *   WebAssembly with SIMD.
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
export function createEngine(options?: ReferenceEngineOptions): TrainingEngine;
export function createEngine(options: WasmEngineOptions | GpuEngineOptions): Promise<TrainingEngine>;
export function createEngine(
  options: ReferenceEngineOptions | WasmEngineOptions | GpuEngineOptions = {},
): TrainingEngine | Promise<TrainingEngine> {
  record({
    precision: optional(oneOf('float64', 'float32')), engine: optional(oneOf('reference', 'wasm')),
    threads: optional(wholeFrom(1, 64)),
  })('options', options);
  expectKnown('createEngine()', options, ['precision', 'engine', 'threads', 'gpu', 'gpuDevice', 'dawn', 'compute']);
  if ('gpu' in options && options.gpu !== undefined) return createGpuEngine(options);
  const cpu = options as ReferenceEngineOptions | WasmEngineOptions;
  if (cpu.engine === 'wasm') return createWasmEngine(cpu);
  if ('threads' in cpu) throw new ValueError(`threads was given without engine: 'wasm': the reference computes on one thread, so leave it out`);
  return referenceEngine(cpu.precision);
}

/**
 * The engine on the CPU of this name, or the default one: that of WebAssembly, or the reference where there is no
 * WebAssembly with SIMD. The reference has one thread, whatever `threads` says.
 */
export async function openCpuEngine(name?: CpuChoice, threads?: number): Promise<TrainingEngine> {
  if (name === 'reference') return referenceEngine();
  try {
    return await createWasmEngine(threads === undefined ? {} : { threads });
  } catch (error) {
    if (name === 'wasm' || !(error instanceof DeviceError)) throw error;
    return referenceEngine();
  }
}

async function createWasmEngine({ precision, threads }: Omit<WasmEngineOptions, 'engine'>): Promise<TrainingEngine> {
  const { openWasmEngine } = await import('../wasm/index.ts');
  return openWasmEngine({ ...(precision && { precision }), ...(threads !== undefined && { threads }) });
}

async function createGpuEngine({ gpu, compute, ...options }: GpuEngineOptions): Promise<TrainingEngine> {
  if ('precision' in options) throw new ValueError('precision was given with gpu: leave it out, as GPUs compute only in float32');
  if ('threads' in options) throw new ValueError('threads was given with gpu: leave it out, they are those of an engine on the CPU');
  if ('engine' in options) throw new ValueError('engine was given with gpu: it names an engine on the CPU, so leave one of them out');
  if (gpu === 'wgsl' || gpu === true) {
    const { openWgslEngine } = await import('../gpu/wgsl/open.ts');
    try {
      return await openWgslEngine({ ...options, ...(compute && { compute }) });
    } catch (error) {
      // In a browser, the best GPU present may be one that only gpu.js reaches, by WebGL2.
      if (gpu === 'wgsl' || compute === 'f16' || typeof WebGL2RenderingContext === 'undefined') throw error;
    }
  }
  if (compute === 'f16') throw new ValueError(`compute is f16, but gpu.js computes in float32 only: leave it out, or choose gpu: 'wgsl'`);
  const { openEngine } = await import('../gpu/gpujs/open.ts');
  return openEngine({ ...options, gpu: typeof gpu === 'string' ? backendOf(gpu) : gpu });
}

/** The backend of gpu.js that a name stands for. Unknown names are left for it to refuse. */
function backendOf(name: Exclude<GpuChoice, true | 'wgsl'>): true | GpuJsBackend {
  return name === 'gpujs' ? true : name.replace(/^gpujs:/, '') as GpuJsBackend;
}

export { attention, type AttentionArguments, attentionBackward, type AttentionBackwardArguments, maskGradient } from '../reference/public/attention.ts';
export { KVCache, type StepInputs } from '../reference/public/cache.ts';
export { lifetime } from '../reference/public/lifetime.ts';
export { attentionMask, relaxedMask } from '../reference/public/mask.ts';
export { massAttention, type MassArguments, MassCache, type MassStepInputs } from '../reference/public/mass.ts';
export { addMemoryPrice, keptShare } from '../reference/public/price.ts';
export { selectTokenTypes, tokenTypesBackward } from '../reference/public/search.ts';
