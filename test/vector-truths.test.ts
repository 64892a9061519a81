/** The truths of the small suite, which an independent computation gives too. */
import { beforeAll, describe, expect, it } from 'vitest';
import { createEngine } from '../src/index.ts';
import { ulp } from '../src/formats/rounding.ts';
import { exp, log } from '../src/core/elementary.ts';
import { type OracleCase, type Recipe, smallSuite, SUITES } from '../src/vectors.ts';
import { boundedAttention } from './support/bounded.ts';
import { denseLifetime, denseMask } from './support/dense.ts';
import { widened } from './support/differences.ts';
import {
  closers, gradients, problemOf, R, replay, scoreGradient, slopesOfRelaxedMask, tensorsOf, third, typesOf,
} from './support/oracle-truths.ts';
import { type Bounded, expectSameBits, expectWithin } from './support/tolerance.ts';

const cases = new Map<string, OracleCase>();
beforeAll(async () => {
  for (const each of await smallSuite()) cases.set(each.name, each);
});
const named = (name: string): OracleCase => cases.get(name)!;
const names = SUITES.small.map(({ name }) => name);
const filter = (keep: (recipe: Recipe) => boolean): string[] => SUITES.small.filter(keep).map(({ name }) => name);

/** Fails unless the elements that are compared are within their bounds. */
function expectTrue(each: OracleCase, name: string, truth: readonly Bounded[], got?: ArrayLike<number>): void {
  const skip = new Set(each.notCompared[name]);
  const kept = (_: unknown, n: number): boolean => !skip.has(n);
  const values = Array.from(got ?? each.expected[name].data).filter(kept);
  expect(values.length).toBeGreaterThan(0);
  expectWithin(values, truth.filter(kept), `${each.name}: ${name}`);
}

describe('the truths of the small suite', () => {
  it.each(names)('%s: types, last, mask, out and lse follow from the definitions', (name) => {
    const each = named(name);
    const p = problemOf(each);
    if (each.inputs.scores) expectSameBits(each.expected.types.data, typesOf(each), 'types');
    expectSameBits(each.expected.last.data, denseLifetime(p.types, p), 'last');
    expect(each.expected.mask !== undefined).toBe(each.parameters.tokens <= 300);
    if (each.expected.mask) expectSameBits(each.expected.mask.data, denseMask(p.last, p), 'mask');
    const { out, lse } = boundedAttention(p, R);
    expectTrue(each, 'out', out);
    expectTrue(each, 'lse', lse);
  });

  it.each(filter(({ tokens, poison, backward }) => tokens <= 70 && !poison && backward !== false))(
    '%s: gradients follow from the definitions, summed over all pairs', (name) => {
      const each = named(name);
      const { dTypes, ...rest } = gradients(each);
      for (const [key, truth] of Object.entries(rest)) expectTrue(each, key, truth);
      (['dg', 'dl', 'dw'] as const).forEach((key, n) => expectTrue(each, key, third(dTypes, n as 0 | 1 | 2)));
      expect('dscores' in each.expected).toBe('scores' in each.inputs);
      if (each.inputs.scores) expectTrue(each, 'dscores', scoreGradient(each, dTypes));
    },
  );

  it.each(['odd-3', 'window-scored', 'window-mixed', 'chunk-2', 'global-last', 'global-adjacent', 'temperature-half'])(
    '%s: dg, dl and dw are the slopes of the relaxed mask', (name) => {
      const each = named(name);
      expect(each.parameters.rule === 'exact' || name === 'odd-3').toBe(true);
      const exact: OracleCase = { ...each, parameters: { ...each.parameters, rule: 'exact' } };
      const truth = widened(slopesOfRelaxedMask(exact), gradients(exact).dTypes);
      if (each.parameters.rule !== 'exact') return expectWithin(gradients(exact).dTypes.map(({ value }) => value), truth, name);
      (['dg', 'dl', 'dw'] as const).forEach((key, n) => expectTrue(each, key, third(truth, n as 0 | 1 | 2)));
    },
  );

  it.each(filter(({ steps }) => steps !== undefined))('%s: the trace is that of a cache that takes these steps', async (name) => {
    const each = named(name);
    const { expected, parameters: { batch: B, kvHeads: G, tokens: N, headDim, steps } } = each;
    const engine = createEngine();
    const { live, out } = await replay(engine, each);
    engine.dispose();
    expectSameBits(expected.cache_live.data, live, 'cache_live');
    expectSameBits(expected.cache_closed_by.data, closers(each), 'cache_closed_by');
    const evicted = Array.from({ length: B * G * N }, (_, at) => {
      let seen = 0;
      return steps.findIndex((T, r) => (seen += T) > at % N && live[r * B * G * N + at] === 0);
    });
    expectSameBits(expected.cache_evicted_at.data, evicted, 'cache_evicted_at');
    const held = Array.from({ length: steps.length * B * G }, (_, n) =>
      live.subarray(n * N, (n + 1) * N).reduce((sum, x) => sum + x, 0));
    expectSameBits(expected.cache_bytes.data, held.map((n) => n * headDim * 8), 'cache_bytes');
    const bounds = boundedAttention(problemOf(each), R).out;
    expectTrue(each, 'cache_out', bounds);
    expectTrue(each, 'cache_out', bounds, out);
  });

  it.each(['hidden-nan', 'hidden-infinity'])('%s: only rows that see NaN or infinities are left out', (name) => {
    const each = named(name);
    const { B, H, G, N, d, last } = problemOf(each);
    const k = each.inputs.k.data;
    const rows = Array.from({ length: B * H * N }, (_, row) => row).filter((row) => {
      const base = (Math.floor(row / (H * N)) * G + Math.floor((Math.floor(row / N) % H) / (H / G))) * N;
      return Array.from({ length: (row % N) + 1 }, (_, j) => j)
        .some((j) => !Number.isFinite(k[(base + j) * d]) && (row % N) <= last[base + j]);
    });
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.every((row) => row < 2 * N), 'of batch 0, KV head 0').toBe(true);
    expect(rows.length).toBeLessThan(N);
    expect(each.notCompared.lse).toEqual(rows);
    expect(each.notCompared.out).toEqual(rows.flatMap((row) => Array.from({ length: d }, (_, c) => row * d + c)));
    expect(each.notCompared.cache_out).toEqual(each.notCompared.out);
    const nan = new Uint8Array(Float64Array.of(NaN).buffer); // the canonical one, whatever NaN the processor computes
    for (const n of each.notCompared.out) {
      expect(new Uint8Array(each.expected.out.data.slice(n, n + 1).buffer)).toEqual(nan);
    }
    expect(Object.keys(each.expected).filter((key) => key.startsWith('d'))).toEqual([]);
  });

  it('of the two rules differ only in dM', () => {
    const [exact, bounded] = [named('rule-exact'), named('rule-bounded')];
    for (const [key, tensor] of tensorsOf(exact)) {
      const other = { ...bounded.inputs, ...bounded.expected }[key];
      const same = tensor.data.every((x, n) => Object.is(x, other.data[n]));
      expect({ key, same }).toEqual({ key, same: !['dm_rows', 'dg', 'dl', 'dw'].includes(key) });
    }
  });
});

describe('exp and log of the truths', () => {
  it('are within 2 and 4 ulp of the platform\'s, whose own error is below 1', () => {
    const far = (got: number, want: number): number => Math.abs(got - want) / ulp(want, 'F64');
    const xs = Array.from({ length: 20_001 }, (_, n) => (n - 10_000) * 0.0707);
    expect(Math.max(...xs.map((x) => far(exp(x), Math.exp(x))))).toBeLessThanOrEqual(2);
    const small = xs.map((x) => x / 2 ** 20);
    expect(Math.max(...small.map((x) => far(exp(x), Math.exp(x))))).toBeLessThanOrEqual(2);
    const ones = [...small.map((x) => 1 + Math.abs(x)), ...xs.map((x) => 1 + x * x)];
    expect(Math.max(...ones.map((x) => far(log(x), Math.log(x))))).toBeLessThanOrEqual(4);
  });

  it('are right at the ends of the range', () => {
    expect([0, -Infinity, -800, 709.8, Infinity, NaN].map(exp)).toEqual([1, 0, 0, Infinity, Infinity, NaN]);
    expect(exp(709.78)).toBeGreaterThan(1.7e308);
    expect(exp(-745)).toBe(2 ** -1074);
    expect([1, 2 ** 31].map(log)).toEqual([0, 31 * Math.LN2]);
  });
});
