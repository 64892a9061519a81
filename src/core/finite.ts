/**
 * Finds and refuses NaN and infinity.
 * @module
 */
import { NumericError } from './errors.ts';

/** The index of the first number in `data` that is NaN or infinite; -1 if there is none. */
export function firstNotFinite(data: ArrayLike<number>, from: number = 0, to: number = data.length): number {
  for (let n = from; n < to; n++) {
    const x = data[n];
    if (x - x !== 0) return n; // Infinity - Infinity is NaN too
  }
  return -1;
}

/** Returns the value unless it is NaN or infinite. @throws {NumericError} With its name, and with `why`. */
export function expectResult(name: string, value: number, why: () => string): number {
  if (Number.isFinite(value)) return value;
  throw new NumericError(`${name} would be ${value}: ${why()}`);
}

/** The largest float64 that each type rounds to a finite number, just below half a unit above the type's largest. */
const LARGEST: Readonly<Record<'F64' | 'F32' | 'F16', number>> = {
  F64: Number.MAX_VALUE, F32: (2 - 2 ** -24) * 2 ** 127 - 2 ** 75, F16: 65520 - 2 ** -37,
};

/**
 * Refuses tensors that hold NaN or infinity, or numbers that become infinite in `dtype`.
 *
 * @param what The beginning of the message, such as 'the state after step 3'.
 * @param remedy The end of the message.
 * @throws {NumericError} With the first such tensor and element.
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
