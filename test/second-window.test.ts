/**
 * LOCAL as a second window (§2, `localWindow`): lifetimes, mask, gradients, price and cache, compared with definitions
 * that are written out here and with central differences.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attention, attentionBackward, maskGradient } from '../reference/public/attention.ts';
import { KVCache } from '../reference/public/cache.ts';
import { lifetime } from '../reference/public/lifetime.ts';
import { relaxedMask } from '../reference/public/mask.ts';
import { addMemoryPrice, keptShare } from '../reference/public/price.ts';
import { ValueError } from '../src/core/errors.ts';
import { FOREVER } from '../src/core/lifetime.ts';
import { generator } from '../src/core/random.ts';
import { ndarray, type NDArray } from '../src/core/tensor.ts';

const d = 2;

interface Drawn {
  readonly N: number;
  readonly chunk: number;
  readonly window: number;
  readonly localWindow: number;
  readonly reach: number | undefined;
  readonly seed: number;
}

const drawn: fc.Arbitrary<Drawn> = fc.record({
  N: fc.integer({ min: 1, max: 11 }), chunk: fc.constantFrom(1, 1, 2, 3, 12), window: fc.constantFrom(0, 1, 3, 20),
  localWindow: fc.constantFrom(0, 1, 2, 5, 20, FOREVER), reach: fc.constantFrom(undefined, undefined, 0, 2, 30),
  seed: fc.nat(),
});

/** Two KV heads with two query heads each. */
function problem({ N, chunk, window, localWindow, reach, seed }: Drawn) {
  const random = generator(seed, [3]);
  const chunks = Math.ceil(N / chunk);
  const types = ndarray(Int32Array.from({ length: 2 * chunks }, () => random.below(3)), [1, 2, chunks]);
  const real = (...shape: number[]): NDArray =>
    ndarray(Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal()), shape);
  const how = { window, localWindow, chunk, ...(reach !== undefined && { reach }) };
  /** The type of token j of a head that has `length` tokens so far: chunks that are not full count as GLOBAL. */
  const typeOf = (head: number, j: number, length = N): number => {
    const c = Math.floor(j / chunk);
    return (c + 1) * chunk > length ? 0 : types.data[head * chunks + c];
  };
  /** Whether query i sees token j if it has the type: the definition, pair by pair. */
  const sees = (type: number, i: number, j: number): boolean => {
    if (j > i || i - j > (reach ?? Infinity)) return false;
    const end = (Math.floor(j / chunk) + 1) * chunk - 1;
    return [true, i <= end + localWindow, i <= end + window][type];
  };
  return { N, chunk, chunks, types, real, how, typeOf, sees };
}

const RULES = ['exact', 'bounded'] as const;
const heads = [0, 1];
const range = (n: number): number[] => Array.from({ length: n }, (_, each) => each);
const largest = (x: readonly number[]): number => Math.max(0, ...x.map(Math.abs));

describe('a second window', () => {
  it('ends the lifetime of LOCAL tokens whatever follows them, and changes no other', () => {
    fc.assert(fc.property(drawn, (each) => {
      const { N, types, how, typeOf, sees } = problem(each);
      const last = lifetime(types, { ...how, length: N }).data;
      for (const head of heads) {
        for (const j of range(N)) {
          for (const i of range(N + 40)) {
            expect(j <= i && i <= last[head * N + j]).toBe(sees(typeOf(head, j), i, j));
          }
        }
      }
    }));
  });

  it('gives the relaxed mask, which at real-valued types adds up what each type shows', () => {
    fc.assert(fc.property(drawn, (each) => {
      const { N, chunk, chunks, how: { reach: _, ...how }, real } = problem(each);
      const { sees } = problem({ ...each, reach: undefined });
      const soft = real(1, 2, chunks, 3);
      const mask = relaxedMask(soft, { ...how, length: N }).data;
      const truth = heads.flatMap((head) => range(N).flatMap((i) => range(N).map((j) => {
        const at = (head * chunks + Math.floor(j / chunk)) * 3;
        return [0, 1, 2].reduce((sum, type) => sum + (sees(type, i, j) ? soft.data[at + type] : 0), 0);
      })));
      expect([...mask]).toEqual(truth);
    }));
  });

  it('is obeyed by the cache in steps of any size: the same outputs, and exactly the live entries', () => {
    const splits = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });
    fc.assert(fc.property(drawn, splits, (each, steps) => {
      const { N, chunk, chunks, types, real, how, typeOf, sees } = problem(each);
      const [q, k, v] = [real(1, 4, N, d), real(1, 2, N, d), real(1, 2, N, d)];
      const { out } = attention({ q, k, v, last: lifetime(types, { ...how, length: N }) });
      let cache = new KVCache({ batch: 1, kvHeads: 2, headDim: d, blockSize: 2, ...how });
      for (let at = 0, n = 0; at < N; n++) {
        const T = Math.min(steps[n % steps.length], N - at);
        const part = (x: NDArray, count: number): NDArray => ndarray(
          Float64Array.from(range(count).flatMap((h) => [...x.data.subarray((h * N + at) * d, (h * N + at + T) * d)])),
          [1, count, T, d],
        );
        const rows = Math.floor((T + chunk - 2) / chunk) + 1;
        const kinds = Int32Array.from(heads.flatMap((head) => range(rows).map((row) =>
          types.data[head * chunks + Math.min(Math.floor(at / chunk) + row, chunks - 1)])));
        const got = cache.step({ q: part(q, 4), k: part(k, 2), v: part(v, 2), types: ndarray(kinds, [1, 2, rows]) });
        if (chunk === 1) expect(largest([...part(out, 4).data].map((x, e) => x - got.data[e]))).toBeLessThan(1e-12);
        at += T;
        for (const g of heads) {
          expect([...cache.positions(0, g)]).toEqual(range(at).filter((j) => sees(typeOf(g, j, at), at, j)));
        }
        const snapshot = cache.snapshot();
        expect([...snapshot.open].every((open) => open === 0)).toBe(true);
        cache = new KVCache(cache.options);
        cache.restore(snapshot);
      }
    }));
  });

  it.each(RULES)('has gradients by rule `%s` that equal central differences of the relaxed mask', (rule) => {
    fc.assert(fc.property(drawn, (each) => {
      const { N, chunk, chunks, types, real, how, typeOf } = problem(each);
      const [q, k, v, dOut] = [real(1, 4, N, d), real(1, 2, N, d), real(1, 2, N, d), real(1, 4, N, d)];
      const last = lifetime(types, { ...how, length: N });
      const { out, lse } = attention({ q, k, v, last });
      const backward = { q, k, v, last, out, lse, dOut, types, ...how, rule };
      const dM = maskGradient(backward).data;
      const { reach = Infinity, ...free } = how;
      const counts = (pair: number): boolean => Math.floor(pair / N) % N - pair % N <= reach;
      const value = (soft: Float64Array): number => {
        const mask = relaxedMask(ndarray(soft, [1, 2, chunks, 3]), { ...free, length: N }).data;
        return range(mask.length).reduce((sum, pair) => sum + (counts(pair) ? mask[pair] * dM[pair] : 0), 0);
      };
      const soft = new Float64Array(6 * chunks);
      for (const n of range(2 * chunks)) soft[3 * n + typeOf(Math.floor(n / chunks), (n % chunks) * chunk)] = 1;
      const differences = [...soft].map((_, n) => {
        const [up, down] = [soft.slice(), soft.slice()];
        up[n] = up[n] + 0.5;
        down[n] = down[n] - 0.5;
        return value(up) - value(down); // exact, since M is affine in the types
      });
      const { data } = attentionBackward(backward).dTypes!;
      expect(largest([...data].map((x, n) => x - differences[n]))).toBeLessThan(1e-9);
    }));
  });

  it('costs, for each type, what its lifetime costs, and all chosen types together cost the kept share', () => {
    fc.assert(fc.property(drawn, (each) => {
      const { N, chunk, chunks, types, how, typeOf, sees } = problem(each);
      const dTypes = ndarray(new Float64Array(6 * chunks), [1, 2, chunks, 3]);
      const { data } = addMemoryPrice({ dTypes, types, length: N, weight: 1, ...how });
      const later = (type: number, j: number): number => range(N).filter((i) => i > j && sees(type, i, j)).length;
      const ofChunk = (c: number): number[] => range(N).filter((j) => Math.floor(j / chunk) === c);
      const truth = heads.flatMap(() => range(chunks).flatMap((c) =>
        [0, 1, 2].map((type) => ofChunk(c).reduce((sum, j) => sum + later(type, j), 0))));
      expect([...data]).toEqual(truth);
      const kept = keptShare(lifetime(types, { ...how, length: N })).data;
      for (const head of heads) {
        const sum = range(N).reduce((all, j) => all + later(typeOf(head, j), j), 0);
        expect(kept[head]).toBeCloseTo(sum * 2 / (N * N), 12);
      }
    }));
  });

  it('must be a whole number of at least 0', () => {
    const types = ndarray(Int32Array.of(1), [1, 1, 1]);
    const dTypes = ndarray(new Float64Array(3), [1, 1, 1, 3]);
    for (const localWindow of [-1, 0.5, NaN, Infinity]) {
      const how = { window: 0, localWindow };
      expect(() => lifetime(types, how)).toThrow(ValueError);
      expect(() => relaxedMask(dTypes, { ...how, length: 1 })).toThrow(ValueError);
      expect(() => addMemoryPrice({ dTypes, types, length: 1, weight: 1, ...how })).toThrow(ValueError);
      expect(() => new KVCache({ batch: 1, kvHeads: 1, headDim: 2, ...how })).toThrow(ValueError);
    }
  });

  it('leaves no entry open, so that a snapshot of a cache without one is refused if it has open entries', () => {
    const layout = { batch: 1, kvHeads: 1, headDim: 1, window: 0 };
    const x = ndarray(Float64Array.of(1), [1, 1, 1, 1]);
    const cache = new KVCache(layout);
    cache.append({ k: x, v: x, types: ndarray(Int32Array.of(1), [1, 1, 1]) });
    const other = new KVCache({ ...layout, localWindow: 4 });
    expect(() => other.restore(cache.snapshot())).toThrow(/is open: with a second window of 4/);
  });
});
