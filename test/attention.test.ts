/** §3 on every engine: values, what is hidden, and what is refused. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ShapeError } from '../src/core/errors.ts';
import { type AttentionProblem, attentionProblem, longFor, type Sizes, sizesFor } from './support/arbitraries.ts';
import { boundedAttention } from './support/bounded.ts';
import { denseMask, FOREVER, mathjsAttention } from './support/dense.ts';
import { draw } from './support/draw.ts';
import { describeEngines, OPERATIONS } from './support/engines.ts';
import { poisoned, spread } from './support/poison.ts';
import { asFloat16, type Bounded, exact, expectSameBits, expectWithin, type Rounding } from './support/tolerance.ts';
import { forwardAndBackward, upload } from './support/upload.ts';

/** The values that mathjs computes, with the bounds of running error analysis. */
function around(values: Float64Array, budget: readonly Bounded[]): Bounded[] {
  return budget.map(({ error }, n) => ({ value: values[n], error }));
}

describeEngines('attention()', ({ precision, R, computes, holds, engine }) => {
  const sizes = sizesFor(computes);

  it('equals a dense mathjs evaluation of out and of the log-sum-exp', () =>
    holds(sizes({ N: 9 }), async (size, engine) => {
      const p = attentionProblem(size, precision);
      const { out, lse } = engine.attention(upload(engine, p));
      const truth = mathjsAttention(p);
      const budget = boundedAttention(p, R);
      expect(out.shape).toEqual([p.B, p.H, p.N, p.d]);
      expect(lse.shape).toEqual([p.B, p.H, p.N]);
      expectWithin(await engine.read(out), around(truth.out, budget.out), 'out');
      expectWithin(await engine.read(lse), around(truth.lse, budget.lse), 'lse');
    }));

  it('equals it for longer sequences of several tiles, too', () =>
    holds(longFor(computes), async (size, engine) => {
      const p = attentionProblem(size, precision);
      const { out, lse } = engine.attention(upload(engine, p));
      const truth = boundedAttention(p, R);
      expectWithin(await engine.read(out), truth.out, 'out');
      expectWithin(await engine.read(lse), truth.lse, 'lse');
    }, 15));

  it('has a budget so small that one extra or missing pair is noticed', () =>
    holds(sizes({ N: 9, B: 1, G: 1 }).filter(({ N, tied }) => N > 1 && !tied), async (size, engine) => {
      // Factors of float16 hide a pair of little weight: there, scores are nearly equal.
      const p = attentionProblem({ ...size, only: 0, reach: size.N }, precision, computes ? 0.25 : 2);
      const last = Int32Array.from(p.last);
      last[0] = 0; // key 0 is hidden from query 1 on
      const { lse } = engine.attention(upload(engine, { ...p, last }));
      const truth = boundedAttention(p, R);
      const got = await engine.read(lse);
      expect(() => expectWithin(got, truth.lse, 'lse')).toThrow(/must be/);
    }));

  it('is plain causal attention when every token is GLOBAL', () =>
    holds(sizes({ N: 9 }), async (size, engine) => {
      const p = attentionProblem({ ...size, only: 0, reach: size.N }, precision);
      expect(denseMask(p.last, p).every((m, n) => m === (n % p.N <= Math.floor(n / p.N) % p.N ? 1 : 0))).toBe(true);
      const { out } = engine.attention(upload(engine, p));
      expectWithin(await engine.read(out), causal(p, R), 'out');
    }));

  it('is bit for bit the same for GLOBAL tokens and for WINDOW tokens whose window covers everything', () =>
    holds(sizes({ N: 9 }), async (size, engine) => {
      const all = await forwardAndBackward(engine, attentionProblem({ ...size, only: 0 }, precision));
      const wide = await forwardAndBackward(engine, attentionProblem({ ...size, only: 2, window: size.N }, precision));
      for (const name of ['out', 'lse', 'dq', 'dk', 'dv'] as const) expectSameBits(wide[name], all[name], name);
    }));

  it('and its backward ignore NaN and infinite keys and values past their lifetime, bit for bit', () =>
    holds(sizes({ N: 9 }), async (size, engine) => {
      const p = attentionProblem(size, precision);
      const marks = draw(size.seed + 1, precision).whole(p.B * p.G * p.N, 4);
      const marked = Uint8Array.from(marks, (n) => (n === 0 ? 1 : 0));
      const clean = await forwardAndBackward(engine, p);
      const dirty = await forwardAndBackward(engine, {
        ...p, k: poisoned(p.k, marked, p.d), v: poisoned(p.v, marked, p.d),
      });
      const reach = spread(p, marked);
      const { B, H, G, N, d } = p;
      const headOf = (row: number): number => {
        const bh = Math.floor(row / N);
        return (Math.floor(bh / H) * G + Math.floor((bh % H) / (H / G))) * N + (row % N);
      };
      for (let row = 0; row < B * H * N; row++) {
        if (reach.queries[headOf(row)]) continue;
        for (const name of ['out', 'dq'] as const) {
          const part = (x: ArrayLike<number>): number[] => Array.from({ length: d }, (_, n) => x[row * d + n]);
          expectSameBits(part(dirty[name]), part(clean[name]), `${name} of query row ${row}`);
        }
        expectSameBits([dirty.lse[row]], [clean.lse[row]], `lse of query row ${row}`);
      }
      for (let row = 0; row < B * G * N; row++) {
        if (reach.keys[row]) continue;
        for (const name of ['dk', 'dv'] as const) {
          const part = (x: ArrayLike<number>): number[] => Array.from({ length: d }, (_, n) => x[row * d + n]);
          expectSameBits(part(dirty[name]), part(clean[name]), `${name} of key row ${row}`);
        }
      }
    }));

  it('reads a WINDOW token only in its own row if W = 0, whatever its values', async () => {
    const size: Sizes = { B: 1, G: 1, group: 2, H: 2, N: 5, d: 2, window: 0, chunk: 1, seed: 7, only: 2, tied: false };
    const p = attentionProblem(size, precision);
    const marked = Uint8Array.of(0, 0, 1, 0, 0);
    const clean = await forwardAndBackward(engine(), p);
    const dirty = await forwardAndBackward(engine(), {
      ...p, k: poisoned(p.k, marked, 2), v: poisoned(p.v, marked, 2),
    });
    for (const name of ['out', 'dq', 'dk', 'dv'] as const) {
      const rows = (x: ArrayLike<number>): number[] => Array.from(x).filter((_, n) => Math.floor(n / 2) % 5 !== 2);
      expectSameBits(rows(dirty[name]), rows(clean[name]), name);
    }
  });

  it('does not change if a constant is added to all scores of a row, and lse changes by that constant', () =>
    holds(sizes({ N: 9 }), async (size, engine) => {
      const drawn = attentionProblem(size, precision);
      // k + c adds scale * q_i . c to every score of row i; on a grid of 1/16 the addition itself is exact.
      const grid = (x: number): number => Math.round(16 * x) / 16;
      const p = { ...drawn, k: drawn.k.map(grid) };
      const c = draw(size.seed + 2, precision).real(p.d, -3, 3).map(grid);
      const shifted = { ...p, k: p.k.map((x, n) => x + c[n % p.d]) };
      const before = boundedAttention(p, R);
      const after = boundedAttention(shifted, R);
      const { out, lse } = engine.attention(upload(engine, shifted));
      expectWithin(
        await engine.read(out),
        before.out.map(({ value, error }, n) => ({ value, error: error + after.out[n].error })),
        'out',
      );
      expectWithin(
        await engine.read(lse),
        before.lse.map(({ value, error }, row) => {
          const added = R.multiply(R.constant(p.scale), R.sum(
            Array.from(c, (cx, x) => R.multiply(exact(p.q[row * p.d + x]), exact(cx))),
          ));
          return { value: value + added.value, error: error + after.lse[row].error + added.error };
        }),
        'lse',
      );
    }));

  it('does not overflow at logits of 1e4', () =>
    holds(sizes({ N: 7, d: [2] }), async (size, engine) => {
      const drawn = attentionProblem(size, precision, 85); // |scale q . k| up to 2 * 85² / sqrt(2) = 1.02e4
      // Rounded to float16, factors of such scores would leave no budget to speak of: these are not rounded.
      const p = computes ? { ...drawn, q: drawn.q.map(asFloat16), k: drawn.k.map(asFloat16) } : drawn;
      const { out, lse } = engine.attention(upload(engine, p));
      const truth = mathjsAttention(p);
      const budget = boundedAttention(p, R);
      expectWithin(await engine.read(out), around(truth.out, budget.out), 'out');
      expectWithin(await engine.read(lse), around(truth.lse, budget.lse), 'lse');
    }));

  it('gives exactly the one value whose score is 1e4 above the rest', async () => {
    const p: AttentionProblem = {
      B: 1, G: 1, group: 1, H: 1, N: 3, d: 2, window: 0, chunk: 1, seed: 0, only: 0, tied: false, scale: 1,
      q: Float64Array.of(100, 0, 100, 0, 100, 0), k: Float64Array.of(-100, 0, 100, 0, 0, 0),
      v: Float64Array.of(1, 2, 3, 4, 5, 6), dOut: new Float64Array(6), types: new Int32Array(3),
      last: Int32Array.of(FOREVER, FOREVER, FOREVER),
    };
    const { out, lse } = engine().attention(upload(engine(), p));
    expect([...await engine().read(out)]).toEqual([1, 2, 3, 4, 3, 4]);
    expect([...await engine().read(lse)]).toEqual([-10000, 10000, 10000]);
  });

  it('serves H/G query heads from one KV head as if its keys and values were copied for each', () =>
    holds(sizes({ N: 7 }).filter(({ group }) => group > 1), async (size, engine) => {
      const p = attentionProblem(size, precision);
      const { B, G, H, N, d } = p;
      const copy = <T extends Float64Array | Int32Array>(x: T, width: number): number[] =>
        Array.from({ length: B * H * width }, (_, n) => {
          const bh = Math.floor(n / width);
          return x[(Math.floor(bh / H) * G + Math.floor((bh % H) / (H / G))) * width + (n % width)];
        });
      const shared = engine.attention(upload(engine, p));
      const copied = engine.attention(upload(engine, {
        ...p, G: H, group: 1, k: Float64Array.from(copy(p.k, N * d)), v: Float64Array.from(copy(p.v, N * d)),
        last: Int32Array.from(copy(p.last, N)),
      }));
      expectSameBits(await engine.read(shared.out), await engine.read(copied.out), 'out');
      expectSameBits(await engine.read(shared.lse), await engine.read(copied.lse), 'lse');
    }));

  it('computes each sequence of a batch as if it were alone', () =>
    holds(sizes({ N: 7 }).map((size) => ({ ...size, B: 2 })), async (size, engine) => {
      const p = attentionProblem(size, precision);
      const both = await forwardAndBackward(engine, p);
      for (const b of [0, 1]) {
        const half = <T extends Float64Array | Int32Array>(x: T): T =>
          x.slice(b * (x.length / 2), (b + 1) * (x.length / 2)) as T;
        const one = await forwardAndBackward(engine, {
          ...p, B: 1, q: half(p.q), k: half(p.k), v: half(p.v), dOut: half(p.dOut), last: half(p.last),
        });
        for (const name of ['out', 'lse', 'dq', 'dk', 'dv'] as const) {
          expectSameBits(one[name], half(Float64Array.from(both[name])), `${name} of sequence ${b}`);
        }
      }
    }));

  const good = { q: [1, 4, 5, 2], k: [1, 2, 5, 2], v: [1, 2, 5, 2], last: [1, 2, 5] };
  it.each<[string, Partial<typeof good>, RegExp]>([
    ['query heads that are no multiple of the KV heads', { q: [1, 3, 5, 2] }, /query heads \(3\).*KV heads \(2\)/],
    ['q of rank 3', { q: [4, 5, 2] }, /q is \[4,5,2\]/],
    ['k of another batch', { k: [2, 2, 5, 2] }, /k is \[2,2,5,2\]/],
    ['k of another length', { k: [1, 2, 4, 2] }, /k is \[1,2,4,2\]/],
    ['k of another head size', { k: [1, 2, 5, 4] }, /k is \[1,2,5,4\]/],
    ['v unlike k', { v: [1, 2, 5, 3] }, /v is \[1,2,5,3\]/],
    ['last per query head', { last: [1, 4, 5] }, /last is \[1,4,5\]/],
    ['last without heads', { last: [1, 5] }, /last is \[1,5\]/],
    ['no KV heads at all', { k: [1, 0, 5, 2], v: [1, 0, 5, 2], last: [1, 0, 5] }, /KV heads \(0\)/],
  ])('refuses %s with a ShapeError that names the numbers', (_, wrong, message) => {
    const shapes = { ...good, ...wrong };
    const make = (shape: readonly number[]) => engine().zeros(shape);
    const size = shapes.last.reduce((product, n) => product * n, 1);
    const inputs = {
      q: make(shapes.q), k: make(shapes.k), v: make(shapes.v),
      last: engine().integers(new Int32Array(size).fill(FOREVER), shapes.last), scale: 1,
    };
    expect(() => engine().attention(inputs)).toThrow(ShapeError);
    expect(() => engine().attention(inputs)).toThrow(message);
  });

  it('refuses a backward whose out, lse or dOut is not shaped like the forward', () => {
    const size = fc.sample(sizes({ N: 5 }), { numRuns: 1, seed: 1 })[0];
    const p = attentionProblem({ ...size, N: 5 }, precision);
    const inputs = upload(engine(), p);
    const { out, lse } = engine().attention(inputs);
    const dOut = engine().tensor(p.dOut, out.shape);
    const wrong = engine().zeros([1, 1, 1, 1]);
    const flat = engine().zeros([1, 1, 1]);
    expect(() => engine().attentionBackward({ ...inputs, out: wrong, lse, dOut })).toThrow(ShapeError);
    expect(() => engine().attentionBackward({ ...inputs, out, lse: flat, dOut })).toThrow(ShapeError);
    expect(() => engine().attentionBackward({ ...inputs, out, lse, dOut: wrong })).toThrow(ShapeError);
  });
}, OPERATIONS);

/** Softmax over all j <= i, without types or lifetimes. */
function causal(p: AttentionProblem, R: Rounding): Bounded[] {
  const budget = boundedAttention(p, R).out;
  const { G, H, N, d } = p;
  return budget.map(({ error }, n) => {
    const x = n % d;
    const i = Math.floor(n / d) % N;
    const bh = Math.floor(n / (N * d));
    const head = Math.floor(bh / H) * G + Math.floor((bh % H) / (H / G));
    let Z = 0;
    let sum = 0;
    for (let j = 0; j <= i; j++) {
      let s = 0;
      for (let y = 0; y < d; y++) s += p.q[(bh * N + i) * d + y] * p.k[(head * N + j) * d + y];
      Z += Math.exp(s * p.scale);
      sum += Math.exp(s * p.scale) * p.v[(head * N + j) * d + x];
    }
    return { value: sum / Z, error };
  });
}
