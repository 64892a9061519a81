/** Picking from rows as long as vocabularies, compared with sorts: tied, narrow, in order, or made to mislead. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generator } from '../src/core/random.ts';
import { logprobsOf } from '../src/model/generate/logprobs.ts';
import { likeliest, likeliestTokens, shortlist } from '../src/model/generate/ranking/likeliest.ts';
import { totalWeight } from '../src/model/generate/ranking/weights.ts';
import { Sampler, type Sampling } from '../src/model/generate/sampler.ts';
import { candidates, drawn, fitsDefinition, fixed } from './support/sampling.ts';
import { cases } from './support/thorough.ts';

/** The indices that shortlist() samples first. */
const looked = (length: number): Set<number> => {
  return new Set(Array.from({ length: 512 }, (_, n) => Math.floor(((n * 0.6180339887498949) % 1) * length)));
};

const looks = new Map<number, Set<number>>();
function isLooked(n: number, length: number): boolean {
  if (!looks.has(length)) looks.set(length, looked(length));
  return looks.get(length)!.has(n);
}

/** Difficult rows, by the name of the difficulty. */
const KINDS: Record<string, (z: number, n: number, length: number) => number> = {
  'normal': (z) => z,
  'all equal': () => -1.5,
  'a third tied at the top': (z, n) => (n % 3 === 1 ? 12 : z),
  'all but a few tied at the bottom': (z, n) => (n % 100 === 0 ? z : -2),
  'all but a few tied in between': (z, n) => (n % 50 === 0 ? z : 0.125),
  'whole numbers': (z) => Math.round(z),
  'two values': (z) => (z > 0 ? 3 : -3),
  'narrow': (z) => 1e-4 * z,
  'narrow, with ties': (z, n) => (n % 2 === 0 ? 0 : 1e-5 * z),
  'as float16 has them': (z) => Math.round(z * 256) / 256,
  'too near to each other for a division': (z) => 1e-307 * z,
  'ascending': (_, n, length) => (20 * n) / length,
  'descending': (_, n, length) => (-20 * n) / length,
  'masked': (z, n) => (n % 3 === 0 ? z : -Infinity),
  'low wherever one looks first': (z, n, length) => (isLooked(n, length) ? -30 : z),
  'high wherever one looks first': (z, n, length) => (isLooked(n, length) ? 30 + z : z),
};

function rowOf(kind: string, length: number, seed: number, single: boolean): Float64Array | Float32Array {
  const random = generator(seed, [1]);
  const row = Float64Array.from({ length }, (_, n) => KINDS[kind](3 * random.normal(), n, length));
  return single ? Float32Array.from(row) : row;
}

const samplings = fc.record({
  temperature: fc.constantFrom(0.3, 1, 1.7, 100),
  topK: fc.option(fc.constantFrom(1, 50, 300, 2000, 4000), { nil: undefined }),
  topP: fc.option(fc.constantFrom(0.01, 0.5, 0.95), { nil: undefined }),
  minP: fc.option(fc.constantFrom(0.001, 0.05, 0.9, 1), { nil: undefined }),
  repetitionPenalty: fc.constantFrom(undefined, 1.1, 0.9),
});

describe.each(Object.keys(KINDS))('a long row: %s', (kind) => {
  it('gives the same as sorting it, for every combination of options', () => {
    const rows = fc.record({ length: fc.integer({ min: 4096, max: 5000 }), seed: fc.nat(), single: fc.boolean() });
    const uniforms = fc.constantFrom(0, 0.25, 0.5, 0.97, 1 - 2 ** -53);
    const some = fc.array(fc.nat(4095), { maxLength: 40 });
    fc.assert(fc.property(rows, samplings, some, uniforms, ({ length, seed, single }, sampling, seen, uniform) => {
      const row = rowOf(kind, length, seed, single);
      const copy = row.slice();
      const picked = new Sampler(sampling).pick(row, fixed(uniform), seen);
      expect(row).toEqual(copy);
      const definition = single ? { ...sampling, repetitionPenalty: undefined } : sampling;
      const penalized = single ? roundedPenalty(row, sampling, seen) : row;
      const fits = fitsDefinition(penalized, definition, seen, uniform, picked);
      expect(fits, `${picked}, not ${drawn(candidates(penalized, definition, seen), uniform)}`).toBe(true);
    }), { numRuns: cases(3, 100) });
  });

  it('gives the same most likely tokens as sorting it', () => {
    for (const length of [4096, 6001]) {
      const row = rowOf(kind, length, length, length % 2 === 1);
      const sorted = [...row.keys()].sort((a, b) => row[b] - row[a] || a - b);
      expect(likeliest(row)).toBe(sorted[0]);
      for (const count of [0, 1, 5, 100]) expect([...likeliestTokens(row, count)]).toEqual(sorted.slice(0, count));
      for (const count of [1, 60, 2000]) {
        const listed = shortlist(row, count);
        if (!listed) continue;
        const among = new Set(listed.tokens);
        expect(sorted.slice(0, count).filter((token) => !among.has(token))).toEqual([]);
        expect([...listed.logits]).toEqual([...listed.tokens].map((token) => row[token]));
      }
    }
  });
});

/** A row after the penalty, rounded to float32 if the row is of float32. */
function roundedPenalty(
  row: ArrayLike<number>, { repetitionPenalty: penalty = 1 }: Sampling, seen: readonly number[],
): Float32Array {
  const result = Float32Array.from(row);
  for (const token of seen) result[token] = row[token] < 0 ? row[token] * penalty : row[token] / penalty;
  return result;
}

describe('picking from a long row', () => {
  it('takes tokens with equal logits in the order of their indices', () => {
    const row = new Float32Array(5000).fill(2.5);
    const at = (sampling: Sampling, uniform: number) => new Sampler(sampling).pick(row, fixed(uniform));
    expect([0, 0.25, 0.5, 0.9999].map((uniform) => at({ temperature: 1 }, uniform))).toEqual([0, 1250, 2500, 4999]);
    expect(at({ temperature: 1, topP: 0.5 }, 0.9999)).toBe(2499);
    expect(at({ temperature: 3, topK: 1000 }, 0.9999)).toBe(999);
    expect(at({ temperature: 1, minP: 1 }, 0.9999)).toBe(4999);
  });

  it('gives the most likely token at a temperature whose inverse is infinite', () => {
    const row = Float64Array.from({ length: 5000 }, (_, n) => Math.sin(n));
    const tiny = 1e-308;
    for (const sampling of [{ temperature: tiny }, { temperature: tiny, topK: 3 }, { temperature: tiny, minP: 0.1 }]) {
      expect(new Sampler(sampling).pick(row, fixed(0.9)), JSON.stringify(sampling)).toBe(likeliest(row));
    }
  });

  it('gives the sum of all weights with exact bits if it was computed, and otherwise undefined', () => {
    const row = rowOf('normal', 7000, 3, true);
    const total = (sampling: Sampling, seen: number[] = []) => {
      const sampler = new Sampler(sampling);
      sampler.pick(row, fixed(0.4), seen);
      return sampler.total;
    };
    const whole = totalWeight(row, likeliest(row));
    expect(total({ temperature: 1 })).toBe(whole);
    expect(total({ temperature: 1, topP: 0.4, minP: 0.1 })).toBe(whole);
    for (const sampling of [
      { temperature: 0 }, { temperature: 0.9 }, { temperature: 1, topK: 50 },
      { temperature: 1, repetitionPenalty: 1.2 },
    ]) {
      expect(total(sampling, [likeliest(row)]), JSON.stringify(sampling)).toBeUndefined();
    }
    expect(logprobsOf(row, 17, 5, whole)).toEqual(logprobsOf(row, 17, 5));
  });

  it('forgets the sum of an earlier row', () => {
    const sampler = new Sampler({ temperature: 1 });
    for (const seed of [1, 2]) {
      const row = rowOf('normal', 5000, seed, false);
      sampler.pick(row, fixed(0.5));
      expect(sampler.total).toBe(totalWeight(row, likeliest(row)));
    }
  });
});
