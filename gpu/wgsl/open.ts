/**
 * Opening a device, and making an engine on it.
 * @module
 */
import { oneOf } from '../../src/core/arguments.ts';
import { DeviceError } from '../../src/core/errors.ts';
import type { TrainingEngine } from '../../src/core/training-engine.ts';
import { checkGpuDevice, openGpuDevice } from '../device/adapter.ts';
import { WgslDevice } from './device.ts';
import { hasMatrixUnits } from './matmul.ts';
import { wgslEngine } from './index.ts';

/** Switches without which Dawn keeps float16 and matrix units back. */
const DAWN_HALVES: readonly string[] = [
  'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,use_vulkan_memory_model',
];

/** What openWgslEngine takes. */
export interface WgslOptions {
  /** A GPUDevice of the application's, which dispose() leaves alone. */
  readonly gpuDevice?: object;
  /**
   * What products of many rows, and attention of many queries, are computed in; sums are float32. 'f16' needs matrix
   * units, and rounds factors to float16, whose largest number is 65,504. Default: 'f32'.
   */
  readonly compute?: 'f32' | 'f16';
  /** For tests: fills memory with NaN before it is used, makes tiles small, and does without matrix units. */
  readonly testing?: boolean;
  /** For tests: the kernels for GPUs, on a device that is none. */
  readonly width?: 64;
  /** Node: switches for Dawn, such as 'enable-dawn-features=allow_unsafe_apis'. */
  readonly dawn?: readonly string[];
}

/** Opens an engine on WebGPU. @throws {DeviceError} If there is none. */
export async function openWgslEngine(
  { gpuDevice, testing = false, width, compute = 'f32', dawn = compute === 'f16' ? DAWN_HALVES : [] }: WgslOptions = {},
): Promise<TrainingEngine> {
  if (gpuDevice !== undefined) checkGpuDevice(gpuDevice);
  oneOf('f32', 'f16')('compute', compute);
  const [opened, { WgslMassCache: MassCache }] = await Promise.all([
    openGpuDevice(gpuDevice, dawn), import('./mass-cache.ts'),
  ]);
  const device = new WgslDevice({ ...opened, testing, compute, ...(width && { width }) });
  if (compute === 'f32' || testing || hasMatrixUnits(device)) return wgslEngine(device, { MassCache });
  const lacks = `compute is f16, but ${device.description} lets WebGPU reach no matrix units that multiply 16x16x16 float16 to float32`;
  device.dispose();
  throw new DeviceError(`${lacks}: leave compute out, which works everywhere`);
}
