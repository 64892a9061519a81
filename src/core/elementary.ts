/**
 * exp, log, sin, cos and powers, made only of + - * /. IEEE 754 determines these to the last bit, but not Math.exp,
 * Math.log, Math.sin, Math.cos and Math.pow, of which Node, Deno, browsers and their versions differ in a tenth of the
 * results. With the functions here, everything that the reference computes has the same bits everywhere.
 * @module
 */

// ln 2 = HIGH + LOW; HIGH has 21 trailing zeros, so that k HIGH is exact for every exponent k.
const LN2_HIGH = 0.6931471803691238;
const LN2_LOW = 1.9082149292705877e-10;
const PER_LN2 = 1 / Math.LN2;

/** 2^k at k + 1074, computed by doubling, which is exact while a power function need not be. */
const POWERS = /* @__PURE__ */ powersOfTwo();

function powersOfTwo(): Float64Array {
  const powers = new Float64Array(2098);
  powers[1074] = 1;
  for (let n = 1075; n < powers.length; n++) powers[n] = powers[n - 1] * 2;
  for (let n = 1073; n >= 0; n--) powers[n] = powers[n + 1] / 2;
  return powers;
}

// 1/n!; factorials are exact up to 18!. Only constants and pure calls, so that bundlers can drop what is not used.
const F3 = 1 / 6;
const F4 = 1 / 24;
const F5 = 1 / 120;
const F6 = 1 / 720;
const F7 = 1 / 5040;
const F8 = 1 / 40320;
const F9 = 1 / 362880;
const F10 = 1 / 3628800;
const F11 = 1 / 39916800;
const F12 = 1 / 479001600;
const F13 = 1 / 6227020800;
const F14 = 1 / 87178291200;
const F15 = 1 / 1307674368000;
const F16 = 1 / 20922789888000;
const F17 = 1 / 355687428096000;

/** e^x within 1 ulp. It is 0 below -745.2, and Infinity above 709.78. */
export function exp(x: number): number {
  if (x < -745.2) return 0;
  if (x > 709.7827128933841) return Infinity;
  if (x !== x) return NaN;
  const k = Math.floor(x * PER_LN2 + 0.5);
  const [high, low] = [x - k * LN2_HIGH, k * LN2_LOW];
  const r = high - low; // |r| <= 0.35; and its rounding error:
  const lost = (high - r) - low;
  const s = r * r;
  // Taylor's series up to r^14, with even and odd terms apart, so that the chain of operations is half as long.
  const even = 0.5 + s * (F4 + s * (F6 + s * (F8 + s * (F10 + s * (F12 + s * F14)))));
  const odd = F3 + s * (F5 + s * (F7 + s * (F9 + s * (F11 + s * F13))));
  const y = 1 + (r + (lost + s * (even + r * odd)));
  if (k > 1023) return y * 2 * POWERS[1023 + 1074];
  return k < -1074 ? y / 2 * POWERS[0] : y * POWERS[k + 1074];
}

/** To take a number apart. */
const BITS = /* @__PURE__ */ new DataView(/* @__PURE__ */ new ArrayBuffer(8));
/** From the upper half of the bits of sqrt 1/2 to those of 1, so that the exponent counts from sqrt 1/2 on. */
const ROOT = 0x3ff00000 - 0x3fe6a09e;

// 1/n: a division takes as long as ten products.
const I3 = 1 / 3;
const I5 = 1 / 5;
const I7 = 1 / 7;
const I9 = 1 / 9;
const I11 = 1 / 11;
const I13 = 1 / 13;
const I15 = 1 / 15;
const I17 = 1 / 17;
const I19 = 1 / 19;
const I21 = 1 / 21;
const I23 = 1 / 23;

/** Natural logarithm within 3 ulp. */
export function log(x: number): number {
  if (!(x > 0 && x < Infinity)) return x === 0 ? -Infinity : x === Infinity ? x : NaN;
  // x = m 2^k with m from sqrt 1/2 to sqrt 2; numbers below 2^-1022 have no exponent of their own.
  const tiny = x < 2 ** -1022;
  const whole = tiny ? x * 2 ** 54 : x;
  BITS.setFloat64(0, whole, true);
  let k = ((BITS.getInt32(4, true) + ROOT) >> 20) - 1023;
  let m = whole * POWERS[1074 - k];
  if (m < Math.SQRT1_2) { // one number of a million: the upper half of its bits is that of sqrt 1/2
    m *= 2;
    k--;
  }
  if (tiny) k -= 54;
  const f = (m - 1) / (m + 1); // log m = 2 artanh f, |f| <= 0.172
  const s = f * f;
  const tail = s * (I15 + s * (I17 + s * (I19 + s * (I21 + s * I23))));
  const p = s * (I3 + s * (I5 + s * (I7 + s * (I9 + s * (I11 + s * (I13 + tail))))));
  return k * LN2_HIGH + (2 * f + (2 * f * p + k * LN2_LOW));
}

// pi / 2 as three parts of at most 22 bits and a rest, so that k times a part is exact for whole k below 2^31.
const PER_QUARTER = 2 / Math.PI;
const Q1 = 1.570796012878418;
const Q2 = 3.139164164167596e-07;
const Q3 = 6.223371969669989e-14;
const Q4 = 2.0222662487959506e-21;

/** cos x and sin x within 1 ulp, for |x| below 2^31. */
export function cosSin(x: number): [cos: number, sin: number] {
  const k = Math.floor(x * PER_QUARTER + 0.5);
  const high = (x - k * Q1) - k * Q2; // exact, as x has no lower digits and the higher ones cancel
  const low = k * Q3;
  const near = high - low; // and its rounding error (Knuth), with the rest of pi / 2:
  const back = near - high;
  const rest = ((high - (near - back)) - (low + back)) - k * Q4;
  const r = near + rest; // |r| <= pi / 4; and its rounding error:
  const lost = (near - r) + rest;
  const s = r * r;
  const sine = r + (lost - s * r * (F3 - s * (F5 - s * (F7 - s * (F9 - s * (F11 - s * (F13 - s * (F15 - s * F17))))))));
  const half = s / 2;
  const tail = s * s * (F4 - s * (F6 - s * (F8 - s * (F10 - s * (F12 - s * (F14 - s * F16))))));
  const one = 1 - half; // its rounding error is (1 - one) - half
  const cosine = one + ((1 - one - half) + (tail - r * lost));
  const quarter = k - 4 * Math.floor(k / 4);
  if (quarter === 0) return [cosine, sine];
  if (quarter === 1) return [-sine, cosine];
  return quarter === 2 ? [-cosine, -sine] : [sine, -cosine];
}

/** The sum of two numbers, of which the second is below the last digit of the first, which gives twice the digits. */
type Double = readonly [high: number, low: number];

function times([a, b]: Double, [c, d]: Double): Double {
  const product = a * c;
  const [ah, ch] = [upperHalf(a), upperHalf(c)];
  const [al, cl] = [a - ah, c - ch];
  const error = ((ah * ch - product) + ah * cl + al * ch) + al * cl; // exact (Dekker)
  return sum(product, error + (a * d + b * c));
}

function sum(a: number, b: number): Double {
  const high = a + b;
  return [high, b - (high - a)];
}

/** The upper 26 bits. */
function upperHalf(x: number): number {
  const shifted = 134217729 * x;
  return shifted - (shifted - x);
}

function power(base: Double, n: number): Double {
  let [result, square]: [Double, Double] = [[1, 0], base];
  for (let rest = n; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = times(result, square);
    square = times(square, square);
  }
  return result;
}

/**
 * base^(-n / roots) for n = 0 .. roots - 1, within 1 ulp: powers of the root, computed with twice the digits.
 *
 * @param base A finite number above 0. Above 1e100 and below 1e-100, where products with twice the digits would
 *   overflow, the error is hundreds of ulp.
 */
export function inversePowers(base: number, roots: number): Float64Array {
  if (base > 1e100 || base < 1e-100) {
    return Float64Array.from({ length: roots }, (_, n) => exp(-log(base) * (n / roots)));
  }
  let root: Double = [exp(log(base) / roots), 0];
  for (let n = 0; n < 3; n++) { // Newton's method: each step doubles the digits
    const [high, low] = power(root, roots);
    const error = ((high - base) + low) / base / roots;
    root = sum(root[0], root[1] - root[0] * error);
  }
  let at: Double = [1, 0];
  return Float64Array.from({ length: roots }, () => {
    const inverse = 1 / at[0];
    const [high, low] = times([inverse, 0], at); // almost 1
    at = times(at, root);
    return inverse - inverse * ((high - 1) + low);
  });
}
