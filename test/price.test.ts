/** §7 on every engine: the kept share and the price of memory. */
import { expect, it } from 'vitest';
import type { Engine } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { ShapeError } from '../src/core/errors.ts';
import { drawTypes, type Sizes, sizes } from './support/arbitraries.ts';
import { denseLifetime } from './support/dense.ts';
import { draw } from './support/draw.ts';
import { describeEngines } from './support/engines.ts';
import { type Bounded, exact, expectWithin, Rounding } from './support/tolerance.ts';

interface Problem extends Sizes {
  readonly types: Int32Array;
  readonly chunks: number;
}

function problem(size: Sizes, precision: Engine['precision']): Problem {
  return { ...size, types: drawTypes(size, draw(size.seed, precision)), chunks: Math.ceil(size.N / size.chunk) };
}

/** min(last(j), N-1) - j of every token of one head: the number of later queries for which a token is kept. */
function queriesKept(p: Problem, types: ArrayLike<number>, head: number): number[] {
  const last = denseLifetime(types, p);
  return Array.from({ length: p.N }, (_, j) => Math.min(last[head * p.N + j], p.N - 1) - j);
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, n) => sum + n, 0);
}

/** The tokens of chunk c. */
function ofChunk(p: Problem, kept: readonly number[], c: number): number[] {
  return kept.slice(c * p.chunk, (c + 1) * p.chunk);
}

describeEngines('the price of memory', ({ precision, holds, engine }) => {
  const R = new Rounding(precision);
  const heads = (p: Problem): number[] => Array.from({ length: p.B * p.G }, (_, n) => n);

  function keptShare(engine: TrainingEngine, p: Problem, types: Int32Array): Promise<ArrayLike<number>> {
    const handle = engine.integers(types, [p.B, p.G, p.chunks]);
    return engine.read(engine.keptShare(engine.lifetime(handle, p.N, p)));
  }

  async function price(engine: TrainingEngine, p: Problem, weight: number): Promise<ArrayLike<number>> {
    const zero = engine.zeros([p.B, p.G, p.chunks, 3]);
    const types = engine.integers(p.types, [p.B, p.G, p.chunks]);
    return engine.read(engine.addMemoryPrice(zero, types, p.N, { ...p, weight }));
  }

  it('is lambda times 1 - 1/N when every token is GLOBAL', () =>
    holds(sizes({ N: 40 }), async (size, engine) => {
      const p = problem({ ...size, only: 0, reach: size.N }, precision);
      const truth = heads(p).map(() => R.divide(exact(p.N - 1), exact(p.N)));
      expectWithin(await keptShare(engine, p, p.types), truth, 'keptShare');
    }));

  it('is 0 when every token is a WINDOW token of W = 0', () =>
    holds(sizes({ N: 20 }), async (size, engine) => {
      const p = problem({ ...size, only: 2, window: 0, chunk: 1 }, precision);
      expect([...Array.from(await keptShare(engine, p, p.types))]).toEqual(heads(p).map(() => 0));
    }));

  it('is the mean over tokens of 2/N times the queries for which a token is kept', () =>
    holds(sizes({ N: 20 }), async (size, engine) => {
      const p = problem(size, precision);
      const truth = heads(p).map((head) =>
        R.divide(exact(2 * total(queriesKept(p, p.types, head))), exact(p.N * p.N)));
      expectWithin(await keptShare(engine, p, p.types), truth, 'keptShare');
    }));

  it('adds, for each type, K times the queries for which each token would be kept if it had that type', () =>
    holds(sizes({ N: 12 }), async (size, engine) => {
      const p = problem(size, precision);
      const weight = 0.25; // a power of two, so that K is not rounded
      const truth: Bounded[] = [];
      for (const head of heads(p)) {
        for (let c = 0; c < p.chunks; c++) {
          for (const type of [0, 1, 2]) {
            const changed = Int32Array.from(p.types);
            changed[head * p.chunks + c] = type;
            const kept = ofChunk(p, queriesKept(p, changed, head), c);
            truth.push(R.sum(kept.map((queries) => R.multiply(exact(queries), exact(weight)))));
          }
        }
      }
      expectWithin(await price(engine, p, weight), truth, 'price');
    }));

  it('equals differences of the kept share if no other token\'s lifetime depends on the choice', () =>
    holds(sizes({ N: 12 }), async (size, engine) => {
      const p = problem({ ...size, only: null }, precision);
      // Without LOCAL tokens, no token affects the lifetime of another, except the one that is changed.
      const types = p.types.map((t) => (t === 1 ? 2 : t));
      // With K = 2 / N², the price is the derivative of keptShare itself.
      const weight = 2 / (p.N * p.N);
      const slopes = await price(engine, { ...p, types }, weight);
      const c = Math.abs(p.seed) % p.chunks;
      const shares: ArrayLike<number>[] = [];
      for (const type of [0, 1, 2]) {
        const changed = Int32Array.from(types);
        for (const head of heads(p)) changed[head * p.chunks + c] = type;
        shares.push(await keptShare(engine, p, changed));
      }
      const length = Math.min(p.N, (c + 1) * p.chunk) - c * p.chunk;
      // keptShare is at most 1 and a sum of N whole numbers; a slope is a sum of `length` terms, each at most 2/N.
      const share: Bounded = R.divide(exact(p.N * p.N), exact(p.N * p.N));
      const slope: Bounded = R.sum(Array.from({ length }, () => R.multiply(exact(p.N), R.constant(weight))));
      for (const head of heads(p)) {
        const at = (head * p.chunks + c) * 3;
        for (const type of [1, 2]) {
          expectWithin(
            [slopes[at] - slopes[at + type]],
            [{ value: shares[0][head] - shares[type][head], error: 2 * share.error + 2 * slope.error }],
            `GLOBAL minus type ${type}`,
          );
        }
      }
    }));

  it('is added to an existing gradient', () =>
    holds(sizes({ N: 8 }), async (size, engine) => {
      const p = problem(size, precision);
      const dTypes = draw(size.seed + 1, precision).real(p.B * p.G * p.chunks * 3);
      const types = engine.integers(p.types, [p.B, p.G, p.chunks]);
      const options = { ...p, weight: 0 };
      const same = engine.addMemoryPrice(engine.tensor(dTypes, [p.B, p.G, p.chunks, 3]), types, p.N, options);
      expect([...await engine.read(same)]).toEqual([...dTypes]);
      const priced = engine.addMemoryPrice(
        engine.tensor(dTypes, [p.B, p.G, p.chunks, 3]), types, p.N, { ...options, weight: 0.5 },
      );
      const alone = await price(engine, p, 0.5);
      // The price may be added token by token or for the whole chunk at once.
      const truth = Array.from(dTypes, (x, n) => R.sum(
        [exact(x), ...Array.from({ length: p.chunk }, () => exact(alone[n] / p.chunk))],
      ));
      expectWithin(await engine.read(priced), truth, 'dTypes');
    }));

  it('is that of all tokens to the end in a chunk that no text fills, however long it is', async () => {
    for (const chunk of [6, 2 ** 31 - 1]) {
      const options = { window: 3, localWindow: 4, chunk, weight: 1 };
      const [zero, types] = [engine().zeros([1, 1, 1, 3]), engine().integers([1], [1, 1, 1])];
      const priced = engine().addMemoryPrice(zero, types, 5, options);
      expect([...await engine().read(priced)]).toEqual([10, 10, 10]);
    }
  });

  it('refuses dTypes that are not three per chunk', () => {
    const types = engine().integers([0, 0], [1, 1, 2]);
    const options = { window: 0, chunk: 1, weight: 1 };
    expect(() => engine().addMemoryPrice(engine().zeros([1, 1, 3, 3]), types, 2, options)).toThrow(ShapeError);
    expect(() => engine().addMemoryPrice(engine().zeros([1, 1, 2, 3]), types, 3, options)).toThrow(ShapeError);
    expect(() => engine().keptShare(engine().integers([0], [1]))).toThrow(ShapeError);
  });
});
