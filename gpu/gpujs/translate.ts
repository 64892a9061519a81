/**
 * Kernels as WebGPU runs them: gpu.js translates their text to WGSL, which gpu/device compiles and dispatches.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import type { ProgramSource } from '../device/program.ts';
import type { Size } from './device.ts';
import type { Kernel } from './kernel.ts';
import { createKernel, type Library, type ParamsLayout } from './library.ts';

/** A kernel in WGSL, and where its parameters lie. */
export interface Translated {
  readonly source: ProgramSource;
  readonly layout: ParamsLayout;
}

/** Makes gpu.js translate kernels, for which it has to believe that there is WebGPU. */
export function translator(library: Library): (kernel: Kernel) => Translated {
  Object.defineProperty(library.WebGPUContext, 'isSupported', { get: () => true, configurable: true });
  const gpu = new library.GPU({ mode: 'webgpu' });
  return (kernel) => {
    const { kernel: raw } = createKernel(gpu, kernel, 'webgpu');
    const { mode } = raw.constructor;
    if (mode !== 'webgpu') throw new DeviceError(`a kernel was built for '${mode}' though 'webgpu' was asked for`);
    // The values of arguments do not matter, since their types are declared.
    const one = library.input(new Float32Array(1), [1]);
    const { WebGPUContext } = library;
    const acquire = WebGPUContext.acquire;
    // After translating, build() waits for a device, which it never gets.
    WebGPUContext.acquire = () => new Promise(() => {});
    try {
      void raw.build(...kernel.arrays.map(() => one), ...kernel.integers.map(() => 0), ...kernel.floats.map(() => 0));
    } finally {
      WebGPUContext.acquire = acquire;
    }
    const { compiledSource: code, paramsLayout: layout } = raw;
    return { source: { name: kernel.name, code, inputs: kernel.arrays.length, paramBytes: layout.byteLength }, layout };
  };
}

/** The parameters of a call: the result's extents, the arrays' lengths, then the scalars. */
export function packed(
  { arrayArgs, scalarArgs, byteLength }: ParamsLayout, size: Required<Size>, rowThreads: number,
  lengths: readonly number[], scalars: readonly number[],
): ArrayBuffer {
  const params = new ArrayBuffer(byteLength);
  const [whole, unsigned, float] = [new Int32Array(params), new Uint32Array(params), new Float32Array(params)];
  unsigned.set([...size, rowThreads]);
  lengths.forEach((length, n) => unsigned.set([length, 1, 1, length], arrayArgs[n].dimsOffset / 4));
  scalars.forEach((value, n) => {
    const { offset, type } = scalarArgs[n];
    (type === 'Integer' ? whole : float)[offset / 4] = value;
  });
  return params;
}

/** The most workgroups along an axis. */
const MOST_GROUPS = 65535;

/** Workgroups as gpu.js's code expects them: 64 threads of a row, which is folded if it is too long, or 8 x 8. */
export function groupsOf(
  kernel: Kernel, [x, y, z]: Required<Size>,
): { groups: [x: number, y: number, z: number]; rowThreads: number } {
  if (!kernel.flat) {
    const groups: [number, number, number] = [Math.ceil(x / 8), Math.ceil(y / 8), z];
    if (Math.max(...groups) > MOST_GROUPS) {
      const [most, layers] = [MOST_GROUPS * 8, MOST_GROUPS];
      throw new DeviceError(`kernel '${kernel.name}' needs ${x} x ${y} x ${z} threads, but WebGPU dispatches at most ${most} x ${most} x ${layers}: use a smaller batch or a shorter context`);
    }
    return { groups, rowThreads: 0 };
  }
  const all = Math.ceil(x / 64);
  const rows = Math.ceil(all / MOST_GROUPS);
  const row = Math.ceil(all / rows);
  return { groups: [row, rows, 1], rowThreads: row * 64 };
}
