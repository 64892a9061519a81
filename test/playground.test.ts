/** The formulas of the playground, term by term, against the reference. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FOREVER } from '../src/core/lifetime.ts';
import { formulasOf, leastOf, number, pairOf, typeTerms } from '../site-src/playground/formulas.ts';
import { compute } from '../site-src/playground/results.ts';
import { EXAMPLE, fromHash, LEAST, MOST, type Setting, toHash, within, withType } from '../site-src/playground/setting.ts';
import { cases } from './support/thorough.ts';

const settings: fc.Arbitrary<Setting> = fc.record({
  types: fc.array(fc.constantFrom('G', 'L', 'W'), { minLength: LEAST, maxLength: MOST }).map((all) => all.join('')),
  window: fc.nat(12), chunk: fc.integer({ min: 1, max: 4 }), i: fc.nat(MOST), j: fc.nat(MOST),
  seed: fc.integer({ min: 1, max: 9999 }),
  lambda: fc.constantFrom(0, 0.5, 2), rule: fc.constantFrom('bounded' as const, 'exact' as const),
}).map(within);

/** Sums in another order than the reference's: a few roundings of the largest term. */
const close = (x: number, y: number, terms: readonly number[] = []): void => {
  const size = terms.reduce((a, b) => a + Math.abs(b), Math.abs(x));
  expect(Math.abs(x - y)).toBeLessThanOrEqual((terms.length + 8) * Number.EPSILON * Math.max(size, 1));
};

describe('the playground', () => {
  it('sums exactly the terms that it shows to the gradient of the types of the reference', () => {
    fc.assert(fc.property(settings, (setting) => {
      const results = compute(setting);
      for (let c = 0; c < results.chunks; c++) {
        const { dg, closed, dl, dw } = typeTerms(results, c);
        const sum = (terms: readonly number[]): number => terms.reduce((a, b) => a + b, 0);
        close(results.dTypes[3 * c], sum(dg) - sum(closed), [...dg, ...closed]);
        close(results.dTypes[3 * c + 1], sum(dl), dl);
        close(results.dTypes[3 * c + 2], sum(dw), dw);
      }
    }), { numRuns: cases(20, 300) });
  });

  it('gives for every formula what the reference gives', () => {
    fc.assert(fc.property(settings, (setting) => {
      const results = compute(setting);
      const { i, j, chunk } = setting;
      const { N, priced, dM, lse } = results;
      const all = formulasOf(results);
      const named = (part: keyof typeof all, name: string): number | undefined =>
        all[part].find((each) => each.name === name)?.value;
      const c = Math.floor(j / chunk);
      ['GLOBAL', 'LOCAL', 'WINDOW'].forEach((name, n) => close(named('gradient', name)!, priced[3 * c + n], [...dM]));
      expect(named('lifetime', 'Mask')).toBe(j <= i && i <= results.last[j] ? 1 : 0);
      if (j > i) return;
      const { S, P, D } = pairOf(results, i, j);
      const pairs = Array.from({ length: i + 1 }, (_, n) => pairOf(results, i, n));
      const scores = pairs.map(({ S: s }) => Math.exp(s)).reduce((a, b) => a + b, 0);
      const norm = setting.rule === 'exact' ? lse[i] : Math.log(scores);
      const value = Math.exp(S - norm) * (P - D);
      expect(Math.abs(dM[i * N + j] - value)).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(value)));
      expect(pairs.reduce((sum, { A }) => sum + A, 0)).toBeCloseTo(1, 12);
      expect(named('gradient', 'Relaxed mask')).toBe(results.mask[i * N + j]);
      expect(named('attention', 'Gradient of the mask')).toBe(dM[i * N + j]);
    }), { numRuns: cases(20, 300) });
  });

  it('has a cache that holds what the next row of the mask sees, but for its own key', () => {
    fc.assert(fc.property(settings, (setting) => {
      const { held, last, N } = compute(setting);
      held.forEach((positions, i) => {
        expect([...positions]).toEqual(Array.from({ length: i + 1 }, (_, j) => j).filter((j) => last[j] >= i + 1));
      });
      expect(held).toHaveLength(N);
    }), { numRuns: cases(20, 300) });
  });

  it('keeps every setting in the address, and brings what is out of range into it', () => {
    fc.assert(fc.property(settings, (setting) => {
      expect(fromHash(toHash(setting))).toEqual(setting);
    }));
    expect(fromHash('')).toEqual(EXAMPLE);
    expect(fromHash('#types=<b>gl&W=-3&C=99&i=x&j=1e9&seed=NaN&lambda=-1&rule=none')).toEqual({
      types: 'GLWWWWWW', window: 0, chunk: 4, i: 0, j: 7, seed: 1, lambda: 0, rule: 'bounded',
    });
  });

  it('changes the type of a whole chunk, and counts an unfinished one as GLOBAL', () => {
    const setting = withType({ ...EXAMPLE, chunk: 3 }, 4, 'W');
    expect(setting.types).toBe('GLLWWWWW');
    const { types, last } = compute(setting);
    expect([...types]).toEqual([0, 2, 0]);
    expect([...last]).toEqual([FOREVER, FOREVER, FOREVER, 7, 7, 7, FOREVER, FOREVER]);
  });

  it('writes numbers with a true minus, and never −0', () => {
    expect([number(-1.23456), number(-0.0001), number(0), number(2)]).toEqual(['−1.235', '0', '0', '2']);
    expect(leastOf(Float64Array.of(1, 2, 3, 0, -1, -1), 1)).toBe(1);
  });
});
