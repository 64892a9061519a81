/** AdamW (Loshchilov & Hutter, 2019) over every engine: a known answer, an independent transcription, clipping. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { AdamWOptions, TrainingEngine } from '../src/core/training-engine.ts';
import { ShapeError, ValueError } from '../src/core/errors.ts';
import { seeds } from './support/arbitraries.ts';
import { draw } from './support/draw.ts';
import { describeEngines, scoped } from './support/engines.ts';
import { type Bounded, exact, expectWithin, Rounding } from './support/tolerance.ts';

type Numbers = Omit<AdamWOptions, 'clip' | 'step'>;

/** Algorithm 2 of the paper for one element, line by line, with schedule multiplier 1 and its alpha on both terms. */
class Transcription {
  theta: Bounded;
  m: Bounded = exact(0);
  v: Bounded = exact(0);
  t = 0;

  constructor(theta: number) {
    this.theta = exact(theta);
  }

  step(g: Bounded, { learningRate, beta1, beta2, epsilon, weightDecay }: Numbers, R: Rounding): void {
    this.t++;
    const c = (x: number): Bounded => R.constant(x);
    this.m = R.add(R.multiply(c(beta1), this.m), R.multiply(c(1 - beta1), g));
    this.v = R.add(R.multiply(c(beta2), this.v), R.multiply(c(1 - beta2), R.multiply(g, g)));
    const mHat = R.divide(this.m, c(1 - beta1 ** this.t));
    const vHat = R.divide(this.v, c(1 - beta2 ** this.t));
    const decay = R.multiply(R.multiply(c(learningRate), c(weightDecay)), this.theta);
    // Relative bounds need a square root above 0.
    const root = vHat.value > vHat.error
      ? R.sqrt(vHat)
      : { value: Math.sqrt(vHat.value), error: Math.sqrt(vHat.value + vHat.error) };
    const move = R.multiply(c(learningRate), R.divide(mHat, R.add(root, c(epsilon))));
    this.theta = R.sum([this.theta, { ...move, value: -move.value }, { ...decay, value: -decay.value }]);
  }
}

const numbers: fc.Arbitrary<Numbers> = fc.record({
  learningRate: fc.constantFrom(1e-3, 0.1), beta1: fc.constantFrom(0.9, 0.5, 0), beta2: fc.constantFrom(0.95, 0.999),
  epsilon: fc.constantFrom(1e-8, 1e-3), weightDecay: fc.constantFrom(0, 0.1),
});

const upToFour = fc.integer({ min: 1, max: 4 });

describeEngines('adamW()', ({ precision, holds, engine }) => {
  const R = new Rounding(precision);

  it('gives the answer of two steps computed by hand', () =>
    scoped(engine(), async (engine) => {
      const one = (x: number) => engine.tensor([x], [1]);
      const [theta, m, v] = [one(1), one(0), one(0)];
      const options = { learningRate: 0.125, beta1: 0.5, beta2: 0.75, epsilon: 1, weightDecay: 0.5 };
      const budget = new Transcription(1);
      const expectState = async (g: number, byHand: readonly [number, number, number], step: number): Promise<void> => {
        engine.adamW(theta, one(g), m, v, { ...options, step });
        budget.step(exact(g), options, R);
        const errors = [budget.theta, budget.m, budget.v];
        for (const [n, x] of [theta, m, v].entries()) {
          const truth = [{ value: byHand[n], error: errors[n].error }];
          expectWithin(await engine.read(x), truth, `${['theta', 'm', 'v'][n]} of step ${step}`);
        }
      };
      // g = 1: m = 1/2, m^ = (1/2)/(1/2) = 1; v = 1/4, v^ = (1/4)/(1/4) = 1;
      // theta = 1 - 1/8 (1/(1 + 1) + 1/2) = 7/8.
      await expectState(1, [7 / 8, 1 / 2, 1 / 4], 1);
      // g = -1: m = 1/4 - 1/2 = -1/4, m^ = (-1/4)/(3/4) = -1/3; v = 3/16 + 1/4 = 7/16, v^ = (7/16)/(7/16) = 1;
      // theta = 7/8 - 1/8 (-1/3 / 2 + 7/16) = 7/8 - 1/8 * 13/48 = 323/384.
      await expectState(-1, [323 / 384, -1 / 4, 7 / 16], 2);
    }));

  it('equals an independent transcription over several steps, and leaves the gradient alone', () =>
    holds(
      fc.record({ numbers, length: upToFour, steps: upToFour, seed: seeds }),
      async ({ numbers, length, steps, seed }, engine) => {
        const data = draw(seed, precision);
        const theta = data.real(length);
        const truth = Array.from(theta, (x) => new Transcription(x));
        const [parameter, m, v] = [engine.tensor(theta, [length]), engine.zeros([length]), engine.zeros([length])];
        for (let step = 1; step <= steps; step++) {
          // Away from 0, near which m^ / sqrt(v^) amplifies the rounding of v without bound.
          const g = data.real(length, 0.25, 2).map((x, n) => ((n + step) % 3 ? x : -x));
          const gradient = engine.tensor(g, [length]);
          engine.adamW(parameter, gradient, m, v, { ...numbers, step });
          truth.forEach((each, n) => each.step(exact(g[n]), numbers, R));
          expect([...await engine.read(gradient)]).toEqual([...g]);
        }
        expectWithin(await engine.read(parameter), truth.map((each) => each.theta), 'parameter');
        expectWithin(await engine.read(m), truth.map((each) => each.m), 'm');
        expectWithin(await engine.read(v), truth.map((each) => each.v), 'v');
      },
    ));

  it('only shrinks weights by the decay if every gradient is zero', () =>
    scoped(engine(), async (engine) => {
      const [theta, zero] = [engine.tensor([4, -2], [2]), () => engine.zeros([2])];
      engine.adamW(theta, zero(), zero(), zero(), {
        learningRate: 0.5, beta1: 0.5, beta2: 0.5, epsilon: 1, weightDecay: 0.25, step: 1,
      });
      expect([...await engine.read(theta)]).toEqual([3.5, -1.75]);
    }));

  const noMomentum = { learningRate: 1, beta1: 0, beta2: 0, epsilon: 1, weightDecay: 0 };

  async function clippedStep(engine: TrainingEngine, g: Float64Array, maxNorm: number): Promise<ArrayLike<number>[]> {
    const gradient = engine.tensor(g, [g.length]);
    const [theta, m, v] = [engine.zeros([g.length]), engine.zeros([g.length]), engine.zeros([g.length])];
    engine.adamW(theta, gradient, m, v, {
      ...noMomentum, step: 1,
      clip: { squaredNorm: engine.sumOfSquares([gradient]), maxNorm },
    });
    return [await engine.read(m), await engine.read(theta)];
  }

  it('scales the gradient to the norm limit when it is longer, and not when it is shorter', () =>
    scoped(engine(), async (engine) => {
      // |(3, 4)| = 5; with beta1 = 0, m is the clipped gradient.
      const [long] = await clippedStep(engine, Float64Array.of(3, 4), 1);
      const norm = R.sqrt(R.sum([3, 4].map((x) => R.multiply(exact(x), exact(x)))));
      const clipped = [3, 4].map((x) => {
        const one = new Transcription(0);
        one.step(R.multiply(exact(x), R.divide(exact(1), norm)), noMomentum, R);
        return { value: x / 5, error: one.m.error };
      });
      expectWithin(long, clipped, 'clipped');
      const [short] = await clippedStep(engine, Float64Array.of(3, 4), 10);
      expect([...Array.from(short)]).toEqual([3, 4]);
      const [none, still] = await clippedStep(engine, Float64Array.of(0, 0), 1);
      expect([...Array.from(none), ...Array.from(still, (x) => x + 0)]).toEqual([0, 0, 0, 0]);
    }));

  it('divides by the scale of the gradients, unless they are clipped to less', () =>
    scoped(engine(), async (engine) => {
      for (const [scale, maxNorm, expected] of [[8, 10, [3, 4]], [8, 2.5, [1.5, 2]], [1, 2.5, [1.5, 2]]] as const) {
        const gradient = engine.tensor([3 * scale, 4 * scale], [2]);
        const [theta, m, v] = [engine.zeros([2]), engine.zeros([2]), engine.zeros([2])];
        engine.adamW(theta, gradient, m, v, {
          ...noMomentum, step: 1, clip: { squaredNorm: engine.tensor([25 * scale ** 2], [1]), maxNorm, scale },
        });
        expect([...await engine.read(m)]).toEqual(expected); // powers of two and small whole numbers: no rounding
      }
    }));

  it('changes nothing if its guard is NaN or infinite, and works as without one otherwise', () =>
    scoped(engine(), async (engine) => {
      const bars = [[NaN, false], [Infinity, false], [-Infinity, false], [0, true], [3e38, true]] as const;
      for (const [bar, changes] of bars) {
        const state = [[1, 2], [0.5, -1], [4, 8]].map((data) => engine.tensor(data, [2]));
        const gradient = engine.tensor(changes ? [1, -1] : [NaN, Infinity], [2]);
        engine.adamW(state[0], gradient, state[1], state[2], {
          ...noMomentum, step: 1, guard: engine.tensor([bar], [1]),
          clip: { squaredNorm: engine.tensor([changes ? 2 : NaN], [1]), maxNorm: 100 },
        });
        const found = await Promise.all(state.map(async (x) => [...await engine.read(x)]));
        // beta1 = beta2 = 0, epsilon = 1: m = g, v = g², theta - g / (|g| + 1).
        expect(found, `${bar}`).toEqual(changes ? [[0.5, 2.5], [1, -1], [1, 1]] : [[1, 2], [0.5, -1], [4, 8]]);
      }
    }));

  it('clips by the norm over all tensors together', () =>
    holds(fc.record({ lengths: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }), seed: seeds }),
      async ({ lengths, seed }, engine) => {
        const data = draw(seed, precision);
        const all = lengths.map((length) => data.real(length));
        const norm = engine.sumOfSquares(all.map((x) => engine.tensor(x, [x.length])));
        const squares = all.flatMap((x) => Array.from(x, (each) => R.multiply(exact(each), exact(each))));
        expect(norm.shape).toEqual([1]);
        expectWithin(await engine.read(norm), [R.sum(squares)], 'sum of squares');
      }));

  it('refuses a gradient or state of another shape, and step 0', () => {
    const zeros = (...shape: number[]) => engine().zeros(shape);
    const options = { learningRate: 0.1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, step: 1 };
    expect(() => engine().adamW(zeros(2), zeros(3), zeros(2), zeros(2), options)).toThrow(ShapeError);
    expect(() => engine().adamW(zeros(2), zeros(2), zeros(1, 2), zeros(2), options)).toThrow(ShapeError);
    expect(() => engine().adamW(zeros(2), zeros(2), zeros(2), zeros(1), options)).toThrow(ShapeError);
    expect(() => engine().adamW(zeros(2), zeros(2), zeros(2), zeros(2), { ...options, step: 0 })).toThrow(ValueError);
    const guarded = { ...options, guard: zeros(2) };
    expect(() => engine().adamW(zeros(2), zeros(2), zeros(2), zeros(2), guarded)).toThrow(ShapeError);
    const clip = { squaredNorm: zeros(1), maxNorm: 1, scale: 0 };
    expect(() => engine().adamW(zeros(2), zeros(2), zeros(2), zeros(2), { ...options, clip })).toThrow(ValueError);
  });
});
