/**
 * Looking for numbers that are none: NaN and the infinities.
 * @module
 */
import { NumericError } from './errors.ts';

/** The index of the first of `data` that is NaN or infinite; -1 where there is none. */
export function firstNotFinite(data: ArrayLike<number>, from: number = 0, to: number = data.length): number {
  for (let n = from; n < to; n++) {
    const x = data[n];
    if (x - x !== 0) return n; // Infinity - Infinity is NaN too
  }
  return -1;
}

/** The value, unless it is NaN or infinite. @throws {NumericError} Naming it, and `why`. */
export function expectResult(name: string, value: number, why: () => string): number {
  if (Number.isFinite(value)) return value;
  throw new NumericError(`${name} would be ${value}: ${why()}`);
}

/** The largest float64 that each type rounds to a finite number: the one below half a unit above its largest. */
const LARGEST: Readonly<Record<'F64' | 'F32' | 'F16', number>> = {
  F64: Number.MAX_VALUE, F32: (2 - 2 ** -24) * 2 ** 127 - 2 ** 75, F16: 65520 - 2 ** -37,
};

/**
 * Refuses tensors that hold NaN or an infinity, or what becomes one in `dtype`.
 *
 * @param what Begins the message: 'the state after step 3'.
 * @param remedy Ends it.
 * @throws {NumericError} Naming the first such tensor and element.
 */
export function expectFinite(
  tensors: Iterable<readonly [string, { readonly data: ArrayLike<number> }]>, dtype: 'F64' | 'F32' | 'F16',
  what: string, remedy: string,
): void {
  const most = LARGEST[dtype];
  for (const [name, { data }] of tensors) {
    for (let n = 0; n < data.length; n++) {
      const x = data[n];
      if (Math.abs(x) <= most) continue; // never true of NaN
      const holds = Number.isFinite(x) ? `${x}, beyond the largest ${dtype},` : String(x);
      throw new NumericError(`${what} holds ${holds} in '${name}' at element ${n}: ${remedy}`);
    }
  }
}
