/** §8 on every engine: random commands, compared with a cache that forgets nothing. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import type { Cache, CacheOptions, CacheSnapshot, Engine } from '../src/core/engine.ts';
import { DisposedError, ShapeError, ValueError } from '../src/core/errors.ts';
import { cacheSizes, expectLawful, followsTheModel, untypedDeaths } from './support/cache-commands.ts';
import { CacheModel, cacheOptions, type CacheSizes, type System, typeRows } from './support/cache-model.ts';
import { describeEngines, scoped, OPERATIONS } from './support/engines.ts';
import { cases } from './support/thorough.ts';
import { expectSameBits, expectWithin } from './support/tolerance.ts';

function engineSystem(
  engine: Engine, sizes: CacheSizes, cache: Cache = engine.createCache(cacheOptions(sizes)),
): System {
  const { batch: B, kvHeads: G, headDim: d, chunk, group } = sizes;
  return {
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
    fork: () => engineSystem(engine, sizes, cache.fork()),
    async again() {
      const other = engine.createCache(cacheOptions(sizes));
      const x = engine.tensor(new Float32Array(B * G * 2 * d).fill(3), [B, G, 2, d]);
      other.append(x, x, engine.integers(new Int32Array(B * G * typeRows(2, chunk)), [B, G, typeRows(2, chunk)]));
      other.restore(await cache.snapshot());
      return engineSystem(engine, sizes, other);
    },
    dispose: () => cache.dispose(),
  };
}

const plain: CacheSizes = {
  batch: 1, kvHeads: 1, group: 1, headDim: 2, window: 3, chunk: 1, blockSize: 4,
};

const moves = fc.array(fc.record({
  T: fc.integer({ min: 1, max: 5 }), lacks: fc.tuple(fc.nat(), fc.nat()), move: fc.boolean(),
}), { minLength: 2, maxLength: 8 });

/** A cache that holds a GLOBAL, an open LOCAL and a WINDOW token, and its snapshot. */
async function filled(engine: Engine): Promise<{ cache: Cache; good: CacheSnapshot }> {
  const cache = engine.createCache(cacheOptions(plain));
  const x = engine.tensor([1, 2, 3, 4, 5, 6], [1, 1, 3, 2]);
  cache.append(x, x, engine.integers([0, 1, 2], [1, 1, 3]));
  cache.attend(x, 1).dispose();
  cache.evict();
  return { cache, good: await cache.snapshot() };
}

describeEngines('the cache', ({ precision, computes, engine }) => {
  it('gives the rows of full masked attention, holds exactly the live entries and frees the rest, for every split', () =>
    scoped(engine(), (inner) =>
      followsTheModel(precision, (sizes) => engineSystem(inner, sizes), undefined, computes)), 30_000);

  it('does so if a reach ends tokens before their chunk is full', () =>
    scoped(engine(), (inner) =>
      followsTheModel(precision, (sizes) => engineSystem(inner, sizes), untypedDeaths, computes)), 30_000);

  it('continues from the snapshot of another engine, and the other from its own, within the budget of float32', () =>
    scoped(engine(), (inner) => fc.assert(fc.asyncProperty(cacheSizes, moves, async (sizes, steps) => {
      const engines: readonly Engine[] = [inner, referenceEngine('float64')];
      const model = new CacheModel(sizes, 'float32');
      let at = 0;
      let cache = inner.createCache(cacheOptions(sizes));
      for (const [n, { T, lacks, move }] of steps.entries()) {
        if (move) {
          const snapshot = await cache.snapshot();
          cache.dispose();
          cache = engines[at = 1 - at].createCache(cacheOptions(sizes));
          cache.restore(snapshot);
        }
        const system = engineSystem(engines[at], sizes, cache);
        const counts = model.seen.map((_, b) => T - (lacks[b] % (T + 1)));
        const { k, v, q, types, out } = model.step(T, counts, n);
        system.append(k, v, types, T, counts);
        expectWithin(await system.attend(q, T), out, 'out');
        system.evict();
        model.stale = false;
        await expectLawful(model, system);
      }
      cache.dispose();
    }), { numRuns: cases(6, 60) })), 30_000);

  it('refuses snapshots that contradict its layout or themselves, and does not change', async () => {
    const { cache, good } = await filled(engine());
    const before = await cache.snapshot();
    const wrong: [string, Partial<CacheSnapshot>, new () => Error][] = [
      ['seen of two sequences', { seen: Int32Array.of(5, 5) }, ShapeError],
      ['live of two heads', { live: Int32Array.of(2, 2) }, ShapeError],
      ['fewer entries than are live', { positions: good.positions.slice(1) }, ShapeError],
      ['more than the file has', { live: Int32Array.of(100) }, ShapeError],
      ['keys of another size', { keys: good.keys.slice(1) }, ShapeError],
      ['values that are not there', { values: new Float64Array(0) }, ShapeError],
      ['open of another length', { open: new Uint8Array(1) }, ShapeError],
      ['negative seen', { seen: Int32Array.of(-1) }, ValueError],
      ['negative live', { live: Int32Array.of(-1) }, ValueError],
      ['a negative peak', { peakLive: Int32Array.of(-1) }, ValueError],
      ['half a pair', { visiblePairs: Float64Array.of(0.5) }, ValueError],
      ['NaN pairs', { visiblePairs: Float64Array.of(NaN) }, ValueError],
      ['a position twice', { positions: good.positions.map(() => 1) }, ValueError],
      ['a position that was not seen', { positions: good.positions.map((j) => j + 4) }, ValueError],
      ['a negative position', { positions: good.positions.map((j) => j - 1) }, ValueError],
      ['a life that ends before it begins', { last: good.last.map((_, n) => good.positions[n] - 1) }, ValueError],
      ['a mark that is neither 0 nor 1', { open: good.open.map(() => 2) }, ValueError],
      ['an open entry whose life ends', { last: good.last.map(() => 9) }, ValueError],
    ];
    for (const [what, part, kind] of wrong) {
      expect(() => cache.restore({ ...good, ...part }), what).toThrow(kind);
      expect(await cache.snapshot(), what).toEqual(before);
    }
    cache.dispose();
  });

  it('is not affected if the arrays of a snapshot are changed later', async () => {
    const { cache, good } = await filled(engine());
    const mine = { ...good, keys: good.keys.slice(), positions: good.positions.slice(), seen: good.seen.slice() };
    cache.restore(mine);
    mine.keys.fill(9);
    mine.positions.fill(9);
    mine.seen.fill(9);
    expect(await cache.snapshot()).toEqual(good);
    cache.dispose();
  });

  it('gives bit for bit the same outputs when dead entries hold NaN', () =>
    scoped(engine(), async (engine) => {
      const run = async (dead: number): Promise<number[]> => {
        const cache = engine.createCache({ ...cacheOptions(plain), window: 0 });
        const outputs: number[] = [];
        // G W L W G, with WINDOW tokens that die after their own query; the last two in one prefill with a dead one.
        const steps = [[0], [2], [1, 2, 0]];
        let position = 0;
        for (const types of steps) {
          const x = types.flatMap((type) => [type === 2 ? dead : ++position / 4, position / 8]);
          const shape = [1, 1, types.length, 2];
          cache.append(engine.tensor(x, shape), engine.tensor(x, shape), engine.integers(types, [1, 1, types.length]));
          const q = engine.tensor(x.map((n) => (Number.isFinite(n) ? n : 1)), shape);
          const out = await engine.read(cache.attend(q, 1));
          types.forEach((type, t) => type !== 2 && outputs.push(out[2 * t], out[2 * t + 1]));
          if (types.length === 1) cache.evict();
        }
        return outputs;
      };
      const clean = await run(1);
      expect(clean.every(Number.isFinite)).toBe(true);
      for (const dead of [NaN, Infinity, -Infinity]) expectSameBits(await run(dead), clean, `out with ${dead}`);
    }));

  it('holds no more bytes after 400 decoded tokens than after 40 if the live set is bounded', () =>
    scoped(engine(), async (engine) => {
      const cache = engine.createCache(cacheOptions(plain));
      const x = engine.tensor([1, 2], [1, 1, 1, 2]);
      const bytes: number[] = [];
      for (let i = 0; i < 400; i++) {
        const type = engine.integers([i === 0 ? 0 : 2], [1, 1, 1]);
        cache.append(x, x, type);
        cache.attend(x, 1).dispose();
        cache.evict();
        type.dispose();
        if (i === 39 || i === 399) bytes.push((await cache.stats()).bytes[0]);
      }
      // Token 0 and the three that query 400 still sees (W = 3) fill one block of four.
      expect([...await cache.positions(0, 0)]).toEqual([0, 397, 398, 399]);
      const { entryBytes } = await cache.stats();
      expect(bytes).toEqual([4 * entryBytes, 4 * entryBytes]);
    }));

  it('can be cleared and evict before anything was appended', async () => {
    const cache = engine().createCache({ ...cacheOptions(plain), batch: 2 });
    cache.evict();
    cache.clear();
    const { seen, live, bytes } = await cache.stats();
    expect([[...seen], [...live], [...bytes]]).toEqual([[0, 0], [0, 0], [0, 0]]);
    expect([...await cache.positions(1, 0)]).toEqual([]);
  });

  it.each<[string, Partial<CacheOptions>]>([
    ['a negative window', { window: -1 }], ['a fractional window', { window: 1.5 }], ['a chunk of 0', { chunk: 0 }],
    ['a block size of 0', { blockSize: 0 }], ['no sequence', { batch: 0 }],
    ['a fractional head size', { headDim: 1.5 }], ['a negative reach', { reach: -1 }],
    ['a fractional reach', { reach: 0.5 }],
  ])('refuses %s with a ValueError', (_, wrong) => {
    expect(() => engine().createCache({ ...cacheOptions(plain), ...wrong })).toThrow(ValueError);
  });

  it('refuses wrong shapes, wrong counts and unknown types, and does not change', async () => {
    const cache = engine().createCache(cacheOptions(plain));
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
    // A device may notice a bad type only when something is read back.
    await expect((async () => {
      cache.append(x, x, types(0, 3));
      await cache.stats();
    })()).rejects.toThrow(ValueError);
    expect([...(await cache.stats()).seen]).toEqual([0]);
    const pair = engine().createCache({ ...cacheOptions(plain), kvHeads: 2 });
    pair.append(zeros(1, 2, 1, 2), zeros(1, 2, 1, 2), engine().integers([0, 0], [1, 2, 1]));
    expect(() => pair.attend(zeros(1, 3, 1, 2), 1)).toThrow(/query heads \(3\).*KV heads \(2\)/);
    await expect((async () => pair.positions(0, 2))()).rejects.toThrow(ValueError);
    cache.dispose();
    pair.dispose();
  });

  it('throws a DisposedError if used after dispose(), which may be called twice', async () => {
    const cache = engine().createCache(cacheOptions(plain));
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
    await expect((async () => cache.snapshot())()).rejects.toThrow(DisposedError);
    expect(() => cache.fork()).toThrow(DisposedError);
    const { cache: other, good } = await filled(engine());
    expect(() => cache.restore(good)).toThrow(DisposedError);
    other.dispose();
  });
}, OPERATIONS);
