/**
 * Finding a device, and making an engine on it.
 * @module
 */
import { described } from '../../src/core/described.ts';
import { DeviceError, ValueError } from '../../src/core/errors.ts';
import type { TrainingEngine } from '../../src/core/training-engine.ts';
import { checkGpuDevice, openGpuDevice } from '../device/adapter.ts';
import { firstLine } from '../device/error-text.ts';
import { type Device, type DeviceMode, TEST_TUNING, type Tuning, TUNING } from './device.ts';
import { HostDevice } from './host.ts';
import { WebGL2Device } from './webgl2.ts';
import { WebGPUDevice } from './webgpu.ts';
import { gpuEngine } from './index.ts';
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
export async function openEngine(options: OpenOptions): Promise<TrainingEngine> {
  return gpuEngine(await openDevice(options));
}

/** Browsers have it; Node has no canvas at all, and Deno has one without WebGL. */
const hasWebGL2 = (): boolean => typeof WebGL2RenderingContext !== 'undefined';

async function openDevice({ gpu, gpuDevice, testing = false, dawn = [] }: OpenOptions): Promise<Device> {
  checkOptions(gpu, gpuDevice);
  const library = await loadLibrary();
  const common = { poison: testing, tuning: testing ? TEST_TUNING : TUNING };
  if (gpu === 'cpu' || gpu === 'webasm') return new HostDevice(library, gpu, common);
  if (gpu === 'webgl2') return openWebGL2(library, common);
  try {
    const { device, adapter, owned } = await openGpuDevice(gpuDevice, dawn);
    return new WebGPUDevice(library, device, adapter, { ...common, owned });
  } catch (error) {
    // In a browser, the best GPU present may be one that only WebGL2 reaches.
    if (gpu !== true || !hasWebGL2()) throw error;
    return openOther(library, common, error);
  }
}

function checkOptions(gpu: boolean | DeviceMode, gpuDevice: object | undefined): void {
  if (gpu !== true && (typeof gpu !== 'string' || !['webgpu', 'webgl2', 'webasm', 'cpu'].includes(gpu))) {
    const found = typeof gpu === 'string' ? `'${String(gpu)}'` : described(gpu);
    throw new ValueError(`gpu is ${found}: use true, 'wgsl', 'gpujs', or of gpu.js 'webgpu', 'webgl2', 'webasm' or 'cpu'`);
  }
  if (gpuDevice === undefined) return;
  if (gpu !== true && gpu !== 'webgpu') {
    throw new ValueError(`gpuDevice is a WebGPU device but gpu is '${gpu}': use gpu: 'webgpu'`);
  }
  checkGpuDevice(gpuDevice);
}

function openWebGL2(library: Library, options: { poison: boolean; tuning: Tuning }): Device {
  if (!hasWebGL2()) throw new DeviceError('WebGL2 is there in browsers only: use gpu: \'webgpu\' here, or leave gpu out to run on the CPU');
  return new WebGL2Device(library, options);
}

/** Tries WebGL2 when any GPU will do. `failure` says why there is no WebGPU. */
function openOther(library: Library, options: { poison: boolean; tuning: Tuning }, failure: unknown): Device {
  try {
    return openWebGL2(library, options);
  } catch (error) {
    // Without their remedies, since each names the other backend.
    const [webgpu, webgl2] = [failure, error].map((each) => firstLine(each).split(': ')[0]);
    throw new DeviceError(`no GPU was found, neither by WebGPU (${webgpu}) nor by WebGL2 (${webgl2}): turn hardware acceleration on or update the driver, or leave gpu out to run on the CPU`);
  }
}
