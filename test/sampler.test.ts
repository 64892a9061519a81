/** Picking a token, compared with complete sorts: the earlier algorithm, and Hugging Face's definitions of warpers. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NumericError } from '../src/core/errors.ts';
import { Sampler, type Sampling } from '../src/model/generate/sampler.ts';
import { generator } from '../src/core/random.ts';
import { candidates, drawn, fitsDefinition, fixed } from './support/sampling.ts';
import { cases } from './support/thorough.ts';

/** Logits like those of models, and difficult ones: ties, few values, far outliers, all equal, minus infinity. */
const kinds = fc.constantFrom('normal', 'ties', 'far', 'same', 'masked', 'f32');
const rows = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 300 }), kinds)
  .map(([seed, length, kind]): Float64Array | Float32Array => {
    const random = generator(seed, [1]);
    const row = Float64Array.from({ length }, (_, n) => {
      const z = 3 * random.normal();
      if (kind === 'ties') return Math.round(z);
      if (kind === 'far') return n % 7 === 0 ? 200 * z : z;
      if (kind === 'same') return 1.25;
      return kind === 'masked' && n % 3 === 1 ? -Infinity : z;
    });
    return kind === 'f32' ? Float32Array.from(row) : row;
  });

const samplings = fc.record({
  temperature: fc.constantFrom(0.05, 0.7, 1, 1.5, 40),
  topK: fc.option(fc.integer({ min: 1, max: 320 }), { nil: undefined }),
  topP: fc.option(fc.constantFrom(0.001, 0.33, 0.5, 0.9, 0.999, 1), { nil: undefined }),
  minP: fc.option(fc.constantFrom(0, 0.01, 0.3, 1), { nil: undefined }),
  repetitionPenalty: fc.constantFrom(undefined, 1, 1.3, 0.7),
});

describe('picking a token', () => {
  it('gives what sorting the whole vocabulary gives, for every combination of options', () => {
    const before = fc.array(fc.nat(299), { maxLength: 5 });
    fc.assert(fc.property(rows, samplings, before, fc.nat(), (row, sampling, some, seed) => {
      const seen = some.map((token) => token % row.length);
      const sampler = new Sampler(sampling);
      const random = generator(seed, [2]);
      for (const uniform of [0, random.uniform(), random.uniform(), 0.5, 1 - 2 ** -53]) {
        const copy = row.slice();
        const picked = sampler.pick(row, fixed(uniform), [...seen, ...seen]);
        expect(row).toEqual(copy);
        const fits = fitsDefinition(row, sampling, seen, uniform, picked);
        expect(fits, `${picked}, not ${drawn(candidates(row, sampling, seen), uniform)}`).toBe(true);
      }
    }), { numRuns: cases(100, 2000) });
  });

  it('gives the same tokens as the earlier algorithm for the same seed', () => {
    const logits = Float64Array.from({ length: 2000 }, (_, n) => 4 * Math.sin(n * n));
    for (const sampling of [
      { temperature: 1 }, { temperature: 0.8 }, { temperature: 0.8, topK: 40 }, { temperature: 2, topK: 1999 },
    ]) {
      const [ours, theirs] = [generator(3, [4, 0]), generator(3, [4, 0])];
      const sampler = new Sampler(sampling);
      const from = candidates(logits, sampling);
      for (let n = 0; n < 300; n++) expect(sampler.pick(logits, ours)).toBe(drawn(from, theirs.uniform()));
    }
  });

  it('draws by the softmax of the k most likely', () => {
    const logits = Float64Array.of(0, Math.log(2), -5, Math.log(4)); // weights 1, 2, tiny, 4
    const random = generator(1, [3]);
    const sampler = new Sampler({ temperature: 1, topK: 3 });
    const counts = [0, 0, 0, 0];
    const draws = 20_000;
    for (let n = 0; n < draws; n++) counts[sampler.pick(logits, random)]++;
    expect(counts[2]).toBe(0);
    const chiSquared = [0, 1, 3].reduce((sum, token, n) => {
      const expected = (draws * [1, 2, 4][n]) / 7;
      return sum + (counts[token] - expected) ** 2 / expected;
    }, 0);
    expect(chiSquared).toBeLessThan(13.8); // 0.1% point of chi-squared with 2 degrees of freedom
  });

  it('prefers the lowest index among equal logits, at temperature 0 and for the k most likely', () => {
    const logits = Float64Array.of(1, 7, 3, 7, 7, -2);
    expect(new Sampler({ temperature: 0 }).pick(logits, fixed(0.9))).toBe(1);
    expect(new Sampler({ temperature: 1, topK: 2 }).pick(logits, fixed(0.99))).toBe(3);
    expect(new Sampler({ temperature: 5, topK: 1 }).pick(logits, fixed(0.99))).toBe(1);
  });

  it('keeps the fewest tokens that reach topP, including the one that reaches it', () => {
    const logits = Float64Array.from([0.1, 0.5, 0.15, 0.25], Math.log);
    const last = (topP: number) => new Sampler({ temperature: 1, topP }).pick(logits, fixed(1 - 2 ** -53));
    expect([0.001, 0.49, 0.51, 0.74, 0.76, 0.89, 0.91].map(last)).toEqual([1, 1, 3, 3, 2, 2, 0]);
  });

  it('keeps the tokens with at least minP times the highest probability, after the temperature', () => {
    const logits = Float64Array.from([0.1, 0.5, 0.15, 0.25], Math.log);
    const last = (sampling: Sampling) => new Sampler(sampling).pick(logits, fixed(1 - 2 ** -53));
    const lasts = [0.19, 0.21, 0.29, 0.31, 0.49, 0.51, 1].map((minP) => last({ temperature: 1, minP }));
    expect(lasts).toEqual([0, 2, 2, 3, 3, 1, 1]);
    expect(last({ temperature: 2, minP: 0.31 })).toBe(0); // sqrt(0.1 / 0.5) is 0.45
  });

  it('divides positive logits of seen tokens by the penalty and multiplies negative ones, once each', () => {
    const pick = (logits: number[], penalty: number, seen: number[]) => {
      const sampler = new Sampler({ temperature: 0, repetitionPenalty: penalty });
      return sampler.pick(Float64Array.from(logits), fixed(0), seen);
    };
    expect(pick([3, 2.1, -1], 1.5, [0])).toBe(1); // 3 / 1.5 = 2
    expect(pick([3, 1.9, -1], 1.5, [0, 0, 0])).toBe(0);
    expect(pick([-1, -1.9, -2.1], 2, [0])).toBe(1); // -1 * 2 = -2
    expect(pick([-1, -2.1, -3], 2, [0])).toBe(0);
  });

  it('refuses logits none of which is a number', () => {
    for (const row of [[NaN, NaN], [-Infinity], [0, Infinity]]) {
      const pick = () => new Sampler({ temperature: 1 }).pick(Float64Array.from(row), fixed(0));
      expect(pick, String(row)).toThrow(NumericError);
    }
  });

  it('does not sort a vocabulary of 151,936: it is many times faster than a sort, whatever the options', () => {
    const random = generator(1, [1]);
    const row = Float32Array.from({ length: 151_936 }, () => 3 * random.normal());
    const time = (work: () => void, times: number) => {
      const all = Array.from({ length: times }, () => {
        const begin = performance.now();
        work();
        return performance.now() - begin;
      });
      return Math.min(...all);
    };
    const seen = new Set(Array.from({ length: 20_000 }, () => random.below(row.length)));
    const sort = time(() => void Array.from(row.keys()).sort((a, b) => row[b] - row[a] || a - b), 1);
    for (const sampling of [
      { temperature: 0 }, { temperature: 1 }, { temperature: 0.7, topK: 50 }, { temperature: 0.7, topP: 0.9 },
      { temperature: 0.8, topK: 50, topP: 0.95, minP: 0.01, repetitionPenalty: 1.1 },
      { temperature: 0.8, topK: 50_000, topP: 0.95, minP: 0.01, repetitionPenalty: 1.1 }, { temperature: 9, minP: 0.1 },
    ]) {
      const sampler = new Sampler(sampling);
      const picked = time(() => void sampler.pick(row, random, seen), 15);
      const figures = `${JSON.stringify(sampling)}: ${picked.toFixed(1)} ms, sorting ${sort.toFixed(0)} ms`;
      expect(sort / picked, figures).toBeGreaterThan(10);
    }
  });
});
