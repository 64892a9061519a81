/** §2 on every engine: every last(j) is exact, wherever the types come from. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { lifetime } from '../reference/public/lifetime.ts';
import type { Engine } from '../src/core/engine.ts';
import { ShapeError, ValueError } from '../src/core/errors.ts';
import { FOREVER } from '../src/core/lifetime.ts';
import { ndarray } from '../src/core/tensor.ts';
import { sizes, type Sizes } from './support/arbitraries.ts';
import { denseLifetime } from './support/dense.ts';
import { draw } from './support/draw.ts';
import { describeEngines } from './support/engines.ts';
import { expectSameBits } from './support/tolerance.ts';

const drawn = fc.oneof(sizes({ N: 12 }), sizes({ N: 70 }));

function typesOf({ B, G, N, chunk, only, seed }: Sizes): Int32Array {
  const types = draw(seed, 'float64').whole(B * G * Math.ceil(N / chunk), 3);
  return only === null ? types : types.fill(only);
}

describeEngines('engine.lifetime()', ({ engine, holds }) => {
  it('gives every last(j) of the dense definition', () =>
    holds(drawn, async (size, engine) => {
      const { B, G, N, chunk } = size;
      const types = typesOf(size);
      const handle = engine.integers(types, [B, G, Math.ceil(N / chunk)]);
      const last = engine.lifetime(handle, N, size);
      expect(last.shape).toEqual([B, G, N]);
      expectSameBits(await engine.readIntegers(last), denseLifetime(types, size), 'last');
    }, 100));

  it('gives the same for types that the engine chose itself', () =>
    holds(drawn, async (size, engine) => {
      const { B, G, N, chunk } = size;
      const types = typesOf(size);
      const shape = [B, G, Math.ceil(N / chunk)];
      const oneHot = Array.from(types).flatMap((type) => [0, 1, 2].map((c) => (c === type ? 1 : 0)));
      const scores = engine.tensor(oneHot, [...shape, 3]);
      const chosen = engine.tokenTypes(scores, { temperature: 1 }).types;
      expectSameBits(await engine.readIntegers(chosen), types, 'types');
      const last = await engine.readIntegers(engine.lifetime(chosen, N, size));
      expectSameBits(last, denseLifetime(types, size), 'last');
    }));

  it('counts exactly over thousands of tokens, and up to FOREVER with a window or a reach that reaches it', async () => {
    const N = 5000;
    const types = draw(3, 'float64').whole(N, 3);
    for (const window of [0, 256, 100_000, FOREVER]) {
      const last = engine().lifetime(engine().integers(types, [1, 1, N]), N, { window, chunk: 1 });
      const truth = lifetime(ndarray(types, [1, 1, N]), { window });
      expectSameBits(await engine().readIntegers(last), truth.data, `last with W = ${window}`);
    }
    for (const localWindow of [0, 4095, 100_000, FOREVER]) {
      const options = { window: 256, localWindow, chunk: 1 };
      const last = engine().lifetime(engine().integers(types, [1, 1, N]), N, options);
      const truth = lifetime(ndarray(types, [1, 1, N]), options);
      expectSameBits(await engine().readIntegers(last), truth.data, `last with a second window of ${localWindow}`);
    }
    for (const reach of [0, 4095, 100_000, FOREVER]) {
      const options = { window: 256, chunk: 1, reach };
      const last = engine().lifetime(engine().integers(types, [1, 1, N]), N, options);
      const truth = lifetime(ndarray(types, [1, 1, N]), options);
      expectSameBits(await engine().readIntegers(last), truth.data, `last with a reach of ${reach}`);
    }
  });

  it('refuses types that do not exist, and too few of them', async () => {
    const use = async (engine: Engine, types: number[], N: number): Promise<unknown> =>
      engine.readIntegers(engine.lifetime(engine.integers(types, [1, 1, types.length]), N, { window: 1, chunk: 1 }));
    await expect(use(engine(), [0, 3], 2)).rejects.toThrow(ValueError);
    await expect(use(engine(), [0, 1], 3)).rejects.toThrow(ShapeError);
  });

  it.each([-1, 0.5, NaN])('refuses a reach of %d with a ValueError', (reach) => {
    const types = engine().integers([0], [1, 1, 1]);
    expect(() => engine().lifetime(types, 1, { window: 0, chunk: 1, reach })).toThrow(ValueError);
  });
});
