/** The loss on every engine, compared with its formula, and its backward with central differences. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Tensor } from '../src/core/engine.ts';
import { ShapeError, ValueError } from '../src/core/errors.ts';
import { count, leading, seeds } from './support/arbitraries.ts';
import { logSumExp } from './support/bounded.ts';
import { differencesOf, ruler, widened } from './support/differences.ts';
import { draw } from './support/draw.ts';
import { describeEngines } from './support/engines.ts';
import { type Bounded, exact, expectWithin, Rounding } from './support/tolerance.ts';

describeEngines('crossEntropy()', ({ precision, holds, engine }) => {
  const R = new Rounding(precision);
  const drawn = fc.record({
    shape: leading, V: fc.integer({ min: 1, max: 6 }), largest: fc.constantFrom(0, 3, 1e4), seed: seeds,
    weight: fc.constantFrom(1, 0.25, -2),
  });
  const losses = (z: ArrayLike<number>, targets: ArrayLike<number>, A: Rounding): Bounded[] => {
    const V = z.length / targets.length;
    return Array.from({ length: targets.length }, (_, n) => {
      if (targets[n] < 0) return exact(0);
      const row = Array.from({ length: V }, (_, c) => exact(z[n * V + c]));
      return A.subtract(logSumExp(A, row), row[targets[n]]);
    });
  };
  const fill = ({ shape, V, largest, seed }: { shape: number[]; V: number; largest: number; seed: number }) => {
    const numbers = draw(seed, precision);
    const z = numbers.real(count(shape) * V, -largest, largest);
    return { z, targets: numbers.whole(count(shape), V + 1).map((t) => t - 1) };
  };

  it('is log-sum-exp minus the target\'s logit in nats, 0 without a target, and does not overflow at 1e4', () =>
    holds(drawn, async (p, engine) => {
      const { z, targets } = fill(p);
      const loss = engine.crossEntropy(engine.tensor(z, [...p.shape, p.V]), engine.integers(targets, p.shape));
      expect(loss.shape).toEqual(p.shape);
      expectWithin(await engine.read(loss), losses(z, targets, R), 'loss');
    }));

  it('has a backward that is weight times softmax minus one-hot, and equals central differences', () =>
    holds(drawn, async (p, engine) => {
      const { z, targets } = fill(p);
      const got = await engine.read(engine.crossEntropyBackward(
        engine.tensor(z, [...p.shape, p.V]), engine.integers(targets, p.shape), p.weight,
      ));
      const budget = Array.from(z, (_, at) => {
        const n = Math.floor(at / p.V);
        if (targets[n] < 0) return exact(0);
        const lse = logSumExp(R, Array.from({ length: p.V }, (_, c) => exact(z[n * p.V + c])));
        const y = R.multiply(exact(p.weight), R.exp(R.subtract(exact(z[at]), lse)));
        return R.subtract(y, exact(at % p.V === targets[n] ? p.weight : 0));
      });
      expectWithin(got, budget, 'dLogits');
      if (p.largest > 100) return; // at 1e4 the loss is piecewise linear, and a difference may span a kink
      const weights = Array.from(targets, () => p.weight);
      const differences = differencesOf((moved) => losses(moved, targets, ruler), z, weights);
      expectWithin(got, widened(differences, budget), 'dLogits by differences');
    }));

  it.each([-2, 3])('refuses target %d of a vocabulary of 3 with a ValueError', async (target) => {
    const run = (op: (logits: Tensor, targets: Tensor) => Tensor) => async () =>
      engine().read(op(engine().zeros([2, 3]), engine().integers([0, target], [2])));
    await expect(run((z, t) => engine().crossEntropy(z, t))()).rejects.toThrow(ValueError);
    await expect(run((z, t) => engine().crossEntropyBackward(z, t, 1))()).rejects.toThrow(ValueError);
  });

  it('refuses targets that are not one per row of logits', () => {
    expect(() => engine().crossEntropy(engine().zeros([2, 3]), engine().integers([0, 0, 0], [3]))).toThrow(ShapeError);
  });
});
