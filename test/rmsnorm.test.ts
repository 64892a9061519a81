/** rmsNorm() on every engine: compared with its formula, and its backward with central differences. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ShapeError } from '../src/core/errors.ts';
import { count, leading, seeds } from './support/arbitraries.ts';
import { differencesOf, ruler, widened } from './support/differences.ts';
import { draw } from './support/draw.ts';
import { describeEngines } from './support/engines.ts';
import { type Bounded, exact, expectWithin, Rounding } from './support/tolerance.ts';

describeEngines('rmsNorm()', ({ precision, holds, engine }) => {
  const R = new Rounding(precision);
  const drawn = fc.record({
    shape: leading, D: fc.integer({ min: 1, max: 6 }), epsilon: fc.constantFrom(1e-6, 1e-5, 0.1), seed: seeds,
  });
  /** 1 / sqrt(mean(x²) + epsilon) of the row of element n. */
  const inverse = (x: ArrayLike<number>, row: number, D: number, epsilon: number, A: Rounding): Bounded => {
    const squares = Array.from({ length: D }, (_, c) => A.multiply(exact(x[row * D + c]), exact(x[row * D + c])));
    return A.divide(exact(1), A.sqrt(A.add(A.divide(A.sum(squares), exact(D)), A.constant(epsilon))));
  };
  const forward = (x: ArrayLike<number>, w: ArrayLike<number>, epsilon: number, A: Rounding): Bounded[] =>
    Array.from({ length: x.length }, (_, n) => {
      const r = inverse(x, Math.floor(n / w.length), w.length, epsilon, A);
      return A.multiply(A.multiply(exact(x[n]), r), exact(w[n % w.length]));
    });
  /** dx = r u - x r³ mean(u x) with u = dy w; dw = sum of dy x r. */
  const backwardOf = (
    x: ArrayLike<number>, w: ArrayLike<number>, dy: ArrayLike<number>, epsilon: number,
  ): { dx: Bounded[]; dWeight: Bounded[] } => {
    const D = w.length;
    const dx = Array.from(x, (_, n) => {
      const row = Math.floor(n / D);
      const r = inverse(x, row, D, epsilon, R);
      const u = (c: number): Bounded => R.multiply(exact(dy[row * D + c]), exact(w[c]));
      const products = Array.from({ length: D }, (_, c) => R.multiply(u(c), exact(x[row * D + c])));
      const mean = R.divide(R.sum(products), exact(D));
      const cubed = R.multiply(R.multiply(R.multiply(r, r), r), R.multiply(exact(x[n]), mean));
      return R.subtract(R.multiply(r, u(n % D)), cubed);
    });
    const dWeight = Array.from(w, (_, c) => R.sum(Array.from({ length: x.length / D }, (_, row) =>
      R.multiply(R.multiply(exact(dy[row * D + c]), exact(x[row * D + c])), inverse(x, row, D, epsilon, R)))));
    return { dx, dWeight };
  };

  it('divides by the root of the mean square, and its backward equals central differences', () =>
    holds(drawn, async ({ shape, D, epsilon, seed }, engine) => {
      const numbers = draw(seed, precision);
      // Away from 0, since differences with h = 2^-10 would be wrong near a single tiny element.
      const x = numbers.real(count(shape) * D, 0.25, 2).map((a, n) => (n % 2 ? -a : a));
      const [w, dy] = [numbers.real(D), numbers.real(x.length)];
      const [tx, tw, tdy] = [engine.tensor(x, [...shape, D]), engine.tensor(w, [D]), engine.tensor(dy, [...shape, D])];
      const y = engine.rmsNorm(tx, tw, epsilon);
      expect(y.shape).toEqual([...shape, D]);
      expectWithin(await engine.read(y), forward(x, w, epsilon, R), 'y');
      const { dx, dWeight } = engine.rmsNormBackward(tdy, tx, tw, epsilon);
      const { dx: dxTruth, dWeight: dwTruth } = backwardOf(x, w, dy, epsilon);
      const byDifferences = {
        dx: differencesOf((moved) => forward(moved, w, epsilon, ruler), x, dy),
        dWeight: differencesOf((moved) => forward(x, moved, epsilon, ruler), w, dy),
      };
      expectWithin(await engine.read(dx), widened(byDifferences.dx, dxTruth), 'dx');
      expectWithin(await engine.read(dWeight), widened(byDifferences.dWeight, dwTruth), 'dWeight');
    }, 50));

  it('is right, with its backward, for numbers whose squares are beyond the range of the precision', async () => {
    const D = 5;
    const [least, most] = precision === 'float32' ? [1e14, 3e38] : [1e100, 1e150];
    const shape = [1, 0.7, -0.4, 1e-9, 0.01];
    const rows = Array.from({ length: 9 }, (_, n) => least * (most / least) ** (n / 8));
    const rounded = precision === 'float32' ? Math.fround : (a: number) => a;
    const x = Float64Array.from(rows.flatMap((size) => shape.map((a) => a * size)), rounded);
    const [w, dy] = [Float64Array.of(1, -2, 0.5, 3, 1), x.map((_, n) => Math.fround(Math.sin(n)))];
    const use = engine();
    const [tx, tw, tdy] = [use.tensor(x, [9, D]), use.tensor(w, [D]), use.tensor(dy, [9, D])];
    const y = await use.read(use.rmsNorm(tx, tw, 1e-5));
    const { dx, dWeight } = use.rmsNormBackward(tdy, tx, tw, 1e-5);
    const [gradient, own] = [await use.read(dx), await use.read(dWeight)];
    // Divided by a power of two, the numbers are ordinary and the norm is the same, since epsilon is negligible.
    const ordinary = Array.from(rows, (size) => 2 ** -Math.floor(Math.log2(size)));
    const small = x.map((a, n) => a * ordinary[Math.floor(n / D)]);
    expectWithin(y, forward(small, w, 0, R), 'y');
    const { dx: dxTruth, dWeight: dwTruth } = backwardOf(small, w, dy, 0);
    expectWithin(gradient, dxTruth.map(({ value, error }, n) => {
      const scale = ordinary[Math.floor(n / D)];
      return { value: value * scale, error: error * scale + R.tiny };
    }), 'dx');
    expectWithin(own, dwTruth, 'dWeight');
  });

  if (precision === 'float64') it('refuses numbers whose squares overflow, instead of giving 0', () => {
    const [x, w] = [engine().tensor([1, 1, 1, 2e200], [2, 2]), engine().tensor([1, 1], [2])];
    const refusal = /^x holds 2e\+200 in row 1, whose square overflows: look for what made it so large$/;
    expect(() => engine().rmsNorm(x, w, 1e-5)).toThrow(refusal);
    expect(() => engine().rmsNormBackward(x, x, w, 1e-5)).toThrow(refusal);
  });

  it('turns a row of zeros into zeros', async () => {
    const y = engine().rmsNorm(engine().zeros([2, 3]), engine().tensor([1, 2, 3], [3]), 1e-5);
    expect([...await engine().read(y)]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('refuses a weight of another width', () => {
    expect(() => engine().rmsNorm(engine().zeros([2, 3]), engine().zeros([2]), 1e-5)).toThrow(ShapeError);
    expect(() => engine().rmsNorm(engine().zeros([2, 3]), engine().zeros([1, 3]), 1e-5)).toThrow(ShapeError);
  });
});
