/** A model's own window bounds every lifetime: in lifetimes, attention, gradients, price and cache. */
import { describe, expect, it } from 'vitest';
import { attention, attentionBackward, maskGradient } from '../reference/public/attention.ts';
import { KVCache } from '../reference/public/cache.ts';
import { lifetime } from '../reference/public/lifetime.ts';
import { addMemoryPrice, keptShare } from '../reference/public/price.ts';
import { relaxedMask } from '../reference/public/mask.ts';
import { ValueError } from '../src/core/errors.ts';
import { generator } from '../src/core/random.ts';
import { ndarray, type NDArray } from '../src/core/tensor.ts';

const [N, d] = [13, 4];
const random = generator(5, [1]);
const draw = (...shape: number[]): NDArray =>
  ndarray(Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal()), shape);

describe.each([
  { chunk: 1, reach: 4 }, { chunk: 1, reach: 0 }, { chunk: 3, reach: 5 }, { chunk: 3, reach: 40 },
])('a reach of $reach tokens with chunks of $chunk', ({ chunk, reach }) => {
  const chunks = Math.ceil(N / chunk);
  const types = ndarray(Int32Array.from({ length: 2 * chunks }, () => random.below(3)), [1, 2, chunks]);
  const options = { window: 3, chunk, length: N };
  const [free, last] = [lifetime(types, options), lifetime(types, { ...options, reach })];
  /** Both heads' types of `count` chunks. */
  const typesOf = (count: number, chunkOf: (row: number) => number): NDArray<Int32Array> => ndarray(
    Int32Array.from({ length: 2 * count }, (_, n) => types.data[Math.floor(n / count) * chunks + chunkOf(n % count)]),
    [1, 2, count],
  );
  const [q, k, v, dOut] = [draw(1, 4, N, d), draw(1, 2, N, d), draw(1, 2, N, d), draw(1, 4, N, d)];
  const { out, lse } = attention({ q, k, v, last });
  const backward = { q, k, v, last, out, lse, dOut, types, window: 3, chunk, reach };

  it('ends each lifetime at the earlier of the two', () => {
    expect([...last.data]).toEqual([...free.data].map((end, n) => Math.min(end, (n % N) + reach)));
  });

  it.each([[[N]], [[1]], [[4, 1]]])('is obeyed by the cache in steps of %j: the same outputs, and nothing held beyond it', (sizes) => {
    const cache = new KVCache({ batch: 1, kvHeads: 2, headDim: d, window: 3, chunk, reach, blockSize: 2 });
    for (let at = 0, step = 0; at < N; step++) {
      const T = Math.min(sizes[step % sizes.length], N - at);
      const part = (x: NDArray, heads: number): NDArray => {
        const from = (head: number) => (head * N + at) * d;
        const rows = Array.from({ length: heads }, (_, head) => [...x.data.subarray(from(head), from(head) + T * d)]);
        return ndarray(Float64Array.from(rows.flat()), [1, heads, T, d]);
      };
      const rows = Math.floor((T + chunk - 2) / chunk) + 1;
      const kinds = typesOf(rows, (row) => Math.min(Math.floor(at / chunk) + row, chunks - 1));
      const got = cache.step({ q: part(q, 4), k: part(k, 2), v: part(v, 2), types: kinds });
      // With chunks, later tokens affect earlier lifetimes, so only the rule for what has arrived applies.
      const next = at + T;
      const arrived = lifetime(typesOf(Math.ceil(next / chunk), (c) => c), { window: 3, chunk, reach, length: next });
      for (const g of [0, 1]) {
        const ends = [...arrived.data.subarray(g * next, (g + 1) * next)];
        expect([...cache.positions(0, g)]).toEqual(ends.flatMap((end, j) => (end >= next ? [j] : [])));
      }
      if (chunk === 1) {
        const want = part(out, 4);
        expect(Math.max(...got.data.map((x, n) => Math.abs(x - want.data[n])))).toBeLessThan(1e-12);
      }
      at += T;
    }
  });

  it('removes pairs beyond it from the gradient of types, and does not change the rest', () => {
    for (const rule of ['exact', 'bounded'] as const) {
      const dM = maskGradient({ ...backward, rule }).data;
      // Derivatives of sum dM * M by differences, which are exact because M is affine in each number of one type.
      const soft = new Float64Array(2 * chunks * 3);
      const whole = (n: number) => Math.min((n % chunks) * chunk + chunk - 1, N) < N; // unfinished chunks are GLOBAL
      types.data.forEach((type, n) => (soft[3 * n + (whole(n) ? type : 0)] = 1));
      const value = (x: Float64Array): number => {
        const mask = relaxedMask(ndarray(x, [1, 2, chunks, 3]), options).data;
        let sum = 0;
        for (const [pair, m] of mask.entries()) {
          const [i, j] = [Math.floor(pair / N) % N, pair % N];
          if (i - j <= reach && j <= i) sum += m * dM[pair];
        }
        return sum;
      };
      const { data } = attentionBackward({ ...backward, rule }).dTypes!;
      const differences = soft.map((_, n) => {
        const [up, down] = [soft.slice(), soft.slice()];
        up[n] = up[n] + 1e-3;
        down[n] = down[n] - 1e-3;
        return (value(up) - value(down)) / 2e-3;
      });
      expect(Math.max(...data.map((x, n) => Math.abs(x - differences[n])))).toBeLessThan(1e-9);
    }
  });

  it('has the price of the bounded lifetimes', () => {
    const zero = ndarray(new Float64Array(2 * chunks * 3), [1, 2, chunks, 3]);
    const { data } = addMemoryPrice({ dTypes: zero, types, window: 3, chunk, reach, length: N, weight: 2 / (N * N) });
    const share = [0, 1].map((g) => {
      let sum = 0;
      for (let c = 0; c < chunks; c++) {
        const type = (c + 1) * chunk <= N && (c + 1) * chunk - 1 < N ? types.data[g * chunks + c] : 0;
        sum += data[(g * chunks + c) * 3 + type];
      }
      return sum;
    });
    expect(share[0]).toBeCloseTo(keptShare(last).data[0], 12);
    expect(share[1]).toBeCloseTo(keptShare(last).data[1], 12);
  });
});

it('refuses a reach that is not a whole number', () => {
  const types = ndarray(Int32Array.of(0), [1, 1, 1]);
  for (const reach of [-1, 0.5, NaN]) {
    expect(() => lifetime(types, { window: 0, reach })).toThrow(ValueError);
    expect(() => new KVCache({ batch: 1, kvHeads: 1, headDim: 2, window: 0, reach })).toThrow(ValueError);
  }
});
