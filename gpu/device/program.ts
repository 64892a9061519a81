/**
 * Programs for the GPU: WGSL, compiled.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import { oneLine } from './error-text.ts';
import type { DeviceHealth } from './health.ts';

/** GPUShaderStage as a number, since its global is missing in Node. */
const COMPUTE = 4;

/** What to compile. In group 0, binding 0 holds the parameters; the inputs follow, and then the outputs. */
export interface ProgramSource {
  /** What errors and profiles call it. */
  readonly name: string;
  /** WGSL with an entry point `main`. */
  readonly code: string;
  /** The number of read-only storage buffers. */
  readonly inputs: number;
  /** The number of storage buffers that it writes to. Default: 1. */
  readonly outputs?: number;
  /** The size of the parameters, at most 256 bytes. */
  readonly paramBytes: number;
}

/** A compiled program. */
export interface Program {
  /** Undefined while it is being compiled. */
  readonly pipeline: GPUComputePipeline | undefined;
  /** Resolves once it is compiled or refused. Absent if it was compiled before. */
  readonly ready?: Promise<void>;
  readonly layout: GPUBindGroupLayout;
  readonly paramBytes: number;
  /** Bind groups by the numbers of their buffers: in a steady state the same ones recur. */
  readonly groups: Map<string, GPUBindGroup>;
  /** The same program for parameters at fixed places, which are faster to bind; it is compiled when first asked for. */
  readonly fixed?: () => FixedProgram;
}

/** A program whose bind groups say where its parameters are. */
export interface FixedProgram {
  /** Undefined while it is being compiled, or if that failed. */
  readonly pipeline: GPUComputePipeline | undefined;
  readonly layout: GPUBindGroupLayout;
}

/** Compiles a program. @throws {DeviceError} If the driver refuses it. */
export async function compile(device: GPUDevice, health: DeviceHealth, source: ProgramSource): Promise<Program> {
  health.check();
  const { layout, descriptor } = described(device, source);
  try {
    const pipeline = await device.createComputePipelineAsync(descriptor);
    health.check();
    return { pipeline, layout, paramBytes: source.paramBytes, groups: new Map() };
  } catch (error) {
    health.check(); // a lost device compiles nothing
    throw refusal(source.name, error);
  }
}

/**
 * The same without waiting for the driver, which compiles many programs side by side: the recorder keeps commands back
 * until then. If the driver refuses the program, whoever asks the device next hears of it.
 */
export function compileSoon(device: GPUDevice, health: DeviceHealth, source: ProgramSource): Program {
  health.check();
  const { layout, descriptor } = described(device, source);
  let fixed: FixedProgram | undefined;
  const program: { -readonly [Key in keyof Program]: Program[Key] } = {
    pipeline: undefined, layout, paramBytes: source.paramBytes, groups: new Map(),
    fixed: () => fixed ??= compileFixed(device, source),
  };
  program.ready = device.createComputePipelineAsync(descriptor).then((pipeline) => {
    program.pipeline = pipeline;
  }, (error: unknown) => health.fail(refusal(source.name, error).message));
  return program;
}

/** Whoever needs it does without if the driver refuses it: the other one was compiled. */
function compileFixed(device: GPUDevice, source: ProgramSource): FixedProgram {
  const { layout, descriptor } = described(device, source, false);
  const fixed: { -readonly [Key in keyof FixedProgram]: FixedProgram[Key] } = { pipeline: undefined, layout };
  device.createComputePipelineAsync(descriptor).then((pipeline) => {
    fixed.pipeline = pipeline;
  }, () => {});
  return fixed;
}

function described(
  device: GPUDevice, { name, code, inputs, outputs = 1 }: ProgramSource, hasDynamicOffset = true,
): { layout: GPUBindGroupLayout; descriptor: GPUComputePipelineDescriptor } {
  const storage = (binding: number): GPUBindGroupLayoutEntry =>
    ({ binding, visibility: COMPUTE, buffer: { type: binding > inputs ? 'storage' : 'read-only-storage' } });
  const layout = device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility: COMPUTE, buffer: { type: 'uniform', hasDynamicOffset } },
      ...Array.from({ length: inputs + outputs }, (_, n) => storage(n + 1)),
    ],
  });
  const descriptor = {
    label: name,
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module: device.createShaderModule({ label: name, code }), entryPoint: 'main' },
  };
  return { layout, descriptor };
}

function refusal(name: string, error: unknown): DeviceError {
  return new DeviceError(`the kernel '${name}' was refused by WebGPU (${oneLine(error)}): update the graphics driver, or leave --gpu out to run on the CPU`);
}
