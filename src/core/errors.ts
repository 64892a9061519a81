/**
 * Named errors. Each message holds the offending numbers and the remedy, on one line.
 * @module
 */

/** A tensor has the wrong shape, or two shapes contradict each other. */
export class ShapeError extends TypeError {
  override name = 'ShapeError';
}

/** A value lies outside what the operation is defined for: a negative window, a NaN score. */
export class ValueError extends RangeError {
  override name = 'ValueError';
}

/** A tensor, cache or engine was used after `dispose()`. */
export class DisposedError extends Error {
  override name = 'DisposedError';
}

/** A file is missing, truncated, or not what its header says. */
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

/** A number that a result rests on is NaN or infinite: a logit, a loss, a gradient's norm, a weight. */
export class NumericError extends Error {
  override name = 'NumericError';
}

/** A GPU is missing, was lost, or cannot hold or express what was asked for. */
export class DeviceError extends Error {
  override name = 'DeviceError';
}

/** An engine was asked for what it does not offer: training of one that only runs models. */
export class UnsupportedError extends Error {
  override name = 'UnsupportedError';
}

/** Work was stopped by an AbortSignal, whose reason is the `cause`, or by Ctrl-C. */
export class StoppedError extends Error {
  override name = 'StoppedError';
}

/** Refuses to go on once `signal` has aborted: `message` says what was done by then. */
export function expectGoing(signal: AbortSignal | undefined, message: () => string): void {
  if (signal?.aborted) throw new StoppedError(message(), { cause: signal.reason });
}

const NAMED = {
  ShapeError, ValueError, DisposedError, FileFormatError, ConfigError, StorageError, NumericError, DeviceError,
  UnsupportedError, StoppedError,
};

/**
 * True for the errors above: those whose message alone tells a user what to do.
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

/** An error of which another thread told name and message, with its class; a bug keeps the stack that it had there. */
export function errorAgain({ name, message, stack }: { name: string; message: string; stack: string }): Error {
  if (Object.hasOwn(NAMED, name)) return new NAMED[name as keyof typeof NAMED](message);
  return Object.assign(new Error(message), { name, stack });
}
