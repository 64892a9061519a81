/** argmax() on every engine: the largest of each row, however long, and rows that have none. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ShapeError } from '../src/core/errors.ts';
import { count, leading, seeds } from './support/arbitraries.ts';
import { draw } from './support/draw.ts';
import { describeEngines } from './support/engines.ts';

describeEngines('argmax()', ({ precision, holds, engine }) => {
  const drawn = fc.record({
    shape: leading, V: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 60, max: 5000 })),
    bad: fc.constantFrom(undefined, undefined, NaN, Infinity, -Infinity), values: fc.constantFrom(1, 3, 1000),
    seed: seeds,
  });

  it('gives the lowest index of the largest element, and -1 for rows in which one is not finite', () =>
    holds(drawn, async ({ shape, V, values, bad, seed }, engine) => {
      const numbers = draw(seed, precision);
      const rows = count(shape);
      // Few different values give many ties.
      const data = Float64Array.from(numbers.whole(rows * V, values), (x) => x - 1);
      if (bad !== undefined) data[numbers.whole(1, rows * V)[0]] = bad;
      const expected = Array.from({ length: rows }, (_, row) => {
        const each = [...data.subarray(row * V, (row + 1) * V)];
        return each.every(Number.isFinite) ? each.indexOf(Math.max(...each)) : -1;
      });
      const best = engine.argmax(engine.tensor(data, [...shape, V]));
      expect([best.kind, best.shape]).toEqual(['integer', shape]);
      expect([...await engine.readIntegers(best)]).toEqual(expected);
    }, 80));

  it('compares the largest and the smallest numbers of the precision', async () => {
    const most = precision === 'float32' ? (2 - 2 ** -23) * 2 ** 127 : Number.MAX_VALUE;
    const rows = [[-most, most, 0], [-most, -most, -most], [0, -0, -1], [-1, 0, -0]];
    const best = engine().argmax(engine().tensor(rows.flat(), [4, 3]));
    expect([...await engine().readIntegers(best)]).toEqual([1, 0, 0, 1]);
  });

  it('refuses rows without elements, and a tensor without rows', () => {
    expect(() => engine().argmax(engine().zeros([2, 0]))).toThrow(ShapeError);
    expect(() => engine().argmax(engine().zeros([]))).toThrow(ShapeError);
  });
});
