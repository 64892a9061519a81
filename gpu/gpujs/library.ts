/**
 * The one file that touches gpu.js: loads it, and declares what of it the devices use.
 *
 * Some of that is missing in the library's own declarations, and some (a kernel's WGSL) in its manual. So the version
 * is pinned exactly, and built packages contain it (tsup.config.ts).
 * @module
 */
import { AT, type Kernel, sourceOf } from './kernel.ts';

/** Where gpu.js puts a kernel's parameters, in bytes; the result's extents come first. */
export interface ParamsLayout {
  readonly arrayArgs: readonly { readonly dimsOffset: number }[];
  readonly scalarArgs: readonly { readonly offset: number; readonly type: string }[];
  readonly byteLength: number;
}

/** gpu.js's own kernel object, as far as it is used here. */
export interface RawKernel {
  /** webgpu: what build() makes of the source before it waits for a device. */
  readonly compiledSource: string;
  readonly paramsLayout: ParamsLayout;
  /** webasm: how many compiled modules are kept, one per combination of sizes. */
  moduleCacheLimit: number;
  /** webasm: turns the flat result into nested arrays. */
  _shapeOutput: (data: Float32Array) => unknown;
  build(...args: unknown[]): Promise<void> | void;
  setOutput(output: number[]): void;
}

/** What createKernel returns: callable, with the raw kernel inside. */
export interface Shortcut {
  (...args: unknown[]): unknown;
  kernel: RawKernel & { constructor: { mode: string } };
}

/** The exports in use. */
export interface Library {
  GPU: new (settings: { mode: string; canvas?: unknown; context?: unknown }) => {
    createKernel(source: string, settings: object): Shortcut;
    destroy(): Promise<void>;
  };
  input(values: Float32Array, size: readonly number[]): unknown;
  WebGPUContext: { acquire(): Promise<never> };
  Texture: new (settings: object) => object;
  WebGL2Kernel: object;
}

let loading: Promise<Library> | undefined;

/** Loads gpu.js once. In built packages, `ready` is a promise of it (scripts/gpu-js-parts.ts). */
export function loadLibrary(): Promise<Library> {
  loading ??= import('gpu.js').then(async (module: { default?: unknown; ready?: Promise<unknown> }) => {
    return ((await module.ready) ?? module.default ?? module) as Library;
  });
  return loading;
}

/** The settings that make a kernel mean the same on every backend. */
export function settingsOf(kernel: Kernel, arrayType: string): object {
  const types: Record<string, string> = {};
  for (const name of kernel.arrays) types[name] = arrayType;
  for (const name of kernel.integers) types[name] = 'Integer';
  for (const name of kernel.floats) types[name] = 'Float';
  return {
    argumentTypes: types,
    functions: [AT],
    output: kernel.flat ? [1] : [1, 1, 1],
    // Inferred, it would be a whole number where a `return 0` comes first.
    returnType: kernel.parts === 4 ? 'Array(4)' : 'Float',
    pipeline: true,
    precision: 'single',
    dynamicOutput: true,
    dynamicArguments: true,
    loopMaxIterations: 10_000_000,
    tactic: 'precision', // webgl2 would take low precision for small outputs
  };
}

/** Creates a kernel for a backend. gpu.js may fall back to another one, which callers have to check. */
export function createKernel(
  gpu: InstanceType<Library['GPU']>, kernel: Kernel, mode: string, extra: object = {},
): Shortcut {
  const arrayType = mode === 'webgl2' ? 'ArrayTexture(1)' : 'Input';
  return gpu.createKernel(sourceOf(kernel), { ...settingsOf(kernel, arrayType), ...extra });
}
