/**
 * WebGPU for tests that need the device itself: the runtime's own, or Dawn from the package `webgpu`. If there is none
 * the tests are skipped, with the reason; with NATS_REQUIRE_WEBGPU=1 they fail instead. If NATS_STACKS names only other
 * stacks, these tests do not exist in the run.
 * @module
 */
import { describe } from 'vitest';

/** Kept here because an instance must outlive its devices. */
let instance: GPU | undefined;

/**
 * Requests a device with the default limits, which every device has.
 *
 * @param limits Limits of which it has as much as its adapter allows.
 */
export async function requestGpuDevice(...limits: (keyof GPUSupportedLimits & string)[]): Promise<GPUDevice> {
  instance ??= (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu ??
    ((await import('webgpu')) as { create(options: string[]): GPU }).create([]);
  const adapter = await instance.requestAdapter();
  if (!adapter) throw new Error('WebGPU has no adapter here');
  return adapter.requestDevice({
    requiredLimits: Object.fromEntries(limits.map((name) => [name, adapter.limits[name] as number])),
  });
}

let fastInstance: GPU | undefined;

/** Requests a device with every feature and limit of its adapter that fast kernels may use, experimental ones too. */
export async function requestFastDevice(): Promise<{ device: GPUDevice; info: GPUAdapterInfo }> {
  fastInstance ??= (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu ??
    ((await import('webgpu')) as { create(options: string[]): GPU }).create([
      'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,use_vulkan_memory_model',
    ]);
  const adapter = await fastInstance.requestAdapter();
  if (!adapter) throw new Error('WebGPU has no adapter here');
  const wanted = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as GPUFeatureName[];
  const { maxComputeWorkgroupStorageSize, maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
    requiredLimits: { maxComputeWorkgroupStorageSize, maxStorageBufferBindingSize, maxBufferSize },
  });
  return { device, info: adapter.info };
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
