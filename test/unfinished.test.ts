/** Engines that begin with a few kernels: what they have is checked as everywhere, and what they lack is named. */
import { describe, expect, it } from 'vitest';
import { checkedInference } from '../src/core/checked/index.ts';
import { MissingKernelError, unfinished } from '../src/core/checked/unfinished.ts';
import { isNamedError, ShapeError, UnsupportedError } from '../src/core/errors.ts';
import { referenceEngine } from '../reference/index.ts';
import type { NDArray, TypedArray } from '../src/core/tensor.ts';
import { requireTraining } from '../src/core/training-engine.ts';
import { skipping } from './support/unfinished-engine.ts';

/** An engine that only adds. */
const adder = () => checkedInference(unfinished<NDArray<TypedArray>>({
  name: 'adder', precision: 'float64', stores: { weights: ['f64'], cache: ['f64'] },
  tensor: (data, shape) => ({ data: Float64Array.from(data), shape }),
  dtypeOf: () => 'f64',
  weight: (bytes, _, shape) => ({ data: new Float64Array(bytes.slice().buffer), shape }),
  integers: (data, shape) => ({ data, shape }),
  zeros: (shape) => ({ data: new Float64Array(shape.reduce((a, b) => a * b, 1)), shape }),
  read: async ({ data }) => Float64Array.from(data),
  readIntegers: async ({ data }) => Int32Array.from(data),
  known: ({ data }) => data as Int32Array,
  free: () => undefined,
  dispose: () => undefined,
  add: (a, b) => ({ data: Float64Array.from(a.data, (x, n) => x + b.data[n]), shape: a.shape }),
}));

describe('an unfinished engine', () => {
  it('computes what it has kernels for', async () => {
    const engine = adder();
    expect([...await engine.read(engine.add(engine.tensor([1, 2], [2]), engine.tensor([3, 4], [2])))]).toEqual([4, 6]);
  });

  it('refuses what it has none for by the name of the engine and of the operation', () => {
    const engine = adder();
    const x = engine.zeros([2, 3]);
    const refused = (name: string) =>
      new MissingKernelError(`the engine 'adder' has no ${name}() yet: use an engine of createEngine(), or write this kernel`);
    expect(() => engine.swiglu(x, x)).toThrow(refused('swiglu'));
    expect(() => engine.linear(x, x)).toThrow(refused('linear'));
    expect(() => engine.createChunkPool(1, 2, 3, 'mean')).toThrow(refused('createChunkPool'));
    const layout = { batch: 1, kvHeads: 1, headDim: 2, blockSize: 4, window: 3, chunk: 1 };
    expect(() => engine.createCache(layout)).toThrow(refused('createCache'));
    expect(isNamedError(refused('add'))).toBe(true);
  });

  it('refuses shapes that contradict each other before it says what it lacks', () => {
    const engine = adder();
    expect(() => engine.swiglu(engine.zeros([2, 3]), engine.zeros([3, 2]))).toThrow(ShapeError);
  });

  it('has none of what a finished engine may lack', () => {
    const engine = adder();
    expect([engine.forms, engine.limits, engine.prefillStep]).toEqual([undefined, undefined, undefined]);
    const mass = { score: { by: 'age' }, budget: { base: 4, perToken: 0 }, recent: { share: 0 } } as const;
    const made = () => engine.createCache({ batch: 1, kvHeads: 1, headDim: 2, blockSize: 4, mass });
    expect(made).toThrow(UnsupportedError);
    expect(made).toThrow(/has no caches under a budget/);
  });
});

describe('an unfinished engine under test', () => {
  const notes: string[] = [];
  const engine = skipping(adder(), (note) => notes.push(note));

  it('runs what it has', async () => {
    const x = engine.tensor([1, 2], [2]);
    expect([...await engine.read(engine.add(x, x))]).toEqual([2, 4]);
    expect(() => engine.add(x, engine.zeros([3]))).toThrow(ShapeError);
    expect(notes).toEqual([]);
  });

  it('skips a test that needs what it lacks, for inference or for training, and notes what that is', () => {
    const x = engine.zeros([2, 2]);
    expect(() => engine.swiglu(x, x)).toThrow(MissingKernelError);
    expect(() => requireTraining(engine).swigluBackward(x, x, x)).toThrow(MissingKernelError);
    expect(notes).toEqual([
      expect.stringContaining('has no swiglu() yet'),
      'the engine \'adder\' has no swigluBackward(), which training needs',
    ]);
  });

  it('is the engine itself once it has everything', () => {
    const whole = referenceEngine();
    expect(skipping(whole)).toBe(whole);
  });
});
