/**
 * Whether a device still computes: it may be lost, or refuse a command long after the call that made it.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import { oneLine } from './error-text.ts';

/** Remembers the first reason why a device's results cannot be trusted, so that whoever asks next hears of it. */
export class DeviceHealth {
  #failure: Error | undefined;
  #closed = false;

  /** `owned`: whether the device is ours alone, so that the errors that nobody else captures are ours. */
  constructor(device: GPUDevice, owned: boolean) {
    void device.lost.then(({ message, reason }) => {
      if (this.#closed) return;
      this.#failure = new DeviceError(`the GPU device was lost (${reason}: ${oneLine(message)}): create a new engine and upload again`);
    });
    if (!owned) return;
    device.onuncapturederror = ({ error }) => this.fail(`the GPU refused a command: ${oneLine(error.message)}`);
  }

  /** Throws if the device failed. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Notes a failure; the first one counts. */
  fail(message: string): void {
    this.#failure ??= new DeviceError(message);
  }

  /** From now on, losing the device is meant. */
  close(): void {
    this.#closed = true;
  }
}
