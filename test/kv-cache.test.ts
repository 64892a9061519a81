/** KVCache, the plain cache of the package, against the model of a cache. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KVCache } from '../reference/public/cache.ts';
import type { Engine } from '../src/core/engine.ts';
import { ShapeError } from '../src/core/errors.ts';
import { type NDArray, ndarray } from '../src/core/tensor.ts';
import { cacheSizes, expectLawful, followsTheModel } from './support/cache-commands.ts';
import { CacheModel, cacheOptions, type CacheSizes, type System, typeRows } from './support/cache-model.ts';
import { expectWithin } from './support/tolerance.ts';

function publicSystem(sizes: CacheSizes, precision: Engine['precision'], cache: KVCache = new KVCache(cacheOptions(sizes))): System {
  const { batch: B, kvHeads: G, headDim: d, chunk, group } = sizes;
  const real = (x: Float64Array, heads: number, T: number): NDArray =>
    ndarray(precision === 'float32' ? Float32Array.from(x) : x, [B, heads, T, d]);
  return {
    append(k, v, types, T, counts) {
      cache.append({
        k: real(k, G, T), v: real(v, G, T), types: ndarray(types, [B, G, typeRows(T, chunk)]),
        ...(counts && { counts }),
      });
    },
    attend: async (q, T) => cache.attend({ q: real(q, G * group, T) }).data,
    evict: () => cache.evict(),
    clear: () => cache.clear(),
    stats: async () => cache.stats(),
    positions: async (b, g) => cache.positions(b, g),
    fork: () => publicSystem(sizes, precision, cache.fork()),
    async again() {
      const other = new KVCache(cacheOptions(sizes));
      other.restore(cache.snapshot());
      return publicSystem(sizes, precision, other);
    },
    dispose: () => {},
  };
}

const plain: CacheSizes = {
  batch: 1, kvHeads: 1, group: 1, headDim: 2, window: 3, chunk: 1, blockSize: 4,
};

describe('KVCache', () => {
  const stepLengths = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 });

  it.each(['float64', 'float32'] as const)('obeys the same law on %s arrays', (precision) =>
    followsTheModel(precision, (sizes) => publicSystem(sizes, precision)), 30_000);

  it('appends, attends and evicts in one step()', () =>
    fc.assert(fc.asyncProperty(cacheSizes, stepLengths, async (sizes, steps) => {
      const model = new CacheModel(sizes, 'float64');
      const cache = new KVCache(cacheOptions(sizes));
      const system = publicSystem(sizes, 'float64', cache);
      const { batch: B, kvHeads: G, headDim: d, chunk, group } = sizes;
      for (const [n, T] of steps.entries()) {
        const { k, v, q, types, out } = model.step(T, model.seen.map(() => T), n);
        const got = cache.step({
          q: ndarray(q, [B, G * group, T, d]), k: ndarray(k, [B, G, T, d]), v: ndarray(v, [B, G, T, d]),
          types: ndarray(types, [B, G, typeRows(T, chunk)]),
        });
        model.stale = false;
        expectWithin(got.data, out, 'out');
        await expectLawful(model, system);
        expect([...cache.lengths()]).toEqual(model.seen);
      }
    }), { numRuns: 50 }));

  it('refuses a step() with queries of a wrong shape before anything is appended', () => {
    const cache = new KVCache(cacheOptions(plain));
    const real = (...shape: number[]): NDArray => ndarray(new Float64Array(shape.reduce((a, b) => a * b, 1)), shape);
    const x = real(1, 1, 1, 2);
    const types = ndarray(new Int32Array(1), [1, 1, 1]);
    expect(() => cache.step({ q: real(1, 1, 1, 4), k: x, v: x, types })).toThrow(ShapeError);
    expect(() => cache.step({ q: real(1, 1, 0, 2), k: x, v: x, types })).toThrow(ShapeError);
    expect([...cache.lengths()]).toEqual([0]);
  });
});
