/** Rounding to narrower floats and their spacing, compared with lists of all their values. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode16, encode16, roundArray, roundTo, ulp } from '../src/formats/rounding.ts';

/** From the definition of the formats; `bias` is also the exponent of the largest numbers. */
const FORMATS = [
  { dtype: 'F16', fractionBits: 10, bias: 15, infinity: 0x7c00 },
  { dtype: 'BF16', fractionBits: 7, bias: 127, infinity: 0x7f80 },
] as const;
type Format = (typeof FORMATS)[number];

/** The value of a positive pattern, with infinity and NaNs read as if they were a further exponent. */
function meaning({ fractionBits, bias }: Format, bits: number): number {
  const [exponent, fraction] = [bits >> fractionBits, bits & (2 ** fractionBits - 1)];
  const significand = (exponent === 0 ? 0 : 1) + fraction / 2 ** fractionBits;
  return significand * 2 ** (Math.max(exponent, 1) - bias);
}

/** All finite values from 0 up, at the index of their pattern, and last the power of two in the place of infinity. */
const LISTS = Object.fromEntries(FORMATS.map((format) => {
  return [format.dtype, Float64Array.from({ length: format.infinity + 1 }, (_, bits) => meaning(format, bits))];
})) as Record<'F16' | 'BF16', Float64Array>;

/** The pattern nearest to x by bisection of the list; ties to the even pattern. */
function nearest({ dtype, infinity }: Format, x: number): number {
  const list = LISTS[dtype];
  const size = Math.abs(x);
  let [low, high]: [number, number] = [0, infinity];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (list[middle] <= size) low = middle;
    else high = middle;
  }
  const [down, up] = [size - list[low], list[high] - size];
  return (x < 0 || Object.is(x, -0) ? 0x8000 : 0) | (down < up || (down === up && low % 2 === 0) ? low : high);
}

const scratch = new DataView(new ArrayBuffer(8));
/** The float64 that is so many patterns away from a positive one. */
function step(x: number, patterns: bigint): number {
  scratch.setFloat64(0, x);
  scratch.setBigUint64(0, scratch.getBigUint64(0) + patterns);
  return scratch.getFloat64(0);
}

/** Compares long lists by their first difference, without calling a matcher for each element. */
function firstDifference(a: ArrayLike<number>, b: ArrayLike<number>): string | undefined {
  for (let n = 0; n < Math.max(a.length, b.length); n++) if (!Object.is(a[n], b[n])) return `${n}: ${a[n]} is not ${b[n]}`;
  return undefined;
}

describe.each(FORMATS)('$dtype', (format) => {
  const { dtype, infinity } = format;
  const list = LISTS[dtype];
  const patterns = Uint16Array.from({ length: 0x10000 }, (_, bits) => bits);
  const value = (bits: number): number => {
    const size = bits & 0x7fff;
    return (bits & 0x8000 ? -1 : 1) * (size < infinity ? list[size] : size === infinity ? Infinity : NaN);
  };

  it('decodes all 65,536 patterns as the format defines, and encodes them back', () => {
    const values = decode16(patterns, dtype);
    expect(firstDifference(values, Float64Array.from(patterns, value))).toBeUndefined();
    const quiet = infinity | ((0x8000 - infinity) >> 1);
    const expected = patterns.map((bits) => (bits & 0x7fff) > infinity ? quiet : bits);
    expect(firstDifference(encode16(values, dtype), expected)).toBeUndefined();
    expect(firstDifference(roundArray(values, dtype), values)).toBeUndefined();
  });

  it('rounds each tie to the even pattern, and each float64 next to a tie to its own side, also at overflow', () => {
    const middles = Float64Array.from({ length: infinity }, (_, n) => (list[n] + list[n + 1]) / 2);
    const beside = (patterns: bigint) => encode16(middles.map((x) => step(x, patterns)), dtype);
    expect(firstDifference(encode16(middles, dtype), middles.map((_, n) => n + n % 2))).toBeUndefined();
    expect(firstDifference(beside(-1n), middles.map((_, n) => n))).toBeUndefined();
    expect(firstDifference(beside(1n), middles.map((_, n) => n + 1))).toBeUndefined();
  });

  it('rounds any float64 to the nearest of the list', () => {
    const drawn = fc.oneof(fc.double({ noNaN: true }), fc.double({ noNaN: true, min: -1e5, max: 1e5 }));
    fc.assert(fc.property(drawn, (x) => {
      const bits = nearest(format, x);
      expect(encode16([x], dtype)[0]).toBe(bits);
      expect(roundTo(x, dtype)).toBe(value(bits));
      expect(roundArray([x, -x], dtype)).toEqual(Float64Array.of(roundTo(x, dtype), roundTo(-x, dtype)));
    }), { numRuns: 5000 });
  });

  it('has the spacing of its list, at each value and up to the next', () => {
    const spacings = Float64Array.from({ length: infinity }, (_, n) => list[n + 1] - list[n]);
    const finite = list.subarray(0, infinity);
    expect(firstDifference(finite.map((x) => ulp(x, dtype)), spacings)).toBeUndefined();
    expect(firstDifference(finite.map((x) => ulp(-x, dtype)), spacings)).toBeUndefined();
    expect(firstDifference(finite.map((_, n) => ulp(step(list[n + 1], -1n), dtype)), spacings)).toBeUndefined();
    expect(ulp(1e300, dtype)).toBe(spacings.at(-1));
  });
});

describe('roundTo()', () => {
  it('does not round to float32 first, which would turn numbers next to a tie into ties', () => {
    const [half, brain] = [1 + 2 ** -11 + 2 ** -40, 1 + 2 ** -8 + 2 ** -40];
    expect(roundTo(half, 'F16')).toBe(1 + 2 ** -10);
    expect(roundTo(Math.fround(half), 'F16')).toBe(1);
    expect(roundTo(brain, 'BF16')).toBe(1 + 2 ** -7);
    expect(roundTo(Math.fround(brain), 'BF16')).toBe(1);
  });

  it('keeps NaN, infinities, the sign of zero and the known extremes', () => {
    for (const dtype of ['F16', 'BF16', 'F32', 'F64'] as const) {
      for (const x of [NaN, Infinity, -Infinity, 0, -0, 1, -1.5]) expect(roundTo(x, dtype)).toBe(x);
    }
    expect([65504, 65519.99, 65520, -65520].map((x) => roundTo(x, 'F16'))).toEqual([65504, 65504, Infinity, -Infinity]);
    expect([2 ** -24, 2 ** -25, -(2 ** -25)].map((x) => roundTo(x, 'F16'))).toEqual([2 ** -24, 0, -0]);
    expect([3.395e38, 3.4e38, 2 ** -133, 2 ** -134].map((x) => roundTo(x, 'BF16')))
      .toEqual([255 * 2 ** 120, Infinity, 2 ** -133, 0]);
  });

  it('is Math.fround for F32 and nothing for F64', () => {
    fc.assert(fc.property(fc.double(), (x) => {
      expect(roundTo(x, 'F32')).toBe(Math.fround(x));
      expect(roundTo(x, 'F64')).toBe(x);
      expect(roundArray([x], 'F32')).toEqual(Float64Array.of(Math.fround(x)));
    }));
  });
});

describe('ulp()', () => {
  it('is the distance to the next float32 or float64', () => {
    fc.assert(fc.property(fc.nat(0x7f7ffffe), (bits) => { // below the largest, so that all have a finite neighbour
      const [x, next] = new Float32Array(Uint32Array.of(bits, bits + 1).buffer);
      expect(ulp(x, 'F32')).toBe(next - x);
      expect(ulp(-x, 'F32')).toBe(next - x);
    }), { numRuns: 2000 });
    fc.assert(fc.property(fc.double({ min: 0, max: 1.7e308 }), (x) => {
      expect(ulp(x, 'F64')).toBe(step(Math.abs(x), 1n) - x);
    }), { numRuns: 2000 });
    for (let exponent = -1074; exponent < 1024; exponent++) {
      expect(ulp(2 ** exponent, 'F64')).toBe(2 ** Math.max(exponent - 52, -1074));
      expect(ulp(2 ** exponent, 'F32')).toBe(2 ** Math.min(Math.max(exponent - 23, -149), 104));
    }
  });

  it('is the subnormal spacing at zero and at the smallest normal number, and NaN where there is no next number', () => {
    const least = { F16: [-14, -24], BF16: [-126, -133], F32: [-126, -149], F64: [-1022, -1074] } as const;
    for (const [dtype, [normal, subnormal]] of Object.entries(least)) {
      for (const x of [0, -0, 5e-324, 2 ** normal, -(2 ** normal)]) {
        expect(ulp(x, dtype as keyof typeof least)).toBe(2 ** subnormal);
      }
      for (const x of [NaN, Infinity, -Infinity]) expect(ulp(x, dtype as keyof typeof least)).toBeNaN();
    }
  });
});
