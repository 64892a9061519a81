/** The ladder of docs/ladder/: each rung against the one before, the first against the reference. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dense } from '../docs/ladder/1-dense.ts';
import { live } from '../docs/ladder/2-live.ts';
import { tiles } from '../docs/ladder/3-tiles.ts';
import { cached } from '../docs/ladder/4-cache.ts';
import { onDevice } from '../docs/ladder/5-wgsl.ts';
import { exampleHead, type Head } from '../docs/ladder/head.ts';
import { attention, lifetime, ndarray } from '../src/index.ts';
import { cases } from './support/thorough.ts';
import { describeWebGPU, requestGpuDevice } from './support/webgpu.ts';

/**
 * How far two sums of the same products may differ. Inputs are in -1..1, so |S| <= sqrt(d). A score has d roundings; a
 * weight those of its score, times exp's own; a sum over N keys N more, twice (Z and o), and a rescaling for each key.
 * @param exp The relative error of exp(x) for |x| <= 2 sqrt(d), in roundings.
 */
const budget = ({ N, d }: Head, unit: number, exp: number): number =>
  2 * unit * (Math.sqrt(d) * (d + 2) + exp + 4 * N + 4);

const heads = fc.record({
  N: fc.integer({ min: 1, max: 70 }), d: fc.integer({ min: 1, max: 6 }), window: fc.integer({ min: 0, max: 9 }),
  seed: fc.integer({ min: 1, max: 2 ** 20 }),
}).map(({ N, d, window, seed }) => {
  let n = seed;
  return exampleHead(N, d, window, () => (n = n * 48271 % 2147483647) / 2147483647);
});

function expectEqual(actual: ArrayLike<number>, expected: ArrayLike<number>, within: number): void {
  expect(actual.length).toBe(expected.length);
  for (let n = 0; n < expected.length; n++) expect(Math.abs(actual[n] - expected[n])).toBeLessThanOrEqual(within);
}
const onAll = (check: (head: Head) => void): void => fc.assert(fc.property(heads, check), { numRuns: cases(30, 300) });
const float64 = (head: Head): number => budget(head, 2 ** -53, 2);

describe('the ladder', () => {
  it('begins with the lifetimes and the attention of the reference', () => onAll((head) => {
    const { N, d, window } = head;
    const last = lifetime(ndarray(head.types, [1, 1, N]), { window });
    expect([...head.last]).toEqual([...last.data]);
    const [q, k, v] = [head.q, head.k, head.v].map((x) => ndarray(Float64Array.from(x), [1, 1, N, d]));
    expectEqual(dense(head), attention({ q, k, v, last }).out.data, float64(head));
  }));

  it('rung 2, the list of live keys, equals rung 1', () =>
    onAll((head) => expectEqual(live(head), dense(head), float64(head))));

  it('rung 3, tiles with the online softmax, equals rung 2', () =>
    onAll((head) => expectEqual(tiles(head), live(head), float64(head))));

  it('rung 4, the cache, equals rung 3, and holds what is alive', () => onAll((head) => {
    const { out, most } = cached(head);
    expectEqual(out, tiles(head), float64(head));
    const alive = (i: number): number => head.last.subarray(0, i + 1).filter((end) => end >= i).length;
    const rows = Array.from({ length: head.N }, (_, i) => alive(i));
    expect(most).toBe(Math.max(...rows));
  }));

  it('reads nothing that is dead from rung 2 on', () => onAll((head) => {
    const { N, d, last, v } = head;
    const dead = last.findIndex((end) => end < N - 1);
    if (dead < 0) return;
    const broken = { ...head, v: v.map((x, n) => (Math.floor(n / d) === dead ? NaN : x)) };
    for (const of of [live, tiles, (each: Head) => cached(each).out]) {
      expect(of(broken).subarray((N - 1) * d).every((x) => Number.isFinite(x))).toBe(true);
    }
  }));
});

describeWebGPU('the ladder on a GPU', () => {
  it('rung 5, WGSL, equals rung 4', async () => {
    const device = await requestGpuDevice();
    // WGSL's exp has an error of 3 + 2 |x| roundings of float32.
    const within = (head: Head): number => budget(head, 2 ** -24, 3 + 4 * Math.sqrt(head.d));
    for (const head of fc.sample(heads, { numRuns: cases(3, 20), seed: 7 })) {
      expectEqual(await onDevice(device, head.d)(head), cached(head).out, within(head));
    }
    device.destroy();
  });
});
