/**
 * Finding a device, and making an engine on it.
 * @module
 */
import { DeviceError, ValueError } from '../src/errors.ts';
import { type Device, type DeviceMode, TEST_TUNING, type Tuning, TUNING } from './device.ts';
import { HostDevice } from './device-host.ts';
import { WebGL2Device } from './device-webgl2.ts';
import { WebGPUDevice } from './device-webgpu.ts';
import { GpuEngine } from './index.ts';
import { type Library, loadLibrary } from './library.ts';

/** What openEngine takes. */
export interface OpenOptions {
  /** A backend, or true for the best GPU present. */
  readonly gpu: boolean | DeviceMode;
  /** A GPUDevice of the application's, which dispose() leaves alone. */
  readonly gpuDevice?: object;
  /** For tests: fills memory with NaN before it is used, and cuts attention into small tiles. */
  readonly testing?: boolean;
  /** Node: switches for Dawn, such as 'enable-dawn-features=allow_unsafe_apis'. */
  readonly dawn?: readonly string[];
}

/** Opens the backend asked for; never falls back to another one. */
export async function openEngine(options: OpenOptions): Promise<GpuEngine> {
  return new GpuEngine(await openDevice(options));
}

async function openDevice({ gpu, gpuDevice, testing = false, dawn = [] }: OpenOptions): Promise<Device> {
  const library = await loadLibrary();
  const common = { poison: testing, tuning: testing ? TEST_TUNING : TUNING };
  if (gpuDevice && gpu !== true && gpu !== 'webgpu') {
    throw new ValueError(`gpuDevice is a WebGPU device but gpu is '${String(gpu)}': use gpu: 'webgpu'`);
  }
  switch (gpu) {
    case 'cpu':
    case 'webasm':
      return new HostDevice(library, gpu, common);
    case 'webgl2':
      return openWebGL2(library, common);
    case 'webgpu':
      break;
    case true:
      break;
    default:
      throw new ValueError(`gpu is '${String(gpu)}': use true, 'webgpu', 'webgl2', 'webasm' or 'cpu'`);
  }
  if (gpuDevice) return new WebGPUDevice(library, gpuDevice as GPUDevice, null, { ...common, owned: false });
  const adapter = await requestAdapter(dawn).catch((error: unknown) => {
    // The best GPU present: in a browser that may be one that only WebGL2 reaches.
    if (gpu === true && typeof OffscreenCanvas !== 'undefined') return undefined;
    throw error;
  });
  if (!adapter) return openWebGL2(library, common);
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const device = await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize, maxBufferSize } });
  return new WebGPUDevice(library, device, adapter, { ...common, owned: true });
}

function openWebGL2(library: Library, options: { poison: boolean; tuning: Tuning }): Device {
  if (typeof OffscreenCanvas === 'undefined' && typeof document === 'undefined') {
    throw new DeviceError('WebGL2 is there in browsers only: use gpu: \'webgpu\' or \'webasm\' here');
  }
  return new WebGL2Device(library, options);
}

/** An instance of Dawn must outlive its devices. */
let dawnInstance: GPU | undefined;

async function requestAdapter(switches: readonly string[]): Promise<GPUAdapter> {
  const builtIn = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  const gpu = builtIn ?? (dawnInstance ??= await loadDawn(switches));
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    throw new DeviceError('no GPU adapter was found: install a Vulkan, Metal or Direct3D 12 driver, or use --gpu=webasm (gpu: \'webasm\') to run on the CPU');
  }
  return adapter;
}

async function loadDawn(switches: readonly string[]): Promise<GPU> {
  if (typeof process === 'undefined' || !process.versions?.node) {
    throw new DeviceError('this browser has no WebGPU (navigator.gpu): use a newer one, or gpu: \'webgl2\' or \'webasm\'');
  }
  const name = 'webgpu'; // optional: only who wants a GPU in Node installs it
  try {
    const { create } = (await import(/* @vite-ignore */ name)) as { create(options: string[]): GPU };
    return create([...switches]);
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new DeviceError(`WebGPU in Node needs the package 'webgpu' (Dawn), which did not load (${reason}): npm install webgpu, or use --gpu=webasm`);
  }
}
