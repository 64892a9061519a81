/** Pooling of hidden states over chunks (§2, C > 1), at once and in steps of any size. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { DisposedError, ShapeError, ValueError } from '../src/core/errors.ts';
import type { ChunkPool, Pooling, Tensor } from '../src/core/engine.ts';
import { seeds } from './support/arbitraries.ts';
import { draw } from './support/draw.ts';
import { describeEngines } from './support/engines.ts';
import { cases } from './support/thorough.ts';
import { type Bounded, exact, expectSameBits, expectWithin, Rounding } from './support/tolerance.ts';

const drawn = fc.record({
  B: fc.integer({ min: 1, max: 3 }), N: fc.integer({ min: 1, max: 12 }), D: fc.integer({ min: 1, max: 3 }),
  chunk: fc.constantFrom(1, 2, 3, 5, 20), pooling: fc.constantFrom<Pooling>('mean', 'max'), seed: seeds,
});

/** Mean or maximum of columns of the given rows of x [.., D]. */
function pool(x: ArrayLike<number>, rows: readonly number[], D: number, pooling: Pooling, R: Rounding): Bounded[] {
  return Array.from({ length: D }, (_, c) => {
    const column = rows.map((row) => exact(x[row * D + c]));
    return pooling === 'max' ? R.max(column) : R.divide(R.sum(column), exact(rows.length));
  });
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, n) => from + n);
}

describeEngines('poolChunks()', ({ precision, holds, engine }) => {
  const R = new Rounding(precision);

  it('takes the mean or the maximum of every chunk, the last one possibly short', () =>
    holds(drawn, async ({ B, N, D, chunk, pooling, seed }, engine) => {
      const x = draw(seed, precision).real(B * N * D);
      const chunks = Math.ceil(N / chunk);
      const got = engine.poolChunks(engine.tensor(x, [B, N, D]), chunk, pooling);
      expect(got.shape).toEqual([B, chunks, D]);
      const truth = range(0, B).flatMap((b) => range(0, chunks).flatMap((c) =>
        pool(x, range(b * N + c * chunk, b * N + Math.min(N, (c + 1) * chunk)), D, pooling, R)));
      expectWithin(await engine.read(got), truth, 'pooled');
    }));

  it('does not give zero as the maximum of negative numbers', async () => {
    const x = engine().tensor([-3, -2, -5], [1, 3, 1]);
    expect([...await engine().read(engine().poolChunks(x, 2, 'max'))]).toEqual([-2, -5]);
  });

  it('refuses a chunk below 1 or fractional, and x of another rank', () => {
    expect(() => engine().poolChunks(engine().zeros([1, 3, 1]), 0, 'mean')).toThrow(ValueError);
    expect(() => engine().poolChunks(engine().zeros([1, 3, 1]), 1.5, 'mean')).toThrow(ValueError);
    expect(() => engine().poolChunks(engine().zeros([3, 1]), 1, 'mean')).toThrow(ShapeError);
  });
});

describeEngines('a chunk pool', ({ precision, holds, engine }) => {
  const R = new Rounding(precision);
  const steps = fc.array(
    fc.record({
      T: fc.integer({ min: 1, max: 6 }), ragged: fc.boolean(),
      lacks: fc.array(fc.nat(), { minLength: 3, maxLength: 3 }),
    }),
    { minLength: 1, maxLength: 6 },
  );

  it('pools what has arrived of every chunk that a step touches, for every split and any counts', () =>
    holds(fc.tuple(drawn, steps), async ([{ B, D, chunk, pooling, seed }, pushes], engine) => {
      const numbers = draw(seed, precision);
      const chunkPool = engine.createChunkPool(B, D, chunk, pooling);
      const history: number[][] = range(0, B).map(() => []); // [tokens * D] of each sequence
      for (const { T, lacks, ragged } of pushes) {
        const x = numbers.real(B * T * D);
        const counts = range(0, B).map((b) => (ragged ? T - (lacks[b] % (T + 1)) : T));
        const rows = Math.floor((T + chunk - 2) / chunk) + 1;
        const truth: Bounded[] = [];
        for (let b = 0; b < B; b++) {
          const seen = history[b].length / D;
          history[b].push(...x.subarray(b * T * D, (b * T + counts[b]) * D));
          const now = seen + counts[b];
          const first = Math.floor(seen / chunk);
          for (let c = first; c < first + rows; c++) {
            // A chunk that this push reached: some token of it is new.
            const reached = now > Math.max(seen, c * chunk);
            const tokens = range(c * chunk, Math.min(now, (c + 1) * chunk));
            truth.push(...(reached ? pool(history[b], tokens, D, pooling, R) : range(0, D).map(() => exact(0))));
          }
        }
        const got = chunkPool.push(engine.tensor(x, [B, T, D]), ragged ? counts : undefined);
        expect(got.shape).toEqual([B, rows, D]);
        expectWithin(await engine.read(got), truth, 'pooled');
      }
    }, 100));

  it('gives every finished chunk what poolChunks() gives, whatever the split', () =>
    holds(fc.tuple(drawn, fc.array(fc.integer({ min: 1, max: 5 }))), async ([size, splits], engine) => {
      const { B, N, D, chunk, pooling, seed } = size;
      const x = draw(seed, precision).real(B * N * D);
      const chunks = Math.ceil(N / chunk);
      const whole = await engine.read(engine.poolChunks(engine.tensor(x, [B, N, D]), chunk, pooling));
      const chunkPool = engine.createChunkPool(B, D, chunk, pooling);
      const gathered = new Float64Array(whole.length);
      for (let at = 0, n = 0; at < N; n++) {
        const T = Math.min(splits[n] ?? N, N - at);
        const part = range(0, B).flatMap((b) => [...x.subarray((b * N + at) * D, (b * N + at + T) * D)]);
        const y = chunkPool.push(engine.tensor(part, [B, T, D]));
        const values = await engine.read(y);
        const rows = y.shape[1];
        for (let b = 0; b < B; b++) {
          for (let c = Math.floor(at / chunk); c <= Math.floor((at + T - 1) / chunk); c++) {
            const row = (b * rows + c - Math.floor(at / chunk)) * D;
            gathered.set(values.subarray(row, row + D), (b * chunks + c) * D);
          }
        }
        at += T;
      }
      const budget = range(0, B).flatMap((b) => range(0, chunks).flatMap((c) =>
        pool(x, range(b * N + c * chunk, b * N + Math.min(N, (c + 1) * chunk)), D, pooling, R)));
      // Two engine results, each within its budget of the truth.
      expectWithin(gathered, budget.map(({ error }, n) => ({ value: whole[n], error: 2 * error })), 'gathered');
    }));

  it('continues with the same bits in a fork and after restoring its snapshot', () =>
    holds(fc.tuple(drawn, steps, steps), async ([{ B, D, chunk, pooling, seed }, before, after], engine) => {
      const numbers = draw(seed, precision);
      const push = (pools: readonly ChunkPool[], { T, lacks, ragged }: typeof before[number]): Tensor[] => {
        const x = engine.tensor(numbers.real(B * T * D), [B, T, D]);
        const counts = range(0, B).map((b) => (ragged ? T - (lacks[b] % (T + 1)) : T));
        return pools.map((pool) => pool.push(x, counts));
      };
      const first = engine.createChunkPool(B, D, chunk, pooling);
      for (const each of before) push([first], each);
      const restored = engine.createChunkPool(B, D, chunk, pooling);
      push([restored], before[0]);
      restored.restore(await first.snapshot());
      const pools = [first, first.fork(), restored];
      push([first.fork()], before[0]); // this must not affect the original
      for (const each of after) {
        const [truth, ...others] = await Promise.all(push(pools, each).map((rows) => engine.read(rows)));
        for (const other of others) expectSameBits(other, truth, 'pooled');
      }
    }, cases(8, 60)));

  it('refuses snapshots of another layout, and impossible counts', async () => {
    const pool = engine().createChunkPool(1, 2, 3, 'mean');
    pool.push(engine().tensor([1, 2], [1, 1, 2]));
    const good = await pool.snapshot();
    expect(() => pool.restore({ ...good, seen: Int32Array.of(1, 1) })).toThrow(ShapeError);
    expect(() => pool.restore({ ...good, state: Float64Array.of(1) })).toThrow(ShapeError);
    expect(() => pool.restore({ ...good, seen: Int32Array.of(-1) })).toThrow(ValueError);
    expect(await pool.snapshot()).toEqual(good);
  });

  it('refuses another batch or width, counts beyond the step, and sizes that are not whole numbers', () => {
    const chunkPool = engine().createChunkPool(1, 2, 3, 'mean');
    expect(() => chunkPool.push(engine().zeros([2, 1, 2]))).toThrow(ShapeError);
    expect(() => chunkPool.push(engine().zeros([1, 1, 3]))).toThrow(ShapeError);
    expect(() => chunkPool.push(engine().zeros([1, 1, 2]), [1, 1])).toThrow(ShapeError);
    expect(() => chunkPool.push(engine().zeros([1, 1, 2]), [2])).toThrow(ValueError);
    expect(() => chunkPool.push(engine().zeros([1, 2, 2]), [0.5])).toThrow(ValueError);
    expect(() => engine().createChunkPool(1, 2, 0, 'mean')).toThrow(ValueError);
  });

  it('throws a DisposedError if used after dispose(), which may be called twice', async () => {
    const chunkPool = engine().createChunkPool(1, 1, 1, 'mean');
    chunkPool.dispose();
    chunkPool.dispose();
    expect(() => chunkPool.push(engine().zeros([1, 1, 1]))).toThrow(DisposedError);
    expect(() => chunkPool.fork()).toThrow(DisposedError);
    expect(() => chunkPool.restore({ seen: Int32Array.of(0), state: Float64Array.of(0) })).toThrow(DisposedError);
    await expect(chunkPool.snapshot()).rejects.toThrow(DisposedError);
  });
});
