/**
 * A step and a prompt in one call, on every engine: equal to the single steps, and stored in the dtype of the cache.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import { type Cache, type CacheDtype, entryBytes } from '../src/core/cache.ts';
import type { Engine } from '../src/core/engine.ts';
import { UnsupportedError, ValueError } from '../src/core/errors.ts';
import { seeds } from './support/arbitraries.ts';
import { typeRows } from './support/cache-model.ts';
import { draw } from './support/draw.ts';
import { describeEngines, OPERATIONS } from './support/engines.ts';
import { expectSameBits } from './support/tolerance.ts';

const sizes = fc.record({
  B: fc.integer({ min: 1, max: 2 }), G: fc.integer({ min: 1, max: 2 }), share: fc.integer({ min: 1, max: 2 }),
  d: fc.integer({ min: 1, max: 4 }), T: fc.integer({ min: 1, max: 9 }), lacks: fc.integer({ min: 0, max: 9 }),
  window: fc.integer({ min: 0, max: 4 }), chunk: fc.integer({ min: 1, max: 3 }),
  reach: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }), seed: seeds,
  localWindow: fc.constantFrom(undefined, undefined, undefined, undefined, 0, 3),
});
type Sizes = typeof sizes extends fc.Arbitrary<infer S> ? S : never;

/** A cache and its next step. */
function make(engine: Engine, sizes: Sizes, storage?: CacheDtype) {
  const { B, G, share, d, T, lacks, window, localWindow, chunk, reach, seed } = sizes;
  const numbers = draw(seed, engine.precision);
  const cache = engine.createCache({
    batch: B, kvHeads: G, headDim: d, blockSize: 2, window, chunk,
    ...(localWindow !== undefined && { localWindow }), ...(reach !== undefined && { reach }),
    ...(storage && { storage }),
  });
  const counts = Array.from({ length: B }, (_, b) => (b === 0 ? Math.max(0, T - lacks) : T));
  const next = () => ({
    q: engine.tensor(numbers.real(B * G * share * T * d), [B, G * share, T, d]),
    k: engine.tensor(numbers.real(B * G * T * d), [B, G, T, d]),
    v: engine.tensor(numbers.real(B * G * T * d), [B, G, T, d]),
    types: engine.integers(numbers.whole(B * G * typeRows(T, chunk), 3), [B, G, typeRows(T, chunk)]),
    scale: 0.5,
  });
  return { cache, counts, next };
}

/** Everything that a cache reports. */
async function told(cache: Cache): Promise<object> {
  const { keys, values, ...rest } = await cache.snapshot();
  return { ...rest, keys: [...keys], values: [...values], stats: await cache.stats() };
}

describeEngines('step() and prefill()', ({ engine, holds }) => {
  const both = it.each(['step', 'prefill'] as const);
  both('%s() gives the bits and leaves the entries of append(), attend() and evict()', (name) =>
    holds(sizes, async (drawn, engine) => {
      const { cache, counts, next } = make(engine, drawn);
      const { cache: other } = make(engine, drawn);
      for (const call of [name, 'step'] as const) { // a second step continues after the first
        const { q, k, v, types, scale } = next();
        const out = await engine.read(cache[call]({ q, k, v, types, scale }, counts));
        other.append(k, v, types, counts);
        expectSameBits(out, await engine.read(other.attend(q, scale)), call);
        other.evict();
        expect(await told(cache)).toEqual(await told(other));
      }
    }, 60));

  it('prefill() refuses a cache that has seen a token, until it is cleared', () => {
    const one = { B: 1, G: 1, share: 1, d: 2, T: 3, lacks: 0, window: 1, chunk: 1, seed: 1 };
    const none = { localWindow: undefined, reach: undefined };
    const { cache, next } = make(engine(), { ...one, ...none });
    cache.prefill(next());
    expect(() => cache.prefill(next())).toThrow(ValueError);
    expect(() => cache.fork().prefill(next())).toThrow(/^prefill\(\) is for a cache that has not seen any token/);
    cache.clear();
    cache.prefill(next());
  });
}, OPERATIONS);

describeEngines('the storage of a cache', ({ engine, holds }) => {
  it('is one that the engine supports, or is refused by name', () => {
    const { stores, name } = engine();
    const base = { batch: 1, kvHeads: 1, headDim: 2, blockSize: 4, window: 1, chunk: 1 };
    for (const storage of ['f64', 'f32', 'f16'] as const) {
      const create = () => engine().createCache({ ...base, storage });
      if (stores.cache.includes(storage)) create().dispose();
      else expect(create).toThrow(UnsupportedError);
      if (!stores.cache.includes(storage)) expect(create).toThrow(`engine '${name}' stores keys and values as`);
    }
    expect(() => engine().createCache({ ...base, storage: 'q4' as 'f16' })).toThrow(/^storage is "q4"/);
  });

  it('rounds keys and values once, when they are appended, and counts its bytes', () =>
    holds(sizes, async (drawn, engine) => {
      for (const storage of engine.stores.cache) {
        const { cache, counts, next } = make(engine, drawn, storage);
        const { cache: exact } = make(engine, drawn);
        const { q, k, v, types, scale } = next();
        const out = await engine.read(cache.step({ q, k, v, types, scale }, counts));
        const rounded = await roundedBy(engine, storage, k.shape, [k, v]);
        const wide = await engine.read(exact.step({ q, k: rounded[0], v: rounded[1], types, scale }, counts));
        expectSameBits(out, wide, storage);
        const { entryBytes: each, bytes } = await cache.stats();
        expect(each).toBe(entryBytes(drawn.d, storage));
        expect([...bytes].every((of) => of % (2 * each) === 0)).toBe(true);
        expectSameBits((await cache.snapshot()).keys, (await exact.snapshot()).keys, 'keys');
        const again = engine.createCache(cache.options);
        again.restore(await cache.snapshot());
        expect(await told(again)).toEqual(await told(cache));
      }
    }, 20));

  it('rounds to float16 with ties to even, down to its smallest numbers and up to infinity', async () => {
    const { stores } = engine();
    if (!stores.cache.includes('f16')) return expect(stores.cache).toHaveLength(1);
    const unit = 2 ** -24;
    const pairs = [
      [0.5 * unit, 0], [0.75 * unit, unit], [1.5 * unit, 2 * unit], [-2.5 * unit, -2 * unit],
      [1023.75 * unit, 2 ** -14], [2 ** -14 * (1 + 2 ** -11), 2 ** -14], [2049, 2048], [2051, 2052],
      [-65519, -65504], [65520, Infinity], [1e-10, 0], [1e30, Infinity],
    ];
    const cache = engine().createCache({
      batch: 1, kvHeads: 1, headDim: pairs.length, blockSize: 2, window: 1, chunk: 1, storage: 'f16',
    });
    const x = engine().tensor(pairs.map(([from]) => from), [1, 1, 1, pairs.length]);
    cache.append(x, x, engine().integers([0], [1, 1, 1]));
    expect([...(await cache.snapshot()).keys]).toEqual(pairs.map(([, to]) => to));
  });
}, OPERATIONS);

/** Tensors whose numbers are rounded to a dtype in another way than by the cache: through the bytes of a weight. */
async function roundedBy(
  engine: Engine, dtype: CacheDtype, shape: readonly number[], tensors: readonly Parameters<Engine['read']>[0][],
) {
  const half = (x: number): number => {
    if (x === 0) return x;
    const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -14) - 10);
    const [low, rest] = [Math.floor(x / unit), x / unit - Math.floor(x / unit)];
    return (rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low) * unit;
  };
  const round = { f64: (x: number) => x, f32: Math.fround, f16: half }[dtype];
  return Promise.all(tensors.map(async (tensor) => {
    return engine.tensor(Float64Array.from(await engine.read(tensor), round), shape);
  }));
}

it('the reference stores f64, f32 and f16, and gpu.js only the dtype in which it computes', () => {
  expect(referenceEngine().stores.cache).toEqual(['f64', 'f32', 'f16']);
  expect(referenceEngine('float32').stores.cache).toEqual(['f32', 'f16']);
});
