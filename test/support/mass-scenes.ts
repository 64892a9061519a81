/**
 * Random caches under a budget, each with the simulation that never evicts, and the steps that both take.
 * @module
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import type { Engine } from '../../src/core/engine.ts';
import type { MassRule } from '../../src/core/mass.ts';
import { boundedAttention } from './bounded.ts';
import type { System } from './cache-model.ts';
import { Twins } from './cache-twins.ts';
import { draw } from './draw.ts';
import { type Method, type Sequence, simulate, type Simulated } from './mass-model.ts';
import { cases } from './thorough.ts';
import { type Bounded, exact, expectWithin, Rounding } from './tolerance.ts';

/** The definition of a policy, and the rule that engines are given for it. */
export interface Ruled {
  readonly method: Method;
  readonly mass: MassRule;
}

const numbers = fc.record({
  base: fc.oneof(fc.integer({ min: 0, max: 12 }), fc.double({ min: -3, max: 12, noNaN: true })),
  perToken: fc.constantFrom(0, 0, 0.25, 0.5, 1), recent: fc.option(fc.nat(6), { nil: undefined }),
  observed: fc.constantFrom(1, 2, 3, 32), pooled: fc.constantFrom(1, 3, 5), sinks: fc.nat(3),
  reach: fc.option(fc.nat(10), { nil: undefined }),
});

/** Policies with every kind of score, budget and protection. */
export const ruled: fc.Arbitrary<Ruled> = fc.tuple(
  fc.constantFrom<Method['name']>('h2o', 'h2o-mean', 'tova', 'snapkv', 'keynorm', 'growing'), numbers,
).map(([name, { base, perToken, recent, observed, pooled, sinks, reach }]) => {
  const half = (k: number): number => Math.floor(k / 2);
  const scores: Readonly<Record<Method['name'], MassRule['score']>> = {
    h2o: { by: 'attention', heads: 'group' }, 'h2o-mean': { by: 'attention', mean: true, heads: 'group' },
    tova: { by: 'attention', queries: 1, heads: 'layer' },
    snapkv: { by: 'attention', queries: observed, pool: pooled, heads: 'group' },
    keynorm: { by: 'key-norm' }, growing: { by: 'age' },
  };
  const none = name === 'tova' || name === 'growing';
  const newest = none ? () => 0 : name === 'snapkv' ? (k: number) => Math.min(observed, half(k))
    : recent === undefined ? half : (k: number) => Math.min(recent, k);
  return {
    method: {
      name, budget: (i) => Math.round(base + perToken * (i + 1)), newest, observed, pooled, sinks,
      ...(reach !== undefined && { reach }),
    },
    mass: {
      score: scores[name], budget: { base, perToken }, first: sinks,
      recent: none ? { share: 0 } : name === 'snapkv' ? { share: 0.5, most: observed }
        : recent === undefined ? { share: 0.5 } : { share: 1, most: recent },
    },
  };
});

/** The kind of queries and keys: any numbers; one key takes all the weight of a query; all keys have equal weight. */
export type Regime = 'real' | 'winner' | 'equal';

/** The sizes of a layer, and the seed of its numbers. */
export interface Layer {
  readonly batch: number;
  readonly kvHeads: number;
  /** The number of query heads per KV head. */
  readonly group: number;
  readonly headDim: number;
  readonly blockSize: number;
  readonly seed: number;
}

export const layers: fc.Arbitrary<Layer> = fc.record({
  batch: fc.integer({ min: 1, max: 2 }), kvHeads: fc.integer({ min: 1, max: 2 }), group: fc.constantFrom(1, 2, 3),
  headDim: fc.constantFrom(1, 2, 4), blockSize: fc.constantFrom(1, 3, 16), seed: fc.integer(),
});

/** One sequence, with its values [G,N,d]. */
interface Drawn extends Sequence {
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly v: Float64Array;
}

/**
 * Queries, keys and values of one sequence of N tokens. Unless they are any numbers, weights and their sums are exact.
 */
function drawSequence(
  { kvHeads: G, group, headDim: d }: Layer, N: number, seed: number, regime: Regime, precision: Engine['precision'],
): Drawn {
  const numbers = draw(seed, precision);
  const [k, v, q] = [numbers.real(G * N * d), numbers.real(G * N * d), numbers.real(G * group * N * d)];
  if (regime === 'equal') q.fill(0);
  if (regime === 'winner') {
    // Keys are on a line, 2000 apart and in any order, and queries point along it, so only one weight is not 0.
    for (let g = 0; g < G; g++) {
      const order = [...Array(N).keys()].sort((x, y) => v[(g * N + x) * d] - v[(g * N + y) * d]);
      k.fill(0, g * N * d, (g + 1) * N * d);
      order.forEach((j, place) => (k[(g * N + j) * d] = 2000 * (place - Math.floor(N / 2))));
    }
    q.forEach((x, n) => (q[n] = n % d === 0 ? Math.sign(x) || 1 : 0));
  }
  return { G, group, N, d, q, k, v, scale: regime === 'winner' ? 1 : 1 / Math.sqrt(d) };
}

/** One sequence with the results of the simulation. */
export interface Truth extends Drawn {
  readonly heads: readonly Simulated[];
  /** [H,N,d]. */
  readonly out: readonly Bounded[];
}

export function truthOf(
  layer: Layer, N: number, seed: number, regime: Regime, precision: Engine['precision'], method: Method,
): Truth {
  const sequence = drawSequence(layer, N, seed, regime, precision);
  const { G, group, d, q, k, v, scale } = sequence;
  const heads = simulate(sequence, method);
  const last = Int32Array.from(heads.flatMap((head) => [...head.last]));
  const problem = { B: 1, G, H: G * group, group, N, d, q, k, v, last, scale };
  const { out } = boundedAttention(problem, new Rounding(precision));
  return { ...sequence, heads, out };
}

const step = fc.record({
  T: fc.integer({ min: 1, max: 6 }), lacks: fc.tuple(fc.nat(), fc.nat()),
  evicts: fc.constantFrom(true, true, false), then: fc.constantFrom('go', 'go', 'fork', 'again'),
});

/** The rows of the next step, [B,heads,T,d], from each sequence's [heads,N,d], padded with `none`. */
function nextRows<X>(
  sequences: readonly { N: number; d: number; x: ArrayLike<X>; seen: number; count: number }[],
  heads: number, T: number, none: X,
): X[] {
  return sequences.flatMap(({ N, d, x, seen, count }) => Array.from({ length: heads * T * d }, (_, at) => {
    const [h, t] = [Math.floor(at / (T * d)), Math.floor(at / d) % T];
    return t < count ? x[(h * N + seen + t) * d + (at % d)] : none;
  }));
}

/** How close scores may be, relatively to the largest, before roundings to float32 could order them otherwise. */
const CLOSE = 2 ** -14;

/** Takes random steps with a cache, and checks that outputs, positions and counts are those of the simulation. */
export async function followsTheSimulation(
  precision: Engine['precision'], regimes: readonly Regime[], make: (layer: Layer, rule: Ruled, scale: number) => System,
  runs: number = cases(60, 400),
): Promise<void> {
  const scene = fc.tuple(layers, ruled, fc.array(step, { minLength: 1, maxLength: 7 }), fc.constantFrom(...regimes));
  await fc.assert(fc.asyncProperty(scene, async ([layer, rule, steps, regime]) => {
    const { batch: B, kvHeads: G, group, seed } = layer;
    const counts = steps.map(({ T, lacks }) => Array.from({ length: B }, (_, b) => T - (lacks[b] % (T + 1))));
    const truths = Array.from({ length: B }, (_, b) => {
      const N = counts.reduce((sum, each) => sum + each[b], 0);
      return truthOf(layer, N, seed + b, regime, precision, rule.method);
    });
    const apart = truths.every(({ heads }) => heads.every(({ margin }) => margin > CLOSE));
    fc.pre(precision === 'float64' || regime !== 'real' || apart);
    const system = new Twins(make(layer, rule, truths[0].scale));
    const seen = Array.from({ length: B }, () => 0);
    for (const [n, { T, evicts, then }] of steps.entries()) {
      const next = <X>(part: (truth: Truth) => ArrayLike<X>, heads: number, none: X): X[] => nextRows(
        truths.map((truth, b) => ({ ...truth, x: part(truth), seen: seen[b], count: counts[n][b] })), heads, T, none);
      const [q, k, v] = [next(({ q }) => q, G * group, 0), next(({ k }) => k, G, 0), next(({ v }) => v, G, 0)];
      system.append(Float64Array.from(k), Float64Array.from(v), new Int32Array(0), T, counts[n]);
      const out = await system.attend(Float64Array.from(q), T);
      expectWithin(out, next(({ out }) => out, G * group, exact(0)), 'out');
      counts[n].forEach((count, b) => (seen[b] += count));
      if (evicts) system.evict();
      await expectHeld(system, truths, seen, layer.blockSize, !evicts);
      if (then !== 'go') await system.grow(then);
    }
    system.dispose();
  }), { numRuns: runs });
}

/** @param waits Whether evict() has not been called yet, so that the cache may hold more. */
async function expectHeld(
  system: System, truths: readonly Truth[], seen: readonly number[], blockSize: number, waits: boolean,
): Promise<void> {
  const stats = await system.stats();
  expect([...stats.seen]).toEqual(seen);
  for (const [b, { heads }] of truths.entries()) {
    for (const [g, { mask, held }] of heads.entries()) {
      const positions = [...await system.positions(b, g)];
      const wanted = seen[b] === 0 ? [] : held[seen[b] - 1];
      expect(positions).toEqual(waits ? expect.arrayContaining(wanted) : wanted);
      const visible = mask.slice(0, seen[b]).map((row) => row.filter(Boolean).length);
      const head = b * heads.length + g;
      expect(stats.live[head]).toBe(positions.length);
      expect(stats.bytes[head]).toBe(Math.ceil(positions.length / blockSize) * blockSize * stats.entryBytes);
      expect(stats.peakLive[head]).toBe(Math.max(0, ...visible));
      expect(stats.visiblePairs[head]).toBe(visible.reduce((a, x) => a + x, 0));
    }
  }
}
