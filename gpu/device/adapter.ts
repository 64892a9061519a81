/**
 * Finding an adapter and opening a device: WebGPU as browsers and Deno have it, in Node by Dawn (the optional package
 * `webgpu`).
 * @module
 */
import { DeviceError, ValueError } from '../../src/core/errors.ts';
import { firstLine } from './error-text.ts';

/** A device, and where it came from. */
export interface OpenedDevice {
  readonly device: GPUDevice;
  /** Null where the application brought the device. */
  readonly adapter: GPUAdapter | null;
  /** Whether the engine opened it, and so destroys it. */
  readonly owned: boolean;
}

/** Refuses what is not a GPUDevice. */
export function checkGpuDevice(gpuDevice: object): void {
  if (typeof (gpuDevice as Partial<GPUDevice> | null)?.createBuffer !== 'function') {
    throw new ValueError('gpuDevice is no GPUDevice: pass what adapter.requestDevice() resolved to');
  }
}

/** Takes the application's device, or opens one on the fastest adapter. `dawn` holds switches for Dawn in Node. */
export async function openGpuDevice(gpuDevice: object | undefined, dawn: readonly string[]): Promise<OpenedDevice> {
  if (gpuDevice) return { device: gpuDevice as GPUDevice, adapter: null, owned: false };
  const adapter = await requestAdapter(dawn);
  return { device: await requestDevice(adapter), adapter, owned: true };
}

/** What is asked of an adapter that has it. */
const FEATURES = [
  'shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix',
] as readonly GPUFeatureName[];

/** Instances of Dawn by their switches. They must outlive their devices. */
const instances = new Map<string, GPU>();

async function requestAdapter(switches: readonly string[]): Promise<GPUAdapter> {
  const builtIn = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  const gpu = builtIn ?? await loadDawn(switches);
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    throw new DeviceError('no GPU adapter was found: install a Vulkan, Metal or Direct3D 12 driver, or leave --gpu out to run on the CPU');
  }
  return adapter;
}

async function requestDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const {
    maxStorageBufferBindingSize, maxBufferSize, maxStorageBuffersPerShaderStage, maxComputeWorkgroupStorageSize,
    maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX,
  } = adapter.limits;
  try {
    return await adapter.requestDevice({
      requiredFeatures: FEATURES.filter((name) => adapter.features.has(name)),
      requiredLimits: {
        maxStorageBufferBindingSize, maxBufferSize, maxStorageBuffersPerShaderStage, maxComputeWorkgroupStorageSize,
        maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX,
      },
    });
  } catch (error) {
    throw new DeviceError(`the GPU adapter gave no device (${firstLine(error)}): update the driver, or leave --gpu out to run on the CPU`);
  }
}

async function loadDawn(switches: readonly string[]): Promise<GPU> {
  const key = switches.join();
  const known = instances.get(key);
  if (known) return known;
  if (typeof process === 'undefined' || !process.versions?.node) {
    throw new DeviceError('this browser has no WebGPU (navigator.gpu): use a newer one, or gpu: \'webgl2\', or leave gpu out to run on the CPU');
  }
  // The package is optional. Its name is computed, because bundlers would try to resolve a constant one.
  const name = new URL('package:webgpu').pathname;
  try {
    const dawn: unknown = await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
    const { create } = dawn as { create(options: string[]): GPU };
    const made = create([...switches]);
    instances.set(key, made);
    return made;
  } catch (error) {
    throw new DeviceError(`WebGPU in Node needs the package 'webgpu' (Dawn), which did not load (${firstLine(error)}): npm install webgpu, or leave --gpu out to run on the CPU`);
  }
}

/** A name for an adapter. Of what it reports, browsers leave most fields empty, and drivers repeat themselves. */
export function adapterName(info: Partial<GPUAdapterInfo> | undefined): string {
  const words = [info?.vendor, info?.architecture, info?.device, info?.description]
    .map((word) => (word ?? '').replace(/[\s-]+$/, '')).filter((word) => !/^\d*$/.test(word)); // Mesa reports a number
  const said = (word: string, by: string) => by.toLowerCase().includes(word.toLowerCase());
  const distinct = words.filter((word, n) =>
    !words.some((other, m) => m !== n && said(word, other) && (m < n || !said(other, word))));
  return distinct.join(', ') || 'unnamed adapter';
}
