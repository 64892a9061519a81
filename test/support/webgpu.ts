/**
 * WebGPU for tests that want the device itself: built in, or Dawn from the package `webgpu`. Where there is none the
 * tests are skipped and say why; with NATS_REQUIRE_WEBGPU=1 they fail instead. Where NATS_STACKS names other stacks
 * only, they are none of the run's tests.
 * @module
 */
import { describe } from 'vitest';

/** An instance must outlive its devices. */
let instance: GPU | undefined;

/** A device with the limits that every device has. */
export async function requestGpuDevice(): Promise<GPUDevice> {
  instance ??= (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu ??
    ((await import('webgpu')) as { create(options: string[]): GPU }).create([]);
  const adapter = await instance.requestAdapter();
  if (!adapter) throw new Error('WebGPU has no adapter here');
  return adapter.requestDevice();
}

const asked = (process.env['NATS_STACKS'] ?? 'webgpu').split(',').includes('webgpu');

async function absence(): Promise<string | undefined> {
  if (!asked) return undefined;
  if (process.env['NATS_REQUIRE_WEBGPU'] === '1') return undefined;
  try {
    (await requestGpuDevice()).destroy();
    return undefined;
  } catch (error) {
    return (error as Error).message.split('\n')[0];
  }
}

const missing = await absence();

/** `describe` for tests that need a WebGPU device. */
export function describeWebGPU(title: string, tests: () => void): void {
  if (!asked) return;
  if (missing) describe.skip(`${title} [skipped, ${missing}]`, tests);
  else describe(title, tests);
}
