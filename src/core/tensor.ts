/**
 * Arrays with a shape: what goes into and comes out of the library.
 * @module
 */
import { described, fail } from './described.ts';
import { ShapeError, ValueError } from './errors.ts';

/** Real numbers, in either precision. Results keep the precision of their inputs. */
export type FloatArray = Float64Array | Float32Array;
/** Every array an operation takes or returns. */
export type TypedArray = FloatArray | Int32Array | Uint8Array;

/** Anything with a shape. */
export interface Shaped {
  readonly shape: readonly number[];
}

/** A row-major typed array and its shape. */
export interface NDArray<T extends TypedArray = FloatArray> extends Shaped {
  readonly data: T;
}

/** What weights are stored in. */
export type WeightDtype = 'f64' | 'f32' | 'f16' | 'bf16';

/** What the elements of a tensor are stored in. */
export type Dtype = WeightDtype | 'i32';

/** A handle to an array that lives wherever its engine computes. */
export interface Tensor extends Shaped {
  /** Whether the elements are real numbers or whole numbers. */
  readonly kind: 'float' | 'integer';
  /** What the elements are stored in. */
  readonly dtype: Dtype;
  /** Frees the memory. Calling it again does nothing; using the tensor afterwards is a DisposedError. */
  dispose(): void;
  /** dispose(), at the end of the block of a `using`. */
  [Symbol.dispose](): void;
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
 * @throws {ValueError} If either is no such array.
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

/** Refuses a shape that is none, or not that of so many elements. */
export function expectElements(name: string, data: ArrayLike<number>, shape: readonly number[]): void {
  expectSizes(`the shape of ${name}`, shape);
  const size = sizeOf(shape);
  if (size !== data.length) throw new ShapeError(`${name} is [${shape}] but has ${data.length} elements: it must have ${size}`);
}

/** Refuses what are no sizes of an array. */
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

/** A new zeroed array. @throws {ValueError} If there is no memory for it. */
export function zeros<T extends TypedArray | Uint16Array>(kind: new (n: number) => T, length: number): T {
  try {
    return new kind(length);
  } catch (error) {
    throw new ValueError(`a result of ${length} numbers needs more memory than there is (${(error as Error).message}): use smaller sizes`);
  }
}
