/**
 * Opening a device, and making an engine on it.
 * @module
 */
import type { TrainingEngine } from '../../src/core/training-engine.ts';
import { checkGpuDevice, openGpuDevice } from '../device/adapter.ts';
import { WgslDevice } from './device.ts';
import { wgslEngine } from './index.ts';

/** What openWgslEngine takes. */
export interface WgslOptions {
  /** A GPUDevice of the application's, which dispose() leaves alone. */
  readonly gpuDevice?: object;
  /** For tests: fills memory with NaN before it is used, and makes tiles small. */
  readonly testing?: boolean;
  /** For tests: the kernels for GPUs, on a device that is none. */
  readonly width?: 64;
  /** Node: switches for Dawn, such as 'enable-dawn-features=allow_unsafe_apis'. */
  readonly dawn?: readonly string[];
}

/** Opens an engine on WebGPU. @throws {DeviceError} If there is none. */
export async function openWgslEngine(
  { gpuDevice, testing = false, width, dawn = [] }: WgslOptions = {},
): Promise<TrainingEngine> {
  if (gpuDevice !== undefined) checkGpuDevice(gpuDevice);
  const opened = await openGpuDevice(gpuDevice, dawn);
  return wgslEngine(new WgslDevice({ ...opened, testing, ...(width && { width }) }));
}
