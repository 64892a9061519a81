/** §8 over every engine and the public class: random commands against a cache that forgets nothing. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KVCache } from '../reference/cache.ts';
import type { CacheOptions, Engine } from '../src/engine.ts';
import { DisposedError, ShapeError, ValueError } from '../src/errors.ts';
import { type NDArray, ndarray } from '../src/tensor.ts';
import { cacheSizes, expectLawful, followsTheModel, untypedDeaths } from './support/cache-commands.ts';
import { CacheModel, type CacheSizes, type System, typeRows } from './support/cache-model.ts';
import { describeEngines, scoped } from './support/engines.ts';
import { expectSameBits, expectWithin } from './support/tolerance.ts';

function engineSystem(engine: Engine, sizes: CacheSizes): { system: System; done(): void } {
  const cache = engine.createCache(sizes);
  const { batch: B, kvHeads: G, headDim: d, chunk, group } = sizes;
  const system: System = {
    append(k, v, types, T, counts) {
      cache.append(
        engine.tensor(k, [B, G, T, d]), engine.tensor(v, [B, G, T, d]),
        engine.integers(types, [B, G, typeRows(T, chunk)]), counts,
      );
    },
    async attend(q, T) {
      const out = cache.attend(engine.tensor(q, [B, G * group, T, d]), 1 / Math.sqrt(d));
      expect(out.shape).toEqual([B, G * group, T, d]);
      const values = await engine.read(out);
      out.dispose();
      return values;
    },
    evict: () => cache.evict(),
    clear: () => cache.clear(),
    stats: () => cache.stats(),
    positions: (b, g) => cache.positions(b, g),
  };
  return { system, done: () => cache.dispose() };
}

function publicSystem(sizes: CacheSizes, precision: Engine['precision']): { system: System; cache: KVCache } {
  const cache = new KVCache(sizes);
  const { batch: B, kvHeads: G, headDim: d, chunk, group } = sizes;
  const real = (x: Float64Array, heads: number, T: number): NDArray =>
    ndarray(precision === 'float32' ? Float32Array.from(x) : x, [B, heads, T, d]);
  const system: System = {
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
  };
  return { system, cache };
}

const plain: CacheSizes = {
  batch: 1, kvHeads: 1, group: 1, headDim: 2, window: 3, chunk: 1, blockSize: 4,
};

describeEngines('the cache', ({ precision, engine }) => {
  it('gives the rows of full masked attention, holds exactly the live entries, frees the rest, for every split', () =>
    scoped(engine(), (inner) => followsTheModel(precision, (sizes) => engineSystem(inner, sizes))), 30_000);

  it('does so where a bound ends tokens before their chunk is full', () =>
    scoped(engine(), (inner) =>
      followsTheModel(precision, (sizes) => engineSystem(inner, sizes), untypedDeaths)), 30_000);

  it('gives bit for bit the same outputs when dead entries hold NaN', () =>
    scoped(engine(), async (engine) => {
      const run = async (dead: number): Promise<number[]> => {
        const cache = engine.createCache({ ...plain, window: 0 });
        const outputs: number[] = [];
        // G W L W G, the WINDOW tokens dead after their own query; the last two in one prefill with a dead one.
        const steps = [[0], [2], [1, 2, 0]];
        let position = 0;
        for (const types of steps) {
          const x = types.flatMap((type) => [type === 2 ? dead : ++position / 4, position / 8]);
          const shape = [1, 1, types.length, 2];
          cache.append(engine.tensor(x, shape), engine.tensor(x, shape), engine.integers(types, [1, 1, types.length]));
          const q = engine.tensor(x.map((n) => (Number.isFinite(n) ? n : 1)), shape);
          const out = await engine.read(cache.attend(q, 1));
          types.forEach((type, t) => type !== 2 && outputs.push(out[2 * t]!, out[2 * t + 1]!));
          if (types.length === 1) cache.evict();
        }
        return outputs;
      };
      const clean = await run(1);
      expect(clean.every(Number.isFinite)).toBe(true);
      for (const dead of [NaN, Infinity, -Infinity]) expectSameBits(await run(dead), clean, `out with ${dead}`);
    }));

  it('holds no more bytes after 400 decoded tokens than after 40, when the live set is bounded', () =>
    scoped(engine(), async (engine) => {
      const cache = engine.createCache(plain);
      const x = engine.tensor([1, 2], [1, 1, 1, 2]);
      const bytes: number[] = [];
      for (let i = 0; i < 400; i++) {
        const type = engine.integers([i === 0 ? 0 : 2], [1, 1, 1]);
        cache.append(x, x, type);
        cache.attend(x, 1).dispose();
        cache.evict();
        type.dispose();
        if (i === 39 || i === 399) bytes.push((await cache.stats()).bytes[0]!);
      }
      // Token 0 and the three that query 400 still sees (W = 3) fill one block of four.
      expect([...await cache.positions(0, 0)]).toEqual([0, 397, 398, 399]);
      const { entryBytes } = await cache.stats();
      expect(bytes).toEqual([4 * entryBytes, 4 * entryBytes]);
    }));

  it('is free to clear and to evict before anything was appended', async () => {
    const cache = engine().createCache({ ...plain, batch: 2 });
    cache.evict();
    cache.clear();
    const { seen, live, bytes } = await cache.stats();
    expect([[...seen], [...live], [...bytes]]).toEqual([[0, 0], [0, 0], [0, 0]]);
    expect([...await cache.positions(1, 0)]).toEqual([]);
  });

  it.each<[string, Partial<CacheOptions>]>([
    ['a negative window', { window: -1 }], ['a fractional window', { window: 1.5 }], ['a chunk of 0', { chunk: 0 }],
    ['a block size of 0', { blockSize: 0 }], ['no sequence', { batch: 0 }],
    ['a fractional head size', { headDim: 1.5 }], ['a negative bound', { bound: -1 }],
    ['a fractional bound', { bound: 0.5 }],
  ])('refuses %s with a ValueError', (_, wrong) => {
    expect(() => engine().createCache({ ...plain, ...wrong })).toThrow(ValueError);
  });

  it('refuses wrong shapes, wrong counts and unknown types, and is left as it was', async () => {
    const cache = engine().createCache(plain);
    const zeros = (...shape: number[]) => engine().zeros(shape);
    const types = (...values: number[]) => engine().integers(values, [1, 1, values.length]);
    const x = zeros(1, 1, 2, 2);
    expect(() => cache.append(zeros(1, 1, 2, 4), x, types(0, 0))).toThrow(ShapeError);
    expect(() => cache.append(zeros(1, 2, 2, 2), x, types(0, 0))).toThrow(ShapeError);
    expect(() => cache.append(x, zeros(1, 1, 1, 2), types(0, 0))).toThrow(ShapeError);
    expect(() => cache.append(x, x, types(0))).toThrow(ShapeError);
    expect(() => cache.append(x, x, types(0, 0), [1, 1])).toThrow(ShapeError);
    expect(() => cache.append(x, x, types(0, 0), [3])).toThrow(ValueError);
    expect(() => cache.append(x, x, types(0, 0), [-1])).toThrow(ValueError);
    // A device may only notice a bad type when something is read back.
    await expect((async () => {
      cache.append(x, x, types(0, 3));
      await cache.stats();
    })()).rejects.toThrow(ValueError);
    expect([...(await cache.stats()).seen]).toEqual([0]);
    const pair = engine().createCache({ ...plain, kvHeads: 2 });
    pair.append(zeros(1, 2, 1, 2), zeros(1, 2, 1, 2), engine().integers([0, 0], [1, 2, 1]));
    expect(() => pair.attend(zeros(1, 3, 1, 2), 1)).toThrow(/query heads \(3\).*KV heads \(2\)/);
    await expect((async () => pair.positions(0, 2))()).rejects.toThrow(ValueError);
    cache.dispose();
    pair.dispose();
  });

  it('is a DisposedError to use after dispose(), which may be called twice', async () => {
    const cache = engine().createCache(plain);
    const x = engine().zeros([1, 1, 1, 2]);
    const types = engine().integers([0], [1, 1, 1]);
    cache.append(x, x, types);
    cache.dispose();
    cache.dispose();
    expect(() => cache.append(x, x, types)).toThrow(DisposedError);
    expect(() => cache.attend(x, 1)).toThrow(DisposedError);
    expect(() => cache.evict()).toThrow(DisposedError);
    expect(() => cache.clear()).toThrow(DisposedError);
    await expect((async () => cache.stats())()).rejects.toThrow(DisposedError);
    await expect((async () => cache.positions(0, 0))()).rejects.toThrow(DisposedError);
  });
});

describe('KVCache', () => {
  const stepLengths = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 });

  it.each(['float64', 'float32'] as const)('follows the same law on %s arrays', (precision) =>
    followsTheModel(precision, (sizes) => ({ system: publicSystem(sizes, precision).system, done: () => {} })), 30_000);

  it('does append, attend and evict in one step()', () =>
    fc.assert(fc.asyncProperty(cacheSizes, stepLengths, async (sizes, steps) => {
      const model = new CacheModel(sizes, 'float64');
      const { system, cache } = publicSystem(sizes, 'float64');
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

  it('refuses a step() whose queries do not fit before anything is appended', () => {
    const cache = new KVCache(plain);
    const real = (...shape: number[]): NDArray => ndarray(new Float64Array(shape.reduce((a, b) => a * b, 1)), shape);
    const x = real(1, 1, 1, 2);
    const types = ndarray(new Int32Array(1), [1, 1, 1]);
    expect(() => cache.step({ q: real(1, 1, 1, 4), k: x, v: x, types })).toThrow(ShapeError);
    expect(() => cache.step({ q: real(1, 1, 0, 2), k: x, v: x, types })).toThrow(ShapeError);
    expect([...cache.lengths()]).toEqual([0]);
  });
});
