/** What every engine promises of its handles: copies, precision, and refusal after dispose(). */
import { expect, it } from 'vitest';
import type { Tensor } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { DisposedError, ShapeError } from '../src/core/errors.ts';
import { describeEngines, forEachEngine, scoped } from './support/engines.ts';

describeEngines('tensors', ({ precision, engine }) => {
  it('are copies: changing the array that was uploaded or read changes nothing', async () => {
    const data = precision === 'float32' ? Float32Array.of(1, 2) : Float64Array.of(1, 2);
    const ids = Int32Array.of(3, 4);
    const [x, n] = [engine().tensor(data, [2]), engine().integers(ids, [2])];
    data[0] = ids[0] = 9;
    (await engine().read(x))[1] = 9;
    (await engine().readIntegers(n))[1] = 9;
    expect([...await engine().read(x)]).toEqual([1, 2]);
    expect([...await engine().readIntegers(n)]).toEqual([3, 4]);
  });

  it('hold reals in the engine\'s precision and whole numbers up to FOREVER', async () => {
    const x = engine().tensor([0.1], [1]);
    expect([...await engine().read(x)]).toEqual([precision === 'float32' ? Math.fround(0.1) : 0.1]);
    expect(await engine().read(x)).toBeInstanceOf(precision === 'float32' ? Float32Array : Float64Array);
    expect([...await engine().readIntegers(engine().integers([2 ** 31 - 1, -1], [2]))]).toEqual([2 ** 31 - 1, -1]);
    expect([x.kind, engine().integers([0], [1]).kind]).toEqual(['float', 'integer']);
    expect([...await engine().read(engine().zeros([2, 2]))]).toEqual([0, 0, 0, 0]);
  });

  it('refuse a shape whose product is not their length', () => {
    expect(() => engine().tensor([1, 2, 3], [2])).toThrow(ShapeError);
    expect(() => engine().integers([1, 2, 3], [3, 2])).toThrow(ShapeError);
    expect(() => engine().tensor([1, 2], [-1, -2])).toThrow(ShapeError);
  });

  it('are a DisposedError to use after dispose(), which may be called twice', async () => {
    const [x, other] = [engine().tensor([1], [1]), engine().tensor([1], [1])];
    x.dispose();
    x.dispose();
    expect(() => engine().add(x, other)).toThrow(DisposedError);
    expect(() => engine().accumulate(other, x)).toThrow(DisposedError);
    await expect((async () => engine().read(x))()).rejects.toThrow(DisposedError);
    expect([...await engine().read(other)]).toEqual([1]);
  });
});

forEachEngine('dispose() of an engine', ({ create }) => {
  const uses: [string, (engine: TrainingEngine, x: Tensor) => unknown][] = [
    ['tensor()', (engine) => engine.tensor([1], [1])],
    ['integers()', (engine) => engine.integers([1], [1])],
    ['zeros()', (engine) => engine.zeros([1])],
    ['read()', (engine, x) => engine.read(x)],
    ['add()', (engine, x) => engine.add(x, x)],
    ['createChunkPool()', (engine) => engine.createChunkPool(1, 1, 1, 'mean')],
    ['createCache()', (engine) =>
      engine.createCache({ batch: 1, kvHeads: 1, headDim: 1, window: 0, chunk: 1, blockSize: 1 })],
  ];

  it.each(uses)('makes %s a DisposedError', async (_, use) => {
    const engine = await create();
    const x = engine.tensor([1], [1]);
    engine.dispose();
    engine.dispose();
    await expect((async () => use(engine, x))()).rejects.toThrow(DisposedError);
  });

  it('also ends its caches', async () => {
    const engine = await create();
    const cache = engine.createCache({ batch: 1, kvHeads: 1, headDim: 1, window: 0, chunk: 1, blockSize: 1 });
    engine.dispose();
    expect(() => cache.evict()).toThrow(DisposedError);
    expect(() => cache.clear()).toThrow(DisposedError);
    await expect((async () => cache.stats())()).rejects.toThrow(DisposedError);
    cache.dispose();
  });

  it('leaves a scope without a tensor that its body made', async () => {
    const engine = await create();
    const kept = await scoped(engine, async (inner) => inner.add(inner.tensor([1], [1]), inner.zeros([1])));
    await expect((async () => engine.read(kept))()).rejects.toThrow(DisposedError);
    engine.dispose();
  });
});
