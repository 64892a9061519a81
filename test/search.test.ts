/** §6 on every engine: choosing types, and the straight-through gradient. */
import fc from 'fast-check';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';
import { describe, expect, it } from 'vitest';
import type { Engine } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { ShapeError, ValueError } from '../src/core/errors.ts';
import { fastGumbel } from '../src/core/gumbel.ts';
import { drawGumbel, gumbelNoise, plainGumbel, Stream } from '../src/core/random.ts';
import { seeds } from './support/arbitraries.ts';
import { centralDifferences, ruler, widened } from './support/differences.ts';
import { draw } from './support/draw.ts';
import { describeEngines, scoped } from './support/engines.ts';
import { type Bounded, exact, expectSameBits, expectWithin, Rounding } from './support/tolerance.ts';

const problems = fc.record({
  B: fc.integer({ min: 1, max: 2 }), G: fc.integer({ min: 1, max: 3 }), chunks: fc.integer({ min: 1, max: 6 }),
  temperature: fc.constantFrom(0.5, 1, 2), noisy: fc.boolean(), forced: fc.boolean(), seed: seeds,
});
type Drawn = typeof problems extends fc.Arbitrary<infer T> ? T : never;

/** Scores and noise in multiples of 1/4, so that sums are exact in every precision and ties are common. */
function fill({ B, G, chunks, noisy, forced, seed }: Drawn, precision: Engine['precision']) {
  const numbers = draw(seed, precision);
  const length = B * G * chunks * 3;
  const grid = (): Float64Array => numbers.real(length, -2, 2).map((x) => Math.round(4 * x) / 4);
  return {
    scores: grid(),
    noise: noisy ? grid() : new Float64Array(length),
    dTypes: numbers.real(length),
    force: forced ? numbers.whole(B * chunks, 2) : new Int32Array(B * chunks),
    isForced(t: number): boolean {
      return this.force[Math.floor(t / (G * chunks)) * chunks + (t % chunks)] === 1;
    },
  };
}

/** softmax of three bounded numbers divided by tau. */
function softmax(R: Rounding, z: readonly Bounded[], tau: number): Bounded[] {
  const m = R.max(z);
  const e = z.map((x) => R.exp(R.divide(R.subtract(x, m), exact(tau))));
  return e.map((x) => R.divide(x, R.sum(e)));
}

function triples(x: ArrayLike<number>): number[][] {
  return Array.from({ length: x.length / 3 }, (_, t) => [x[3 * t], x[3 * t + 1], x[3 * t + 2]]);
}

// Quantiles 0.999 of the chi-squared distribution with 2 and with 31 degrees of freedom.
const CHI_SQUARED_2 = 13.816;
const CHI_SQUARED_31 = 61.098;

function chiSquared(counts: readonly number[], expected: readonly number[]): number {
  return counts.reduce((sum, n, bin) => sum + (n - expected[bin]) ** 2 / expected[bin], 0);
}

describe('gumbelNoise()', () => {
  /** The counts in 32 bins of exp(-exp(-u)), which is uniform if u is Gumbel(0,1). */
  const bins = (noise: Iterable<number>): number[] => {
    const counts = new Array<number>(32).fill(0);
    for (const u of noise) counts[Math.floor(32 * Math.exp(-Math.exp(-u)))]++;
    return counts;
  };
  const even = (draws: number): number[] => new Array<number>(32).fill(draws / 32);

  it('follows the Gumbel(0,1) distribution', () => {
    const noise = gumbelNoise(1, [Stream.NOISE, 0], 64_000);
    expect(noise.every(Number.isFinite)).toBe(true);
    expect(chiSquared(bins(noise), even(64_000))).toBeLessThan(CHI_SQUARED_31);
  });

  it('does so across streams of consecutive names and across seeds, too', () => {
    const streams = Array.from({ length: 16_000 }, (_, step) => gumbelNoise(1, [Stream.NOISE, step], 1)[0]);
    const seeded = Array.from({ length: 16_000 }, (_, seed) => gumbelNoise(seed, [Stream.NOISE, 0], 1)[0]);
    expect(chiSquared(bins(streams), even(16_000))).toBeLessThan(CHI_SQUARED_31);
    expect(chiSquared(bins(seeded), even(16_000))).toBeLessThan(CHI_SQUARED_31);
  });

  it('has the same bits by WebAssembly as without it', () => {
    for (const length of [0, 1, 2, 3, 4095, 4096, 4097, 10_001]) {
      for (let seed = 0; seed < 20; seed++) {
        const stream = [Stream.NOISE, seed, length];
        const plain = plainGumbel(seed, stream, new Float64Array(length));
        const drawn = gumbelNoise(seed, stream, length);
        expectSameBits(drawn, plain, `${length} numbers of seed ${seed}`);
        const narrow = new Float32Array(length);
        drawGumbel(seed, stream, narrow);
        expectSameBits(narrow, Float32Array.from(plain), `${length} numbers of seed ${seed} in float32`);
      }
    }
  });

  it('draws again where a uniform number is 0, whose logarithm is infinite', () => {
    const zeroFirst = [5, 0, 5 ^ (1 << 22), 0];
    const rng = xoroshiro128plusFromState(zeroFirst);
    expect(uniformFloat64(rng)).toBe(0);
    const [noise, later] = [new Float64Array(3), new Float64Array(3)];
    expect(fastGumbel(zeroFirst, noise)).toBe(true);
    expect(fastGumbel(rng.getState(), later)).toBe(true);
    expect(noise.every(Number.isFinite)).toBe(true);
    expect(noise).toEqual(later);
  });

  it('is the same for the same name and differs for any other', () => {
    const names: [number, number[]][] = [
      [1, [3, 0]], [1, [3, 1]], [2, [3, 0]], [1, [0, 3]], [1, [3]], [1, [3, 0, 0]], [2 ** 32 + 1, [3, 0]],
    ];
    const all = names.map(([seed, stream]) => gumbelNoise(seed, stream, 8).join());
    expect(new Set(all).size).toBe(names.length);
    expect(names.map(([seed, stream]) => gumbelNoise(seed, stream, 8).join())).toEqual(all);
  });
});

describeEngines('tokenTypes()', ({ precision, holds, engine }) => {
  const R = new Rounding(precision);

  function run(engine: TrainingEngine, p: Drawn, x: ReturnType<typeof fill>) {
    const shape = [p.B, p.G, p.chunks, 3];
    const forceGlobal = p.forced ? { forceGlobal: engine.integers(x.force, [p.B, p.chunks]) } : {};
    const noise = p.noisy ? { noise: engine.tensor(x.noise, shape) } : {};
    const options = { temperature: p.temperature, ...forceGlobal };
    const chosen = engine.tokenTypes(engine.tensor(x.scores, shape), { ...options, ...noise });
    const dTypes = engine.tensor(x.dTypes, shape);
    return { ...chosen, backward: () => engine.tokenTypesBackward(dTypes, chosen.probabilities, options) };
  }

  it('picks the largest of scores + noise, ties to the lowest index, and GLOBAL where it is forced', () =>
    holds(problems, async (p, engine) => {
      const x = fill(p, precision);
      const { types } = run(engine, p, x);
      const expected = triples(x.scores.map((s, n) => s + x.noise[n]))
        .map((z, t) => (x.isForced(t) ? 0 : z.indexOf(Math.max(...z))));
      expect(types.shape).toEqual([p.B, p.G, p.chunks]);
      expect([...await engine.readIntegers(types)]).toEqual(expected);
    }, 100));

  it('gives the probabilities softmax((scores + noise) / temperature)', () =>
    holds(problems, async (p, engine) => {
      const x = fill(p, precision);
      const { probabilities } = run(engine, p, x);
      const truth = triples(x.scores.map((s, n) => s + x.noise[n]))
        .flatMap((z) => softmax(R, z.map(exact), p.temperature));
      expectWithin(await engine.read(probabilities), truth, 'probabilities');
    }));

  it('draws each type with probability softmax(scores) under Gumbel noise, whatever the temperature', async () => {
    const draws = 30_000;
    const scores = [0.5, -1, 1.25];
    const noise = gumbelNoise(20250713, [Stream.NOISE, 1], 3 * draws);
    const exps = scores.map(Math.exp);
    const sum = exps[0] + exps[1] + exps[2];
    await scoped(engine(), async (engine) => {
      const shape = [1, 1, draws, 3];
      const repeated = engine.tensor(Float64Array.from({ length: 3 * draws }, (_, n) => scores[n % 3]), shape);
      const { types } = engine.tokenTypes(repeated, { noise: engine.tensor(noise, shape), temperature: 0.3 });
      const counts = [0, 0, 0];
      for (const type of await engine.readIntegers(types)) counts[type]++;
      expect(chiSquared(counts, exps.map((e) => draws * e / sum))).toBeLessThan(CHI_SQUARED_2);
    });
  });

  it('has a straight-through backward that equals differences of its softmax with the same noise', () =>
    holds(problems, async (p, engine) => {
      const x = fill(p, precision);
      const got = await engine.read(run(engine, p, x).backward());
      const loss = (scores: Float64Array): number => {
        let sum = 0;
        triples(scores.map((s, n) => s + x.noise[n])).forEach((z, t) => {
          if (x.isForced(t)) return;
          const most = Math.max(...z);
          const e = z.map((zc) => Math.exp((zc - most) / p.temperature));
          e.forEach((ec, c) => (sum += x.dTypes[3 * t + c] * ec / (e[0] + e[1] + e[2])));
        });
        return sum;
      };
      // Every summand is a probability (with the rounding of `ruler`) times a cotangent.
      const noisy = triples(x.scores.map((s, n) => s + x.noise[n]));
      const y = (R: Rounding) => noisy.flatMap((z) => softmax(R, z.map(exact), p.temperature));
      const noise = 2 * ruler.sum(y(ruler).map((yc, n) => ruler.multiply(yc, exact(x.dTypes[n])))).error;
      const differences = centralDifferences(loss, x.scores, noise);
      const yR = y(R);
      const budget = yR.map((yc, n) => {
        const t = Math.floor(n / 3);
        const mean = R.sum([0, 1, 2].map((c) => R.multiply(yR[3 * t + c], exact(x.dTypes[3 * t + c]))));
        return R.divide(R.multiply(yc, R.subtract(exact(x.dTypes[n]), mean)), exact(p.temperature));
      });
      expectWithin(got, widened(differences, budget), 'dscores');
      expectSameBits(
        Array.from(got).filter((_, n) => x.isForced(Math.floor(n / 3))).map(Math.abs),
        Array.from(got).filter((_, n) => x.isForced(Math.floor(n / 3))).map(() => 0),
        'dscores of forced tokens',
      );
    }));

  it('does not overflow at scores of 1e4 and temperature 0.01', async () => {
    const scores = engine().tensor([1e4, -1e4, 0, -1e4, 0, 1e4], [1, 1, 2, 3]);
    const { types, probabilities } = engine().tokenTypes(scores, { temperature: 0.01 });
    expect([...await engine().readIntegers(types)]).toEqual([0, 2]);
    expect([...await engine().read(probabilities)]).toEqual([1, 0, 0, 0, 0, 1]);
  });

  it('breaks a tie of all three in favour of GLOBAL and a tie of LOCAL and WINDOW in favour of LOCAL', async () => {
    const scores = engine().tensor([5, 5, 5, 0, 3, 3, 4, 0, 4], [1, 1, 3, 3]);
    const { types } = engine().tokenTypes(scores, { temperature: 1 });
    expect([...await engine().readIntegers(types)]).toEqual([0, 1, 0]);
  });

  // An engine that checks on a device may notice only when something is read back.
  async function choose(scores: number[], noise?: number[]): Promise<unknown> {
    const shape = [1, 1, scores.length / 3, 3];
    const { types } = engine().tokenTypes(engine().tensor(scores, shape), {
      temperature: 1, ...(noise && { noise: engine().tensor(noise, shape) }),
    });
    return engine().readIntegers(types);
  }

  it('refuses NaN scores and NaN noise with a ValueError', async () => {
    await expect(choose([0, 0, 0, 0, NaN, 0])).rejects.toThrow(ValueError);
    await expect(choose([0, 0, 0], [0, 0, NaN])).rejects.toThrow(ValueError);
  });

  it.each([0, -1, NaN, Infinity])('refuses a temperature of %d with a ValueError', (temperature) => {
    expect(() => engine().tokenTypes(engine().zeros([1, 1, 1, 3]), { temperature })).toThrow(ValueError);
  });

  it('refuses scores that are not three per token, and noise or flags of another shape', () => {
    const zeros = (...shape: number[]) => engine().zeros(shape);
    const temperature = 1;
    expect(() => engine().tokenTypes(zeros(1, 1, 2, 4), { temperature })).toThrow(ShapeError);
    expect(() => engine().tokenTypes(zeros(1, 2, 3), { temperature })).toThrow(ShapeError);
    expect(() => engine().tokenTypes(zeros(1, 1, 2, 3), { temperature, noise: zeros(1, 1, 1, 3) })).toThrow(ShapeError);
    const forceGlobal = engine().integers([0, 0, 0], [1, 3]);
    expect(() => engine().tokenTypes(zeros(1, 1, 2, 3), { temperature, forceGlobal })).toThrow(ShapeError);
  });
});
