/**
 * Programs for the GPU: WGSL, compiled.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import { oneLine } from './error-text.ts';
import type { DeviceHealth } from './health.ts';

/** GPUShaderStage as a number, since its global is missing in Node. */
const COMPUTE = 4;

/** What to compile. In group 0, binding 0 holds the parameters; the inputs follow, and the output comes last. */
export interface ProgramSource {
  /** What errors and profiles call it. */
  readonly name: string;
  /** WGSL with an entry point `main`. */
  readonly code: string;
  /** The number of read-only storage buffers. */
  readonly inputs: number;
  /** The size of the parameters, at most 256 bytes. */
  readonly paramBytes: number;
}

/** A compiled program. */
export interface Program {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly paramBytes: number;
  /** Bind groups by the numbers of their buffers: in a steady state the same ones recur. */
  readonly groups: Map<string, GPUBindGroup>;
}

/** Compiles a program. @throws {DeviceError} If the driver refuses it. */
export async function compile(
  device: GPUDevice, health: DeviceHealth, { name, code, inputs, paramBytes }: ProgramSource,
): Promise<Program> {
  health.check();
  const storage = (binding: number): GPUBindGroupLayoutEntry =>
    ({ binding, visibility: COMPUTE, buffer: { type: binding > inputs ? 'storage' : 'read-only-storage' } });
  const layout = device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility: COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true } },
      ...Array.from({ length: inputs + 1 }, (_, n) => storage(n + 1)),
    ],
  });
  try {
    const pipeline = await device.createComputePipelineAsync({
      label: name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module: device.createShaderModule({ label: name, code }), entryPoint: 'main' },
    });
    health.check();
    return { pipeline, layout, paramBytes, groups: new Map() };
  } catch (error) {
    health.check(); // a lost device compiles nothing
    throw new DeviceError(`the kernel '${name}' was refused by WebGPU (${oneLine(error)}): update the graphics driver, or leave --gpu out to run on the CPU`);
  }
}
