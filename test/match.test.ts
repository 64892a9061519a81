/** Fixed patterns matched to another policy keep as much as it does, measured on the cache. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KVCache, matchedPolicies, ndarray, type Policy, ValueError } from '../src/index.ts';
import { kindOf } from '../src/policies/index.ts';

/** What the cache reports after `length` tokens under a fixed pattern. */
async function measured(policy: Extract<Policy, { kind: 'full' | 'window' | 'streaming' }>, length: number): Promise<{ mean: number; end: number }> {
  const window = policy.kind === 'full' ? 0 : policy.window;
  const cache = new KVCache({ batch: 1, kvHeads: 1, headDim: 1, window, blockSize: 1 });
  const one = () => ndarray(new Float64Array(length), [1, 1, length, 1]);
  const types = ndarray(Int32Array.from({ length }, (_, n) => kindOf(policy).type!(policy, n)), [1, 1, length]);
  cache.step({ q: one(), k: one(), v: one(), types });
  const { live, visiblePairs } = cache.stats();
  return { mean: visiblePairs[0] / (length * (length + 1) / 2), end: live[0] / length };
}

describe('matchedPolicies()', () => {
  const asked = fc.record({
    length: fc.integer({ min: 1, max: 70 }), sink: fc.integer({ min: 0, max: 6 }),
    meanLiveShare: fc.double({ min: 0, max: 1, noNaN: true }), endShare: fc.double({ min: 0, max: 1, noNaN: true }),
  });

  it('finds the window with the closest mean live share, and matches the end within one entry', async () => {
    await fc.assert(fc.asyncProperty(asked, async ({ sink, ...kept }) => {
      const { length, meanLiveShare, endShare } = kept;
      const patterns = matchedPolicies(kept, sink);
      const [first] = patterns as [Policy & { kind: 'window' }];
      const off = async (window: number) => Math.abs((await measured({ kind: 'window', window }, length)).mean - meanLiveShare);
      const best = await off(first.window);
      for (let window = 0; window < length; window++) expect(await off(window)).toBeGreaterThanOrEqual(best - 1e-12);
      const end = Math.round(endShare * length);
      const wanted = patterns.filter((one) => one.kind === 'window' && one.window === end);
      expect(wanted).toHaveLength(1);
      expect(Math.abs((await measured(wanted[0], length)).end - endShare)).toBeLessThanOrEqual(0.5 / length + 1e-12);
    }), { numRuns: 60 });
  });

  it('gives StreamingLLM the same number of entries at the end, including its sinks', async () => {
    const patterns = matchedPolicies({ length: 60, meanLiveShare: 0.4, endShare: 0.25 });
    expect(patterns.map((one) => one.kind)).toEqual(['window', 'streaming', 'window', 'streaming']);
    for (const one of patterns.slice(2)) expect((await measured(one, 60)).end).toBeCloseTo(0.25, 12);
    for (const one of patterns.slice(0, 2)) expect(Math.abs((await measured(one, 60)).mean - 0.4)).toBeLessThan(0.01);
  });

  it('leaves out policies that are given already, and sinks that do not fit', () => {
    const whole = matchedPolicies({ length: 8, meanLiveShare: 1, endShare: 1 }, 0);
    expect(whole.map(({ window }) => window)).toEqual([7, 7, 8, 8]);
    expect(matchedPolicies({ length: 100, meanLiveShare: 0, endShare: 0 })).toEqual([
      { kind: 'window', window: 0 }, { kind: 'streaming', sink: 4, window: 0 },
    ]);
  });

  it('refuses invalid shares and lengths', () => {
    for (const share of [-0.1, 1.1, NaN]) {
      expect(() => matchedPolicies({ length: 4, meanLiveShare: share, endShare: 0.5 })).toThrow(ValueError);
      expect(() => matchedPolicies({ length: 4, meanLiveShare: 0.5, endShare: share })).toThrow(ValueError);
    }
    for (const length of [0, 1.5]) {
      expect(() => matchedPolicies({ length, meanLiveShare: 0.5, endShare: 0.5 })).toThrow(ValueError);
    }
  });
});
