/**
 * Compiled kernels of one device.
 * @module
 */
import type { DeviceHealth } from '../device/health.ts';
import { compileSoon, type Program, type ProgramSource } from '../device/program.ts';
import { type Kernel, paramBytes } from './template.ts';

/** Kernels, compiled once each. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #health: DeviceHealth;
  readonly #programs = new Map<Kernel, Program>();

  constructor(device: GPUDevice, health: DeviceHealth) {
    this.#device = device;
    this.#health = health;
  }

  /** The program of a kernel, which the driver begins to compile when it is first asked for. */
  of(kernel: Kernel): Program {
    const known = this.#programs.get(kernel);
    if (known) return known;
    const program = compileSoon(this.#device, this.#health, sourceOf(kernel));
    this.#programs.set(kernel, program);
    return program;
  }

  /** Forgets all. */
  clear(): void {
    this.#programs.clear();
  }
}

function sourceOf(kernel: Kernel): ProgramSource {
  const { name, code, inputs, outputs } = kernel;
  return { name, code, inputs, outputs, paramBytes: paramBytes(kernel) };
}
