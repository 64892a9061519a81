/**
 * Tensors of safetensors and NumPy files, and how their elements are laid out in bytes.
 * @module
 */
import { FileFormatError, ValueError } from '../core/errors.ts';
import { sizeOf } from '../core/tensor.ts';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '../core/float16.ts';
import { MAX_AXES, shown } from './safetensors-header.ts';

/** Element types of floats. */
export type FloatDtype = 'F64' | 'F32' | 'F16' | 'BF16';
/** Element types of integers; BOOL holds 0 and 1. */
export type IntegerDtype = 'I64' | 'I32' | 'U8' | 'BOOL';

/** Floats in row-major order. Each is a value of `dtype`, which float64 holds exactly. */
export interface FloatTensor {
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** Integers in row-major order. An I64 beyond 32 bits is refused when it is read. */
export interface IntegerTensor {
  readonly dtype: IntegerDtype;
  readonly shape: readonly number[];
  readonly data: Int32Array;
}

/** A tensor of a .safetensors, .npy or .npz file; `dtype` determines which kind of array it has. */
export type NamedTensor = FloatTensor | IntegerTensor;

/** The number of bytes of an element in a file. */
export const BYTES: Readonly<Record<FloatDtype | IntegerDtype, number>> = {
  F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1, BOOL: 1,
};

/** How a file lays out an element, and the dtype that it becomes: the narrowest that holds all its values. */
export interface Layout {
  readonly bytes: number;
  readonly dtype: FloatDtype | IntegerDtype;
  readonly get: (view: DataView, at: number, little: boolean) => number;
}

/** Every layout that can be read: those of safetensors by dtype, and those that only NumPy has by NumPy's name. */
export const LAYOUTS: Readonly<Record<FloatDtype | IntegerDtype | 'i1' | 'i2' | 'u2' | 'u4', Layout>> = {
  F64: { bytes: 8, dtype: 'F64', get: (view, at, little) => view.getFloat64(at, little) },
  F32: { bytes: 4, dtype: 'F32', get: (view, at, little) => view.getFloat32(at, little) },
  F16: { bytes: 2, dtype: 'F16', get: (view, at, little) => fromFloat16(view.getUint16(at, little)) },
  BF16: { bytes: 2, dtype: 'BF16', get: (view, at, little) => fromBfloat16(view.getUint16(at, little)) },
  I64: { bytes: 8, dtype: 'I64', get: (view, at, little) => Number(view.getBigInt64(at, little)) },
  I32: { bytes: 4, dtype: 'I32', get: (view, at, little) => view.getInt32(at, little) },
  U8: { bytes: 1, dtype: 'U8', get: (view, at) => view.getUint8(at) },
  BOOL: { bytes: 1, dtype: 'BOOL', get: (view, at) => view.getUint8(at) },
  i1: { bytes: 1, dtype: 'I32', get: (view, at) => view.getInt8(at) },
  i2: { bytes: 2, dtype: 'I32', get: (view, at, little) => view.getInt16(at, little) },
  u2: { bytes: 2, dtype: 'I32', get: (view, at, little) => view.getUint16(at, little) },
  u4: { bytes: 4, dtype: 'I64', get: (view, at, little) => view.getUint32(at, little) },
};

const INT32 = [-(2 ** 31), 2 ** 31 - 1] as const;
/** The least and the greatest value of each dtype that an Int32Array holds. */
const RANGE: Readonly<Record<IntegerDtype, readonly [number, number]>> = {
  I64: INT32, I32: INT32, U8: [0, 255], BOOL: [0, 1],
};

function isInteger(dtype: FloatDtype | IntegerDtype): dtype is IntegerDtype {
  return Object.hasOwn(RANGE, dtype);
}

/**
 * Reads the elements of a file.
 *
 * @param raw Their bytes: a whole number of elements, in the file's order.
 * @param what The name of their tensor in error messages.
 * @param place The index among the results of the n-th element of the file.
 * @throws {FileFormatError} If an integer does not fit 32 bits, a bool is neither 0 nor 1, or memory runs out.
 */
export function readElements(
  { bytes, dtype, get }: Layout, raw: Uint8Array, little: boolean, what: string, place = (n: number): number => n,
): { dtype: FloatDtype; data: Float64Array } | { dtype: IntegerDtype; data: Int32Array } {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const count = raw.length / bytes;
  if (!isInteger(dtype)) {
    const data = allocate(() => new Float64Array(count), count, what);
    for (let n = 0; n < count; n++) data[place(n)] = get(view, n * bytes, little);
    return { dtype, data };
  }
  const data = allocate(() => new Int32Array(count), count, what);
  const [least, most] = RANGE[dtype];
  for (let n = 0; n < count; n++) {
    const x = get(view, n * bytes, little);
    if (x < least || x > most) {
      throw new FileFormatError(`${what} holds ${x} at element ${n}: ${dtype} is read from ${least} to ${most}, store a float instead`);
    }
    data[place(n)] = x;
  }
  return { dtype, data };
}

/** Allocates memory, or says that the file, however correct, is too large for this machine. */
function allocate<T>(make: () => T, count: number, what: string): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new FileFormatError(`${what} has ${count} elements, more than there is memory for: split it`);
  }
}

/** Write one element in little-endian order. Floats round to nearest, ties to even. */
export const SETTERS: Readonly<Record<FloatDtype | IntegerDtype, (view: DataView, at: number, x: number) => void>> = {
  F64: (view, at, x) => view.setFloat64(at, x, true),
  F32: (view, at, x) => view.setFloat32(at, x, true),
  F16: (view, at, x) => view.setUint16(at, toFloat16(x), true),
  BF16: (view, at, x) => view.setUint16(at, toBfloat16(x), true),
  I64: (view, at, x) => view.setBigInt64(at, BigInt(x), true),
  I32: (view, at, x) => view.setInt32(at, x, true),
  U8: (view, at, x) => view.setUint8(at, x),
  BOOL: (view, at, x) => view.setUint8(at, x),
};

/**
 * Refuses what a file could not reproduce: a name that is not valid Unicode, a shape that does not fit the elements, or
 * a value out of range.
 *
 * @throws {ValueError} With the name of the tensor and what to change.
 */
export function checkNamed(name: string, { dtype, shape, data }: NamedTensor): void {
  const what = `tensor '${shown(name)}'`;
  if (/\p{Surrogate}/u.test(name)) throw new ValueError(`${what} has half a character in its name: choose a name that is valid Unicode`);
  if (!Object.hasOwn(BYTES, dtype)) {
    throw new ValueError(`${what} has dtype ${String(dtype)}: choose one of ${Object.keys(BYTES).join(', ')}`);
  }
  if (shape.length > MAX_AXES || !shape.every((n) => Number.isSafeInteger(n) && n >= 0)) {
    throw new ValueError(`${what} is [${shape}]: a shape is up to ${MAX_AXES} whole numbers >= 0`);
  }
  if (sizeOf(shape) !== data.length) throw new ValueError(`${what} is [${shape}] but has ${data.length} elements`);
  const kind = isInteger(dtype) ? Int32Array : Float64Array;
  if (!(data instanceof kind)) throw new ValueError(`${what} is ${dtype} but not a ${kind.name}: convert its elements`);
  if (!isInteger(dtype)) return;
  const [least, most] = RANGE[dtype];
  const at = data.findIndex((x) => x < least || x > most);
  if (at >= 0) throw new ValueError(`${what} holds ${data[at]} at element ${at}: ${dtype} goes from ${least} to ${most}`);
}

/** A FileFormatError with the name of the file in front; other errors as they are. */
export function inFile(file: string, error: unknown): unknown {
  return error instanceof FileFormatError ? new FileFormatError(`${file}: ${error.message}`) : error;
}

/** Compares names by UTF-16 code units, so that the order does not depend on the locale. */
export function byName(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
}
