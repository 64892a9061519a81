/**
 * Arrays with a shape, which the library takes and returns.
 * @module
 */
import { described, fail } from './described.ts';
import { ShapeError, ValueError } from './errors.ts';

/** Floats in either precision. Results have the precision of their inputs. */
export type FloatArray = Float64Array | Float32Array;
/** Every kind of array that an operation takes or returns. */
export type TypedArray = FloatArray | Int32Array | Uint8Array;

/** Anything with a shape. */
export interface Shaped {
  readonly shape: readonly number[];
}

/** A row-major typed array and its shape. */
export interface NDArray<T extends TypedArray = FloatArray> extends Shaped {
  readonly data: T;
}

/** The dtype of a weight. */
export type WeightDtype = 'f64' | 'f32' | 'f16' | 'bf16';

/** The dtype of the elements of a tensor. */
export type Dtype = WeightDtype | 'i32';

/** A handle to an array that is stored wherever its engine computes. */
export interface Tensor extends Shaped {
  /** Whether the elements are floats or integers. */
  readonly kind: 'float' | 'integer';
  /** The dtype in which the elements are stored. */
  readonly dtype: Dtype;
  /** Frees the memory. Calling it again does nothing. Using the tensor afterwards throws a DisposedError. */
  dispose(): void;
  /** Calls dispose() at the end of a `using` block. */
  [Symbol.dispose](): void;
}

/** The number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/**
 * Pairs a typed array with its shape, without copying.
 *
 * @param data The elements, row-major.
 * @param shape Whole numbers >= 0 whose product is `data.length`.
 * @returns The pair.
 * @throws {ShapeError} If the product differs from the length.
 * @throws {ValueError} If data is not a typed array, or shape is not an array.
 * @example
 * ```ts
 * import { ndarray } from 'neural-attention-search';
 * console.log(ndarray(new Float64Array(6), [2, 3]).shape); // [2,3]
 * ```
 */
export function ndarray<T extends TypedArray>(data: T, shape: readonly number[]): NDArray<T> {
  if (!ArrayBuffer.isView(data) || data instanceof DataView) fail('data', data, 'a typed array');
  expectElements('the array', data, shape);
  return { data, shape: [...shape] };
}

/** Refuses an invalid shape, and a shape with another number of elements than the data. */
export function expectElements(name: string, data: ArrayLike<number>, shape: readonly number[]): void {
  expectSizes(`the shape of ${name}`, shape);
  const size = sizeOf(shape);
  if (size !== data.length) throw new ShapeError(`${name} is [${shape}] but has ${data.length} elements: it must have ${size}`);
}

/** Refuses anything but an array of sizes. */
export function expectSizes(name: string, value: unknown): void {
  if (!Array.isArray(value)) fail(name, value, 'an array of whole numbers');
  for (const size of value as number[]) {
    if (!(Number.isInteger(size) && size >= 0)) throw new ShapeError(`${name} holds ${described(size)}: sizes are whole numbers, 0 or more`);
  }
}

/** A new zeroed array of the same kind (Float64Array, Float32Array, ...) as `model`. */
export function zerosLike<T extends TypedArray>(model: T, length: number): T {
  return zeros(model.constructor as new (n: number) => T, length);
}

/** A new zeroed array. @throws {ValueError} If there is not enough memory for it. */
export function zeros<T extends TypedArray | Uint16Array>(kind: new (n: number) => T, length: number): T {
  try {
    return new kind(length);
  } catch (error) {
    throw new ValueError(`a result of ${length} numbers needs more memory than is available (${(error as Error).message}): use smaller sizes`);
  }
}
