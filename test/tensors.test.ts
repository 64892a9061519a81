/** What every engine promises of its handles: copies, precision, and refusal after dispose(). */
import { expect, it } from 'vitest';
import type { Tensor } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { DisposedError, ShapeError } from '../src/core/errors.ts';
import { FOREVER } from '../src/core/lifetime.ts';
import { toBfloat16, toFloat16 } from '../src/core/float16.ts';
import { WEIGHT_BYTES, type WeightDtype } from '../src/core/stored.ts';
import { describeEngines, forEachEngine, scoped } from './support/engines.ts';

/** Little-endian bytes. */
function encodeWeights(dtype: WeightDtype, numbers: readonly number[]): Uint8Array {
  const width = WEIGHT_BYTES[dtype];
  const view = new DataView(new ArrayBuffer(width * numbers.length));
  numbers.forEach((x, n) => {
    if (dtype === 'f64') view.setFloat64(8 * n, x, true);
    else if (dtype === 'f32') view.setFloat32(4 * n, x, true);
    else view.setUint16(2 * n, dtype === 'f16' ? toFloat16(x) : toBfloat16(x), true);
  });
  return new Uint8Array(view.buffer);
}

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

  it('may be disposed of while they are being read, and what comes after does not change what is read', async () => {
    const on = engine();
    const length = 300;
    const one = on.tensor(new Float64Array(length).fill(1), [length]);
    const [sum, ids] = [on.add(one, one), on.integers(new Int32Array(length).fill(7), [length])];
    const types = on.lifetime(on.integers(new Int32Array(length), [1, 1, length]), length, { window: 1, chunk: 1 });
    const reads = [on.read(sum), on.readIntegers(ids), on.readIntegers(types)];
    for (const each of [sum, ids, types]) each.dispose();
    const later = Array.from({ length: 4 }, () => on.add(on.tensor(new Float64Array(length).fill(3), [length]), one));
    expect((await reads[0]).every((x) => x === 2)).toBe(true);
    expect((await reads[1]).every((x) => x === 7)).toBe(true);
    expect((await reads[2]).every((x) => x === FOREVER)).toBe(true);
    expect([...await on.read(later[3])].every((x) => x === 4)).toBe(true);
  });

  it('hold floats in the engine\'s precision and integers up to FOREVER', async () => {
    const x = engine().tensor([0.1], [1]);
    expect([...await engine().read(x)]).toEqual([precision === 'float32' ? Math.fround(0.1) : 0.1]);
    expect(await engine().read(x)).toBeInstanceOf(precision === 'float32' ? Float32Array : Float64Array);
    expect([...await engine().readIntegers(engine().integers([2 ** 31 - 1, -1], [2]))]).toEqual([2 ** 31 - 1, -1]);
    expect([x.kind, engine().integers([0], [1]).kind]).toEqual(['float', 'integer']);
    expect([...await engine().read(engine().zeros([2, 2]))]).toEqual([0, 0, 0, 0]);
  });

  it.each(['f64', 'f32', 'f16', 'bf16'] as const)('of a weight that is stored as %s hold its numbers', async (dtype) => {
    const numbers = [1, -2.5, 0, 2 ** -14, 65504];
    const bytes = encodeWeights(dtype, numbers);
    const weight = engine().weight(bytes, dtype, [5]);
    bytes.fill(7);
    const read = dtype === 'bf16' ? [1, -2.5, 0, 2 ** -14, 65536] : numbers;
    expect([...await engine().read(weight)]).toEqual(read);
    expect([weight.kind, weight.shape]).toEqual(['float', [5]]);
    if (engine().stores.weights.includes(dtype)) expect(weight.dtype).toBe(dtype);
    const column = engine().weight(encodeWeights(dtype, numbers), dtype, [5, 1]);
    const twice = engine().linear(engine().tensor([2], [1, 1]), column);
    expect([...await engine().read(twice)]).toEqual(read.map((x) => 2 * x));
  });

  it('of a weight are refused if bytes, dtype and shape contradict each other', () => {
    expect(() => engine().weight(new Uint8Array(6), 'f32', [2])).toThrow(/^the weight of 6 bytes is \[2\] but has 1.5 elements/);
    expect(() => engine().weight(new Uint8Array(4), 'i8' as 'f32', [4])).toThrow(/^dtype is "i8": it must be 'f64' or 'f32'/);
    expect(() => engine().weight([1, 2] as unknown as Uint8Array, 'f32', [2])).toThrow(/^bytes is an Array/);
  });

  it('know their dtype', () => {
    const wide = precision === 'float64' ? 'f64' : 'f32';
    expect(engine().zeros([1]).dtype).toBe(wide);
    expect(engine().integers([0], [1]).dtype).toBe('i32');
    expect(engine().stores.weights[0]).toBe(wide);
    expect(engine().stores.cache[0]).toBe(wide);
  });

  it('refuse a shape whose product is not their length', () => {
    expect(() => engine().tensor([1, 2, 3], [2])).toThrow(ShapeError);
    expect(() => engine().integers([1, 2, 3], [3, 2])).toThrow(ShapeError);
    expect(() => engine().tensor([1, 2], [-1, -2])).toThrow(ShapeError);
  });

  it('throw a DisposedError if used after dispose(), which may be called twice', async () => {
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

  it.each(uses)('makes %s throw a DisposedError', async (_, use) => {
    const engine = await create();
    const x = engine.tensor([1], [1]);
    engine.dispose();
    engine.dispose();
    await expect((async () => use(engine, x))()).rejects.toThrow(DisposedError);
  });

  it('also disposes of its caches', async () => {
    const engine = await create();
    const cache = engine.createCache({ batch: 1, kvHeads: 1, headDim: 1, window: 0, chunk: 1, blockSize: 1 });
    engine.dispose();
    expect(() => cache.evict()).toThrow(DisposedError);
    expect(() => cache.clear()).toThrow(DisposedError);
    await expect((async () => cache.stats())()).rejects.toThrow(DisposedError);
    cache.dispose();
  });

  it('leaves a scope in which all tensors of its body were freed', async () => {
    const engine = await create();
    const kept = await scoped(engine, async (inner) => inner.add(inner.tensor([1], [1]), inner.zeros([1])));
    await expect((async () => engine.read(kept))()).rejects.toThrow(DisposedError);
    engine.dispose();
  });
});
