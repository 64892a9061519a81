/** The model's layers on every engine: forwards compared with their formulas, backwards with central differences. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ShapeError, ValueError } from '../src/core/errors.ts';
import { count, leading, seeds } from './support/arbitraries.ts';
import { differencesOf, ruler, widened } from './support/differences.ts';
import { draw } from './support/draw.ts';
import { describeEngines } from './support/engines.ts';
import { type Bounded, exact, expectSameBits, expectWithin, Rounding } from './support/tolerance.ts';

function dots(x: ArrayLike<number>, W: ArrayLike<number>, rows: number, M: number, K: number, R: Rounding): Bounded[] {
  return Array.from({ length: rows * M }, (_, n) => R.sum(Array.from({ length: K }, (_, k) =>
    R.multiply(exact(x[Math.floor(n / M) * K + k]), exact(W[(n % M) * K + k])))));
}

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

describeEngines('linear()', ({ precision, holds, engine }) => {
  const R = new Rounding(precision);
  // Up to 9, so that tiles of 4 and 8 are not always full.
  const size = fc.integer({ min: 1, max: 9 });
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
    holds(fc.tuple(fc.constantFrom(1, 4, 6), fc.constantFrom(63, 600, 2100), seeds), async (drawn, engine) => {
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
});

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
