/** linear() on every engine: compared with its formula, and its backwards with central differences. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ShapeError } from '../src/core/errors.ts';
import { count, leading, seeds } from './support/arbitraries.ts';
import { differencesOf, ruler, widened } from './support/differences.ts';
import { draw } from './support/draw.ts';
import { describeEngines, OPERATIONS } from './support/engines.ts';
import { type Bounded, exact, expectWithin, type Rounding } from './support/tolerance.ts';

function dots(x: ArrayLike<number>, W: ArrayLike<number>, rows: number, M: number, K: number, R: Rounding): Bounded[] {
  return Array.from({ length: rows * M }, (_, n) => R.sum(Array.from({ length: K }, (_, k) =>
    R.product(exact(x[Math.floor(n / M) * K + k]), exact(W[(n % M) * K + k])))));
}

describeEngines('linear()', ({ precision, R, computes, holds, engine }) => {
  // Up to 9, so that tiles of 4 and 8 are not always full. Matrix units take rows of a multiple of 8.
  const size = computes === 'f16' ? fc.constantFrom(3, 8, 16, 24) : fc.integer({ min: 1, max: 9 });
  const drawn = fc.record({ shape: leading, K: size, M: size, seed: seeds });

  it('is x times the transposed weight, and its backwards equal central differences', () =>
    holds(drawn, async ({ shape, K, M, seed }, engine) => {
      const rows = count(shape);
      const numbers = draw(seed, precision);
      const [x, W, dy] = [numbers.real(rows * K), numbers.real(M * K), numbers.real(rows * M)];
      const [tx, tdy] = [engine.tensor(x, [...shape, K]), engine.tensor(dy, [...shape, M])];
      const tW = engine.tensor(W, [M, K]);
      const y = engine.linear(tx, tW);
      expect(y.shape).toEqual([...shape, M]);
      expectWithin(await engine.read(y), dots(x, W, rows, M, K, R), 'y');
      const transposed = (a: Float64Array, r: number, c: number): Float64Array =>
        a.map((_, n) => a[(n % r) * c + Math.floor(n / r)]);
      const dx = engine.linearBackwardInput(tdy, tW);
      expect(dx.shape).toEqual([...shape, K]);
      const dxTruth = dots(dy, transposed(W, M, K), rows, K, M, R);
      expectWithin(await engine.read(dx), dxTruth, 'dx');
      expectWithin(await engine.read(dx), widened(
        differencesOf((moved) => dots(moved, W, rows, M, K, ruler), x, dy), dxTruth), 'dx by differences');
      const dW = engine.linearBackwardWeight(tdy, tx);
      expect(dW.shape).toEqual([M, K]);
      const dWTruth = dots(transposed(dy, rows, M), transposed(x, rows, K), M, K, rows, R);
      expectWithin(await engine.read(dW), dWTruth, 'dW');
      expectWithin(await engine.read(dW), widened(
        differencesOf((moved) => dots(x, moved, rows, M, K, ruler), W, dy), dWTruth), 'dW by differences');
    }, 50));

  it('adds a bias to each row, and the gradient of the bias is the sum over the rows', () =>
    holds(drawn, async ({ shape, K, M, seed }, engine) => {
      const rows = count(shape);
      const numbers = draw(seed, precision);
      const [x, W, b, dy] = [numbers.real(rows * K), numbers.real(M * K), numbers.real(M), numbers.real(rows * M)];
      const y = engine.linear(engine.tensor(x, [...shape, K]), engine.tensor(W, [M, K]), engine.tensor(b, [M]));
      const truth = dots(x, W, rows, M, K, R).map((dot, n) => R.add(dot, exact(b[n % M])));
      expectWithin(await engine.read(y), truth, 'y');
      const db = engine.linearBackwardBias(engine.tensor(dy, [...shape, M]));
      expect(db.shape).toEqual([M]);
      const sums = Array.from(b, (_, m) => R.sum(Array.from({ length: rows }, (_, r) => exact(dy[r * M + m]))));
      expectWithin(await engine.read(db), sums, 'db');
    }, 50));

  it('refuses a bias that is not one number for each row of the weight', () => {
    const [x, W] = [engine().zeros([2, 3]), engine().zeros([4, 3])];
    expect(() => engine().linear(x, W, engine().zeros([3]))).toThrow(/^bias is \[3\] but must be \[4\]/);
    expect(() => engine().linear(x, W, engine().zeros([1, 4]))).toThrow(ShapeError);
  });

  it('is right for larger products of several tiles and panels', () =>
    holds(fc.tuple(fc.constantFrom(1, 4, 6), fc.constantFrom(63, 600, 2104), seeds), async (drawn, engine) => {
      const [rows, K, seed] = drawn;
      const M = 17;
      const numbers = draw(seed, precision);
      const [x, W] = [numbers.real(rows * K), numbers.real(M * K)];
      const y = engine.linear(engine.tensor(x, [rows, K]), engine.tensor(W, [M, K]));
      expectWithin(await engine.read(y), dots(x, W, rows, M, K, R), 'y');
    }, 8));

  it('refuses a weight whose width is not that of the input', () => {
    const zeros = (...shape: number[]) => engine().zeros(shape);
    expect(() => engine().linear(zeros(2, 3), zeros(4, 2))).toThrow(ShapeError);
    expect(() => engine().linear(zeros(2, 3), zeros(3))).toThrow(ShapeError);
    expect(() => engine().linearBackwardInput(zeros(2, 3), zeros(4, 3))).toThrow(ShapeError);
    expect(() => engine().linearBackwardWeight(zeros(2, 3), zeros(3, 3))).toThrow(ShapeError);
  });
}, OPERATIONS);
