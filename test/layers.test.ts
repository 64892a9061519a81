/** The small layers on every engine: forwards compared with their formulas, backwards with central differences. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ShapeError, ValueError } from '../src/core/errors.ts';
import { count, leading, seeds } from './support/arbitraries.ts';
import { differencesOf, ruler, widened } from './support/differences.ts';
import { draw } from './support/draw.ts';
import { describeEngines } from './support/engines.ts';
import { type Bounded, exact, expectSameBits, expectWithin, Rounding } from './support/tolerance.ts';

describeEngines('add() and accumulate()', ({ precision, holds, engine }) => {
  const drawn = fc.record({ shape: leading, seed: seeds });
  const sums = (a: ArrayLike<number>, b: ArrayLike<number>): Bounded[] => {
    return Array.from(a, (x, n) => new Rounding(precision).add(exact(x), exact(b[n])));
  };

  it('add element by element', () =>
    holds(drawn, async ({ shape, seed }, engine) => {
      const numbers = draw(seed, precision);
      const [a, b] = [numbers.real(count(shape)), numbers.real(count(shape))];
      const [left, right] = [engine.tensor(a, shape), engine.tensor(b, shape)];
      expectWithin(await engine.read(engine.add(left, right)), sums(a, b), 'a + b');
      expectSameBits(await engine.read(left), a, 'a after add()');
    }));

  it('add in place, and leave what is added as it was', () =>
    holds(drawn, async ({ shape, seed }, engine) => {
      const numbers = draw(seed, precision);
      const [a, b] = [numbers.real(count(shape)), numbers.real(count(shape))];
      const [left, right] = [engine.tensor(a, shape), engine.tensor(b, shape)];
      engine.accumulate(left, right);
      expectWithin(await engine.read(left), sums(a, b), 'sum');
      expectSameBits(await engine.read(right), b, 'b');
    }));

  it('refuse different shapes, even of equal size', () => {
    const [a, b] = [engine().zeros([2, 3]), engine().zeros([3, 2])];
    expect(() => engine().add(a, b)).toThrow(ShapeError);
    expect(() => engine().accumulate(a, b)).toThrow(ShapeError);
  });
});

describeEngines('embedding()', ({ precision, holds, engine }) => {
  const drawn = fc.record({
    V: fc.integer({ min: 1, max: 5 }), D: fc.integer({ min: 1, max: 4 }), shape: leading, seed: seeds,
  });

  it('picks rows exactly, and its backward adds up the rows of repeated ids', () =>
    holds(drawn, async ({ V, D, shape, seed }, engine) => {
      const R = new Rounding(precision);
      const numbers = draw(seed, precision);
      const weight = numbers.real(V * D);
      const ids = numbers.whole(count(shape), V);
      const dy = numbers.real(ids.length * D);
      const y = engine.embedding(engine.tensor(weight, [V, D]), engine.integers(ids, shape));
      expect(y.shape).toEqual([...shape, D]);
      expectSameBits(await engine.read(y), [...ids].flatMap((id) => [...weight.subarray(id * D, id * D + D)]), 'rows');
      const dWeight = engine.embeddingBackward(engine.tensor(dy, [...shape, D]), engine.integers(ids, shape), V);
      expect(dWeight.shape).toEqual([V, D]);
      const truth = Array.from(weight, (_, n) => R.sum(
        [...ids.keys()].filter((t) => ids[t] === Math.floor(n / D)).map((t) => exact(dy[t * D + (n % D)])),
      ));
      expectWithin(await engine.read(dWeight), truth, 'dWeight');
    }));

  it.each([-1, 4])('refuses id %d of a vocabulary of 4 with a ValueError', async (id) => {
    const run = async () => engine().read(engine().embedding(engine().zeros([4, 2]), engine().integers([0, id], [2])));
    await expect(run()).rejects.toThrow(ValueError);
  });
});

describeEngines('pickRows()', ({ precision, holds, engine }) => {
  const drawn = fc.record({
    from: leading.filter((shape) => count(shape) > 0), D: fc.integer({ min: 1, max: 5 }), picked: leading, seed: seeds,
  });

  it('picks rows exactly for any number of axes of x, any number of times', () =>
    holds(drawn, async ({ from, D, picked, seed }, engine) => {
      const numbers = draw(seed, precision);
      const x = numbers.real(count(from) * D);
      const rows = numbers.whole(count(picked), count(from));
      const y = engine.pickRows(engine.tensor(x, [...from, D]), engine.integers(rows, picked));
      expect(y.shape).toEqual([...picked, D]);
      expectSameBits(await engine.read(y), [...rows].flatMap((row) => [...x.subarray(row * D, row * D + D)]), 'rows');
    }));

  it('refuses rows that do not exist, and an x without rows', () => {
    const x = engine().zeros([2, 3, 4]);
    for (const row of [-1, 6]) expect(() => engine().pickRows(x, engine().integers([row], [1]))).toThrow(ValueError);
    expect(() => engine().pickRows(engine().zeros([]), engine().integers([0], [1]))).toThrow(ShapeError);
  });
});

describeEngines('splitHeads() and mergeHeads()', ({ precision, holds, engine }) => {
  const small = fc.integer({ min: 1, max: 4 });
  const drawn = fc.record({ B: small, N: small, heads: small, d: small, seed: seeds });

  it('move [b,n,h*d+x] to [b,h,n,x] and back, so that each is the backward of the other', () =>
    holds(drawn, async ({ B, N, heads, d, seed }, engine) => {
      const x = draw(seed, precision).real(B * N * heads * d);
      const split = engine.splitHeads(engine.tensor(x, [B, N, heads * d]), heads);
      expect(split.shape).toEqual([B, heads, N, d]);
      const expected = Array.from(x, (_, at) => {
        const [c, n, bh] = [at % d, Math.floor(at / d) % N, Math.floor(at / (d * N))];
        const [h, b] = [bh % heads, Math.floor(bh / heads)];
        return x[(b * N + n) * heads * d + h * d + c];
      });
      expectSameBits(await engine.read(split), expected, 'split');
      const merged = engine.mergeHeads(split);
      expect(merged.shape).toEqual([B, N, heads * d]);
      expectSameBits(await engine.read(merged), x, 'merged');
    }));

  it('refuse a width that the heads cannot share, and wrong ranks', () => {
    expect(() => engine().splitHeads(engine().zeros([1, 2, 5]), 2)).toThrow(ShapeError);
    expect(() => engine().splitHeads(engine().zeros([2, 4]), 2)).toThrow(ShapeError);
    expect(() => engine().mergeHeads(engine().zeros([1, 2, 5]))).toThrow(ShapeError);
  });
});

describeEngines('rope()', ({ precision, holds, engine }) => {
  const R = new Rounding(precision);
  const small = fc.integer({ min: 1, max: 3 });
  const drawn = fc.record({ B: small, heads: small, N: small, half: small, seed: seeds });
  interface Table {
    readonly cos: readonly Bounded[];
    readonly sin: readonly Bounded[];
  }
  const table = (cos: ArrayLike<number>, sin: ArrayLike<number>): Table =>
    ({ cos: Array.from(cos, exact), sin: Array.from(sin, exact) });
  /** x [B,heads,N,2*half] rotated by the table [B,N,half], or back if sign is -1. */
  const rotate = (
    x: ArrayLike<number>, { cos, sin }: Table, { heads, N, half }: { heads: number; N: number; half: number },
    sign: 1 | -1, A: Rounding,
  ): Bounded[] =>
    Array.from({ length: x.length }, (_, at) => {
      const [c, row] = [at % (2 * half), Math.floor(at / (2 * half))];
      const angle = (Math.floor(row / (N * heads)) * N + (row % N)) * half + (c % half);
      const partner = exact((c < half ? -sign : sign) * x[c < half ? at + half : at - half]);
      return A.sum([A.multiply(exact(x[at]), cos[angle]), A.multiply(partner, sin[angle])]);
    });

  it('rotates each half-split pair by its own sequence\'s angle, and the inverse is the backward', () =>
    holds(drawn, async (sizes, engine) => {
      const { B, heads, N, half, seed } = sizes;
      const numbers = draw(seed, precision);
      const x = numbers.real(B * heads * N * 2 * half);
      // Any numbers may be cos and sin: the operation does not require an angle.
      const [cos, sin, dy] = [numbers.real(B * N * half), numbers.real(B * N * half), numbers.real(x.length)];
      const [tcos, tsin] = [engine.tensor(cos, [B, N, half]), engine.tensor(sin, [B, N, half])];
      const y = engine.rope(engine.tensor(x, [B, heads, N, 2 * half]), tcos, tsin);
      expect(y.shape).toEqual([B, heads, N, 2 * half]);
      expectWithin(await engine.read(y), rotate(x, table(cos, sin), sizes, 1, R), 'y');
      const dx = await engine.read(engine.rope(engine.tensor(dy, y.shape), tcos, tsin, true));
      const budget = rotate(dy, table(cos, sin), sizes, -1, R);
      expectWithin(dx, budget, 'dx');
      const differences = differencesOf((moved) => rotate(moved, table(cos, sin), sizes, 1, ruler), x, dy);
      expectWithin(dx, widened(differences, budget), 'dx by differences');
    }));

  it('makes scores depend only on the distance of query and key', () =>
    holds(fc.record({ distance: fc.nat(20), shift: fc.nat(1000), half: small, seed: seeds }), async (drawn, engine) => {
      const { distance, shift, half, seed } = drawn;
      const x = draw(seed, precision).real(4 * half); // a query and a key
      const score = async (at: number): Promise<Bounded> => {
        const angles = [at + distance, at].flatMap((p) =>
          Array.from({ length: half }, (_, n) => p * 10000 ** (-n / half)));
        const upload = (f: (angle: number) => number) => engine.tensor(angles.map(f), [1, 2, half]);
        const rotated = engine.rope(engine.tensor(x, [1, 1, 2, 2 * half]), upload(Math.cos), upload(Math.sin));
        const y = await engine.read(rotated);
        // The angle has two float64 roundings, each 2^-53 of it; cos and sin add an ulp, and uploading them u.
        const known = (f: (angle: number) => number): Bounded[] =>
          angles.map((angle) => ({ value: f(angle), error: angle * 2 ** -51 + 2 ** -52 + R.u }));
        const bounds = rotate(x, { cos: known(Math.cos), sin: known(Math.sin) }, { heads: 1, N: 2, half }, 1, R);
        return ruler.sum(Array.from({ length: 2 * half }, (_, c) => ruler.multiply(
          { value: y[c], error: bounds[c].error }, { value: y[2 * half + c], error: bounds[2 * half + c].error },
        )));
      };
      const [here, there] = [await score(0), await score(shift)];
      expectWithin([here.value], [{ value: there.value, error: here.error + there.error }], 'score');
    }));

  it('refuses an odd head size and tables of another shape', () => {
    const zeros = (...shape: number[]) => engine().zeros(shape);
    expect(() => engine().rope(zeros(1, 1, 2, 3), zeros(1, 2, 1), zeros(1, 2, 1))).toThrow(ShapeError);
    expect(() => engine().rope(zeros(1, 1, 2, 4), zeros(1, 2, 4), zeros(1, 2, 2))).toThrow(ShapeError);
    expect(() => engine().rope(zeros(2, 1, 2, 4), zeros(2, 2, 2), zeros(1, 2, 2))).toThrow(ShapeError);
  });
});
