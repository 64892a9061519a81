/** exp, log, sin, cos and powers from arithmetic alone: accurate, and with the same bits in every runtime. */
import { all, type BigNumber, create } from 'mathjs';
import { describe, expect, it } from 'vitest';
import { cosSin, exp, inversePowers, log } from '../src/core/elementary.ts';
import { generator } from '../src/core/random.ts';
import { cases, some } from './support/thorough.ts';

const math = create(all, { number: 'BigNumber', precision: 90 });

/** The exact value of x. mathjs itself would take its shortest decimal form. */
function big(x: number): BigNumber {
  let [whole, halvings] = [x, 0];
  for (; whole !== Math.floor(whole); halvings++) whole *= 2;
  return math.bignumber(BigInt(whole).toString()).times(math.bignumber(0.5).pow(halvings));
}

/** The error in ulps of float64. */
function ulps(got: number, truth: BigNumber): number {
  const digit = 2 ** (Math.floor(Math.log2(Math.abs(truth.toNumber()))) - 52);
  return Math.abs(big(got).minus(truth).toNumber()) / digit;
}

const random = generator(0, [0]);
const draws = Array.from({ length: cases(20, 400) }, () => random.uniform());

describe('elementary functions', () => {
  it('cosSin() is within an ulp of 90 digits, at the positions of long contexts too', () => {
    // Also near multiples of pi / 2, where digits cancel.
    const quarters = (u: number) => Math.floor(u * 1e6) * (Math.PI / 2);
    const angles = draws.flatMap((u, n) => [u, u * 100, u * 1e6, u * 2 ** 31, -u, quarters(u), n * 1024]);
    const far = angles.filter((x) => x !== 0).map((x) => {
      const [c, s] = cosSin(x);
      return Math.max(ulps(c, big(x).cos()), ulps(s, big(x).sin()));
    });
    expect(Math.max(...far)).toBeLessThan(1);
    expect(cosSin(0)).toEqual([1, 0]);
  });

  it('exp() and log() are within 1 and 3 ulp of 90 digits', () => {
    const powers = draws.flatMap((u) => [-u, u, -40 * u, 700 * u, -700 * u, u * 2 ** -20]);
    expect(Math.max(...powers.map((x) => ulps(exp(x), big(x).exp())))).toBeLessThan(1);
    const numbers = draws.flatMap((u) => [u, 1 + u, 1e6 * u, 1 / (1 + 1e6 * u), 1 + u * 2 ** -20]);
    expect(Math.max(...numbers.map((x) => ulps(log(x), big(x).ln())))).toBeLessThan(3);
    expect([0, -1, NaN, Infinity, 1].map(log)).toEqual([-Infinity, NaN, NaN, Infinity, 0]);
  });

  it.each(some(3, [10000, 500000, 1e6, 1e7, 10000.5, 1, 0.3, 3e-3]))('inversePowers(%j) are within an ulp of 90 digits', (base) => {
    for (const roots of [1, 2, 3, 32, 63]) {
      const far = Array.from(inversePowers(base, roots), (x, n) => {
        return ulps(x, big(base).pow(big(-n).div(roots)));
      });
      expect(Math.max(...far), `${roots} roots`).toBeLessThan(1);
    }
  });

  it('inversePowers() of the largest and smallest bases are finite and accurate', () => {
    for (const base of [1e308, 1.7e308, 1e101, 1e-101, 1e-300]) {
      const powers = inversePowers(base, 64);
      expect(powers.every((x, n) => Math.abs(x / base ** (-n / 64) - 1) < 1e-12), `${base}`).toBe(true);
    }
  });

  it('have the same bits as in every other runtime', () => {
    const values = Array.from({ length: 500 }, (_, n) => (n + 0.5) / 500.25).flatMap((u) => [
      exp(-30 * u), exp(u), log(u), log(1 + u), ...cosSin(5000 * u), ...cosSin(u), ...inversePowers(1 + 1e6 * u, 7),
    ]);
    let hash = 0x811c9dc5; // FNV-1a over the bytes
    for (const byte of new Uint8Array(Float64Array.from(values).buffer)) hash = Math.imul(hash ^ byte, 0x01000193);
    expect((hash >>> 0).toString(16)).toBe('1806b088');
  });
});
