/**
 * Whether a device still computes: it may be lost, or refuse a command long after the call that made it.
 * @module
 */
import { DeviceError, DeviceLostError } from '../../src/core/errors.ts';
import { oneLine } from './error-text.ts';

/** Remembers the first reason why a device's results cannot be trusted, so that whoever asks next hears of it. */
export class DeviceHealth {
  #failure: Error | undefined;
  #closed = false;

  /** `owned` says whether the device is the engine's alone: then so are the errors that nobody captures. */
  constructor(device: GPUDevice, owned: boolean) {
    void device.lost.then(({ message, reason }) => {
      if (this.#closed) return;
      this.#failure = new DeviceLostError(`the GPU device was lost (${reason}: ${oneLine(message)}): create a new engine and upload again`);
    });
    if (!owned) return;
    device.onuncapturederror = ({ error }) => this.fail(`the GPU refused a command: ${oneLine(error.message)}`);
  }

  /** Throws if the device failed. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Notes a failure, of which the first one counts. */
  fail(message: string): void {
    this.#failure ??= new DeviceError(message);
  }

  /** From now on, the loss of the device is intended. */
  close(): void {
    this.#closed = true;
  }
}
