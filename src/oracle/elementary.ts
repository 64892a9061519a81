/**
 * exp and log out of + - * / alone. IEEE 754 fixes those to the last bit, but neither Math.exp nor Math.log: engines,
 * and versions of one engine, differ in a tenth of the results. With these, truths have the same bits everywhere.
 * @module
 */

// ln 2 = HIGH + LOW; HIGH has 21 trailing zeros, so that k HIGH is exact for every exponent k.
const LN2_HIGH = 0.6931471803691238;
const LN2_LOW = 1.9082149292705877e-10;

/** 2^k at k + 1074, by doubling: exact, as a power function need not be. */
const POWERS = new Float64Array(2098);
POWERS[1074] = 1;
for (let n = 1075; n < POWERS.length; n++) POWERS[n] = POWERS[n - 1]! * 2;
for (let n = 1073; n >= 0; n--) POWERS[n] = POWERS[n + 1]! / 2;

/** e^x within 1 ulp; below -745.2 it is 0, above 709.7 Infinity. */
export function exp(x: number): number {
  if (x < -745.2) return 0;
  if (x > 709.7827128933841) return Infinity;
  if (Number.isNaN(x)) return NaN;
  const k = Math.round(x / LN2_HIGH);
  const [high, low] = [x - k * LN2_HIGH, k * LN2_LOW];
  const r = high - low; // |r| <= 0.35, and what its rounding lost:
  const lost = (high - r) - low;
  let p = 1 / 87178291200;
  for (let n = INVERSE_FACTORIALS.length - 1; n >= 0; n--) p = INVERSE_FACTORIALS[n]! + r * p;
  const y = 1 + (r + (lost + r * r * p));
  if (k > 1023) return y * 2 * POWERS[1023 + 1074]!;
  return k < -1074 ? y / 2 * POWERS[0]! : y * POWERS[k + 1074]!;
}

/** 1/2!, 1/3!, ..., 1/13! */
const INVERSE_FACTORIALS = Float64Array.from({ length: 12 }, (_, n) => {
  let factorial = 1;
  for (let m = 2; m <= n + 2; m++) factorial *= m;
  return 1 / factorial;
});

/** Natural logarithm within 3 ulp, of finite x >= 1. */
export function log(x: number): number {
  let [m, k] = [x, 0];
  while (m >= Math.SQRT2) {
    m /= 2;
    k++;
  }
  const f = (m - 1) / (m + 1); // log m = 2 artanh f, |f| <= 0.172
  let p = 0;
  for (let n = 23; n >= 3; n -= 2) p = f * f * (1 / n + p);
  return k * LN2_HIGH + (2 * f + (2 * f * p + k * LN2_LOW));
}
