/**
 * Arrays with a shape: what goes into and comes out of the library.
 * @module
 */
import { ShapeError } from './errors.ts';

/** Real numbers, in either precision. Results keep the precision of their inputs. */
export type FloatArray = Float64Array | Float32Array;
/** Every array an operation takes or returns. */
export type TypedArray = FloatArray | Int32Array | Uint8Array;

/** A row-major typed array and its shape. */
export interface NDArray<T extends TypedArray = FloatArray> {
  readonly data: T;
  readonly shape: readonly number[];
}

/** Number of elements of a shape. */
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
 * @example
 * ```ts
 * import { ndarray } from 'neural-attention-search';
 * console.log(ndarray(new Float64Array(6), [2, 3]).shape); // [2,3]
 * ```
 */
export function ndarray<T extends TypedArray>(data: T, shape: readonly number[]): NDArray<T> {
  if (!shape.every((n) => Number.isInteger(n) && n >= 0) || sizeOf(shape) !== data.length) {
    throw new ShapeError(
      `shape [${shape}] needs ${sizeOf(shape)} elements but the array has ${data.length}: pass a shape whose product is ${data.length}`,
    );
  }
  return { data, shape: [...shape] };
}

/** A new zeroed array of the same kind (Float64Array, Float32Array, ...) as `model`. */
export function zerosLike<T extends TypedArray>(model: T, length: number): T {
  return new (model.constructor as new (n: number) => T)(length);
}
