/**
 * Named errors. Each message names the offending numbers and the remedy, on one line.
 * @module
 */

/** A tensor has the wrong shape, or two shapes contradict each other. */
export class ShapeError extends TypeError {
  override name = 'ShapeError';
}

/** A value is outside the domain of an operation, such as a negative window or a NaN score. */
export class ValueError extends RangeError {
  override name = 'ValueError';
}

/** A tensor, cache or engine was used after `dispose()`. */
export class DisposedError extends Error {
  override name = 'DisposedError';
}

/** A file is truncated, damaged, or not what its header says. */
export class FileFormatError extends Error {
  override name = 'FileFormatError';
}

/** A model's config.json is incomplete or contradicts the weights beside it. */
export class ConfigError extends Error {
  override name = 'ConfigError';
}

/** A file or folder cannot be read or written. */
export class StorageError extends Error {
  override name = 'StorageError';
}

/** A number that results depend on is NaN or infinite: a logit, a loss, a gradient's norm, a weight. */
export class NumericError extends Error {
  override name = 'NumericError';
}

/** A GPU is missing, was lost, or cannot hold or express what was requested. */
export class DeviceError extends Error {
  override name = 'DeviceError';
}

/**
 * The GPU is gone: its driver was reset, it was unplugged, or the system took it. What the host holds continues on a
 * new engine: a model from its folder or weights, a session from its snapshot, training from its state.
 */
export class DeviceLostError extends DeviceError {
  override name = 'DeviceLostError';
}

/** An engine or a model does not offer what was requested, such as training on an engine that only runs models. */
export class UnsupportedError extends Error {
  override name = 'UnsupportedError';
}

/** Work was stopped by an AbortSignal, whose reason is the `cause`, or by Ctrl-C. */
export class StoppedError extends Error {
  override name = 'StoppedError';
}

/** Throws once `signal` has aborted. `message` says how much had been done. */
export function expectGoing(signal: AbortSignal | undefined, message: () => string): void {
  if (signal?.aborted) throw new StoppedError(message(), { cause: signal.reason });
}

const NAMED = {
  ShapeError, ValueError, DisposedError, FileFormatError, ConfigError, StorageError, NumericError, DeviceError,
  DeviceLostError,
  UnsupportedError, StoppedError,
};

/**
 * Whether an error is one of the above, whose message alone tells the user what to do.
 *
 * @example
 * ```ts
 * import { isNamedError, ValueError } from 'neural-attention-search';
 * console.log(isNamedError(new ValueError('window is -1')), isNamedError(new Error('a bug'))); // true false
 * ```
 */
export function isNamedError(error: unknown): error is Error {
  return Object.values(NAMED).some((each) => error instanceof each);
}

/** Restores the class of an error from another thread. An unnamed error, which is a bug, keeps its stack from there. */
export function errorAgain({ name, message, stack }: { name: string; message: string; stack: string }): Error {
  if (Object.hasOwn(NAMED, name)) return new NAMED[name as keyof typeof NAMED](message);
  return Object.assign(new Error(message), { name, stack });
}
