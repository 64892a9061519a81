/**
 * How far a correct engine may be from the truth: derived, never tuned.
 *
 * The truth is a float64 evaluation of the equations on the numbers that the engine was given (already rounded
 * to its precision). The budget is computed along with it, by running error analysis (Higham, Accuracy and Stability
 * of Numerical Algorithms, §3.3): every number carries a bound on its absolute error, and each operation
 * adds the bound of its own rounding to those of its operands. With unit roundoff u:
 *
 * - a + b and a b: one correctly rounded operation, u |result|. - a sum of n terms, in ANY order: n u / (1 - n u) * sum
 * |terms| (Higham, eq. 4.4): the length of the sum times the magnitude of its summands. - exp, log, sqrt, division:
 * what the WebGPU shading language guarantees (W3C WGSL, "Accuracy of concrete floating point expressions"), since that
 * is the weakest engine for which the contract is meant: exp 3 + 2|x| ulp, log 3 ulp or 2^-21 = 8u, division 2.5 ulp,
 * inverseSqrt 2 ulp, so sqrt = 1 / inverseSqrt 4.5 ulp. 1 ulp <= 2u. - every operation: the smallest normal number,
 * because results below it may be flushed to zero.
 *
 * u is 2^-24 for float32 and 2^-53 for float64, plus 2^-53 because the truth is itself evaluated in float64.
 *
 * An engine that computes in float16 (`compute: 'f16'`) rounds the factors of products of many rows, and of attention
 * of many queries, to float16, and sums the exact products of these in float32. Each factor x, weights of pairs among
 * them, brings at most 2^-11 |x| + 2^-25, the latter for numbers below float16's smallest normal one. Weights of a
 * softmax are rounded relative to the largest score so far, so that 2^-25 is at most as much of the largest weight.
 * Units that multiply matrices may cut off what a sum has too many bits for instead of rounding it (Fasi, Higham,
 * Mikaitis and Pranesh, Numerical behavior of NVIDIA tensor cores, 2021, §3): 2u for each term of a sum. All else is as
 * in float32. Sizes that no such unit takes are computed in float32, which is within the same budget.
 * @module
 */
import type { Engine } from '../../src/core/engine.ts';
import { fromFloat16, toFloat16 } from '../../src/core/float16.ts';

/** A number, and how far from it the result of a correct engine may be. */
export interface Bounded {
  readonly value: number;
  readonly error: number;
}

/** The nearest number of float16. */
export const asFloat16 = (x: number): number => fromFloat16(toFloat16(x));

/** A number that the engine was given exactly. */
export function exact(value: number): Bounded {
  return { value, error: 0 };
}

/** Arithmetic on numbers with error bounds, for an engine of one precision. */
export class Rounding {
  readonly u: number;
  readonly tiny: number;
  /** What products are computed in, if not in the engine's precision. */
  readonly factors: 'f16' | undefined;

  constructor(precision: Engine['precision'], factors?: 'f16') {
    this.factors = factors;
    this.u = (precision === 'float32' ? 2 ** -24 : 2 ** -53) + 2 ** -53;
    this.tiny = precision === 'float32' ? 2 ** -126 : 2 ** -1022;
  }

  /** `value` with the errors of its operands, `brought`, and a relative rounding error of `units` u. */
  #rounded(value: number, brought: number, units: number): Bounded {
    return { value, error: brought + units * this.u * (Math.abs(value) + brought) + this.tiny };
  }

  /** A number such as 0.1 that the engine has to round to its precision. */
  constant(x: number): Bounded {
    return this.#rounded(x, 0, 1);
  }

  add(a: Bounded, b: Bounded): Bounded {
    return this.#rounded(a.value + b.value, a.error + b.error, 1);
  }

  subtract(a: Bounded, b: Bounded): Bounded {
    return this.#rounded(a.value - b.value, a.error + b.error, 1);
  }

  multiply(a: Bounded, b: Bounded): Bounded {
    const brought = Math.abs(a.value) * b.error + Math.abs(b.value) * a.error + a.error * b.error;
    return this.#rounded(a.value * b.value, brought, 1);
  }

  /** A number as products of many rows take it. One that float16 holds, and that is known exactly, stays as it is. */
  factor(x: Bounded): Bounded {
    if (!this.factors || (x.error === 0 && asFloat16(x.value) === x.value)) return x;
    return { value: x.value, error: x.error + (Math.abs(x.value) + x.error) * 2 ** -11 + 2 ** -25 };
  }

  /** a b as a term of a product of many rows. */
  product(a: Bounded, b: Bounded): Bounded {
    return this.multiply(this.factor(a), this.factor(b));
  }

  divide(a: Bounded, b: Bounded): Bounded {
    const value = a.value / b.value;
    const room = Math.abs(b.value) - b.error;
    if (!(room > 0)) throw new Error(`no budget: the divisor ${b.value} is known to ${b.error} only`);
    return this.#rounded(value, (a.error + Math.abs(value) * b.error) / room, 5);
  }

  exp(a: Bounded): Bounded {
    const value = Math.exp(a.value);
    return this.#rounded(value, value * Math.expm1(a.error), 2 * (3 + 2 * (Math.abs(a.value) + a.error)));
  }

  log(a: Bounded): Bounded {
    const value = Math.log(a.value);
    if (!(a.value > a.error)) throw new Error(`no budget: log of ${a.value}, known to ${a.error} only`);
    const { error } = this.#rounded(value, -Math.log1p(-a.error / a.value), 6);
    return { value, error: error + 8 * this.u };
  }

  sqrt(a: Bounded): Bounded {
    const value = Math.sqrt(a.value);
    if (!(a.value > a.error)) throw new Error(`no budget: sqrt of ${a.value}, known to ${a.error} only`);
    return this.#rounded(value, value - Math.sqrt(a.value - a.error), 9);
  }

  /** The sum in any order. */
  sum(terms: readonly Bounded[]): Bounded {
    let value = 0;
    let brought = 0;
    let magnitude = 0;
    for (const term of terms) {
      value += term.value;
      brought += term.error;
      magnitude += Math.abs(term.value) + term.error;
    }
    const n = terms.length * (this.factors ? 2 : 1);
    return { value, error: brought + (n * this.u / (1 - n * this.u)) * magnitude + n * this.tiny };
  }

  /** The largest term. Comparing involves no rounding. */
  max(terms: readonly Bounded[]): Bounded {
    return { value: Math.max(...terms.map((x) => x.value)), error: Math.max(...terms.map((x) => x.error)) };
  }
}

/** Fails unless every element is within its bound. NaN is never within a bound. */
export function expectWithin(actual: ArrayLike<number>, truth: readonly Bounded[], what: string): void {
  if (actual.length !== truth.length) throw new Error(`${what} has ${actual.length} elements, not ${truth.length}`);
  for (let n = 0; n < truth.length; n++) {
    const { value, error } = truth[n];
    if (!Number.isFinite(error)) throw new Error(`${what}[${n}]: the budget is ${error}, so nothing is checked`);
    if (!(Math.abs(actual[n] - value) <= error)) {
      throw new Error(`${what}[${n}] is ${actual[n]} but must be ${value} within ${error}`);
    }
  }
}

/** Fails unless both hold the same bits, except that any NaN equals any NaN. */
export function expectSameBits(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  if (actual.length !== expected.length) {
    throw new Error(`${what} has ${actual.length} elements, not ${expected.length}`);
  }
  for (let n = 0; n < expected.length; n++) {
    if (!Object.is(actual[n], expected[n])) {
      throw new Error(`${what}[${n}] is ${actual[n]}, not exactly ${expected[n]}`);
    }
  }
}
