/** swiglu() on every engine: compared with its formula, and its backward with central differences. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ShapeError } from '../src/core/errors.ts';
import { count, leading, seeds } from './support/arbitraries.ts';
import { differencesOf, ruler, widened } from './support/differences.ts';
import { draw } from './support/draw.ts';
import { describeEngines } from './support/engines.ts';
import { type Bounded, exact, expectWithin, Rounding } from './support/tolerance.ts';

describeEngines('swiglu()', ({ precision, holds, engine }) => {
  const R = new Rounding(precision);
  const sigmoid = (x: number, A: Rounding): Bounded => A.divide(exact(1), A.add(exact(1), A.exp(exact(-x))));
  const forward = (gate: ArrayLike<number>, up: ArrayLike<number>, A: Rounding): Bounded[] =>
    Array.from({ length: gate.length }, (_, n) =>
      A.multiply(A.multiply(exact(gate[n]), sigmoid(gate[n], A)), exact(up[n])));

  it('is gate * sigmoid(gate) * up, and its backward equals central differences', () =>
    holds(fc.record({ shape: leading, seed: seeds }), async ({ shape, seed }, engine) => {
      const numbers = draw(seed, precision);
      const gate = numbers.real(count(shape), -6, 6);
      const [up, dy] = [numbers.real(count(shape)), numbers.real(count(shape))];
      const [tg, tu] = [engine.tensor(gate, shape), engine.tensor(up, shape)];
      expectWithin(await engine.read(engine.swiglu(tg, tu)), forward(gate, up, R), 'y');
      const { dGate, dUp } = engine.swigluBackward(engine.tensor(dy, shape), tg, tu);
      const budget = Array.from(gate, (x, n) => {
        const s = sigmoid(x, R);
        const slope = R.multiply(s, R.add(exact(1), R.multiply(exact(x), R.subtract(exact(1), s))));
        return {
          gate: R.multiply(R.multiply(exact(dy[n]), exact(up[n])), slope),
          up: R.multiply(exact(dy[n]), R.multiply(exact(x), s)),
        };
      });
      const byGate = differencesOf((moved) => forward(moved, up, ruler), gate, dy);
      const byUp = differencesOf((moved) => forward(gate, moved, ruler), up, dy);
      expectWithin(await engine.read(dGate), widened(byGate, budget.map((each) => each.gate)), 'dGate');
      expectWithin(await engine.read(dUp), widened(byUp, budget.map((each) => each.up)), 'dUp');
    }));

  it('stays finite at gates of 1e4, where exp overflows', async () => {
    const [gate, up] = [engine().tensor([1e4, -1e4], [2]), engine().tensor([1, 1], [2])];
    expect(Array.from(await engine().read(engine().swiglu(gate, up)), (y) => y + 0)).toEqual([1e4, 0]);
    const { dGate, dUp } = engine().swigluBackward(up, gate, up);
    expect(Array.from(await engine().read(dGate), (y) => y + 0)).toEqual([1, 0]);
    expect(Array.from(await engine().read(dUp), (y) => y + 0)).toEqual([1e4, 0]);
  });

  it('refuses gate and up of different shapes', () => {
    expect(() => engine().swiglu(engine().zeros([2, 3]), engine().zeros([3, 2]))).toThrow(ShapeError);
  });
});
