/** The checked layer with kernels that compute nothing: what reaches them, with which sizes, and what never does. */
import { describe, expect, it } from 'vitest';
import { checked, checkedInference } from '../src/core/checked/index.ts';
import type { Engine } from '../src/core/engine.ts';
import { DisposedError, isNamedError, ShapeError, UnsupportedError, ValueError } from '../src/core/errors.ts';
import type { CacheKernels, PoolKernels, TrainingKernels } from '../src/core/kernels.ts';
import type { Shaped } from '../src/core/tensor.ts';
import { requireTraining } from '../src/core/training-engine.ts';

interface FakeArray extends Shaped {
  readonly values?: Int32Array;
}

/** Kernels whose results are [1], and a list of the calls that reached them, as name and last argument. */
function fake(): { kernels: TrainingKernels<FakeArray>; calls: [name: string, last: unknown][] } {
  const calls: [string, unknown][] = [];
  const one: FakeArray = { shape: [1] };
  const recorder = (prefix: string, results: Readonly<Record<string, unknown>>): unknown =>
    new Proxy({}, {
      get: (_, name: string) => {
        const result: unknown = results[name];
        if (typeof result === 'string' || ['limits', 'prefillStep', 'forms', 'stores'].includes(name)) return result;
        return (...given: unknown[]): unknown => {
          calls.push([prefix + name, given.at(-1)]);
          return typeof result === 'function' ? (result as (...each: unknown[]) => unknown)(...given) : result ?? one;
        };
      },
    });
  const shaped = (data: unknown, shape: readonly number[]): FakeArray => ({
    shape, ...(data instanceof Int32Array && { values: data }),
  });
  const kernels = recorder('', {
    name: 'fake', precision: 'float64', stores: { weights: ['f64'], cache: ['f64'] }, dtypeOf: () => 'f64', tensor: shaped, integers: shaped,
    known: ({ values }: FakeArray) => values,
    createCache: () => recorder('cache.', {}) as CacheKernels<FakeArray>,
    createChunkPool: () => recorder('pool.', {}) as PoolKernels<FakeArray>,
    attention: () => ({ out: one, lse: one }),
  });
  return { kernels: kernels as TrainingKernels<FakeArray>, calls };
}

const without = (names: readonly string[], calls: readonly [string, unknown][]): [string, unknown][] =>
  calls.filter(([name]) => !names.includes(name));
const made = ['tensor', 'integers', 'known', 'dtypeOf', 'createCache', 'createChunkPool'];
const layout = { batch: 1, kvHeads: 2, headDim: 4, window: 3, chunk: 2, blockSize: 8 };

describe('the checked layer', () => {
  it('tells a kernel what the shapes mean', () => {
    const { kernels, calls } = fake();
    const engine = checked(kernels);
    const zeros = (...shape: number[]) => engine.tensor(new Float64Array(shape.reduce((a, b) => a * b)), shape);
    const ints = (...shape: number[]) => engine.integers(new Int32Array(shape.reduce((a, b) => a * b)), shape);
    engine.linear(zeros(2, 3, 5), zeros(7, 5));
    engine.splitHeads(zeros(2, 3, 8), 4);
    engine.embedding(zeros(9, 4), ints(2, 3));
    engine.lifetime(ints(1, 2, 3), 5, { window: 1, chunk: 2 });
    const k = zeros(1, 2, 3, 2);
    engine.attention({ q: zeros(1, 4, 3, 2), k, v: k, last: ints(1, 2, 3), scale: 1 });
    const cache = engine.createCache(layout);
    cache.append(zeros(1, 2, 3, 4), zeros(1, 2, 3, 4), ints(1, 2, 2), [2]);
    cache.attend(zeros(1, 6, 3, 4), 0.5);
    engine.createChunkPool(2, 4, 3, 'max').push(zeros(2, 5, 4));
    expect(without(made, calls)).toEqual([
      ['linear', { rows: 6, M: 7, K: 5 }], ['splitHeads', { B: 2, heads: 4, N: 3, d: 2 }],
      ['embedding', { count: 6, V: 9, D: 4 }], ['lifetime', { B: 1, G: 2, N: 5, chunks: 3 }],
      ['attention', { B: 1, H: 4, G: 2, N: 3, d: 2 }],
      ['cache.append', { T: 3, rows: 2, counts: [2] }], ['cache.attend', { H: 6, T: 3 }],
      ['pool.push', { T: 5, rows: 3, counts: [5, 5] }],
    ]);
  });

  it('passes nothing to a kernel that it refuses', () => {
    const { kernels, calls } = fake();
    const engine = checked(kernels);
    const [x, ids] = [engine.tensor([1, 2], [1, 2]), engine.integers([0, 5], [1, 2])];
    const cache = engine.createCache(layout);
    const wrong: [() => unknown, new () => Error][] = [
      [() => engine.linear(x, x.shape as never), ValueError], [() => engine.linear(x, engine.zeros([1])), ShapeError],
      [() => engine.embedding(x, x), ValueError], [() => engine.embedding(x, ids), ValueError],
      [() => engine.tensor([1, 2], [3]), ShapeError], [() => engine.rmsNorm(x, x, NaN), ValueError],
      [() => engine.crossEntropy(x, ids), ShapeError], [() => engine.attention({ q: x } as never), ValueError],
      [() => cache.append(x, x, ids), ShapeError], [() => cache.attend(x, 1), ShapeError],
      [() => cache.restore({} as never), ValueError], [() => engine.createCache({ ...layout, window: -1 }), ValueError],
    ];
    for (const [use, error] of wrong) expect(use).toThrow(error);
    expect(without([...made, 'zeros'], calls)).toEqual([]);
  });

  it('refuses a tensor of another engine, also of one of the same kind', () => {
    const [one, two] = [checked(fake().kernels), checked(fake().kernels)];
    const [x, y] = [one.tensor([1], [1]), two.tensor([1], [1])];
    expect(() => one.add(x, y)).toThrow(/^a tensor of another engine reached the engine 'fake': read\(\) it there/);
  });

  it('frees arrays, caches, pools and the engine once, however often they are disposed of', () => {
    const { kernels, calls } = fake();
    const engine = checked(kernels);
    const x = engine.tensor([1], [1]);
    const [cache, pool] = [engine.createCache(layout), engine.createChunkPool(1, 1, 1, 'mean')];
    for (let n = 0; n < 2; n++) for (const each of [x, cache, pool, engine]) each.dispose();
    expect(without(made, calls).map(([name]) => name)).toEqual(['free', 'cache.dispose', 'pool.dispose', 'dispose']);
    const uses = [() => engine.add(x, x), () => cache.evict(), () => pool.push(x)];
    for (const use of uses) expect(use).toThrow(DisposedError);
  });

  it('refuses by name what exceeds the memory', () => {
    const { kernels } = fake();
    const full = new Proxy(kernels, {
      get: (target, name) => {
        if (name !== 'add') return Reflect.get(target, name) as unknown;
        return () => new Float64Array(2 ** 50);
      },
    });
    const engine = checked(full);
    const x = engine.tensor([1], [1]);
    expect(() => engine.add(x, x)).toThrow(/^add\(\) needs more memory than is available \(.*\): use smaller sizes$/);
  });

  it('makes an engine that only runs models from kernels for that', () => {
    const engine: Engine = checkedInference(fake().kernels);
    const x = engine.tensor([1], [1]);
    expect(engine.add(x, x).shape).toEqual([1]);
    expect(() => requireTraining(engine)).toThrow(UnsupportedError);
    expect(isNamedError(new UnsupportedError('x'))).toBe(true);
  });
});
