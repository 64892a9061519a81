/**
 * Attention, N = 2048, 4 heads, d = 64: all-GLOBAL beside a pattern with about 10% visible pairs; and the matrix
 * product, the unit in which everything else can be thought of.
 * @module
 */
import type { Tensor } from '../src/engine.ts';
import { generator } from '../src/random.ts';
import { type Measurement, type Settings, timeInTurns } from './measure.ts';

const [HEADS, HEAD_DIM] = [4, 64];

/** Times the forward, the backward without type gradients, and a matrix product. */
export async function attentionCase({ quick, repeats, createEngine }: Settings): Promise<Measurement[]> {
  const engine = createEngine();
  const N = quick ? 512 : 2048;
  const random = (seed: number, shape: readonly number[]): Tensor => {
    const { normal } = generator(seed, [0]);
    return engine.tensor(Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, normal), shape);
  };
  const lifetimes = (pick: () => number): Tensor => {
    const types = engine.integers(Array.from({ length: HEADS * N }, pick), [1, HEADS, N]);
    return engine.lifetime(types, N, { window: Math.floor(N / 20), chunk: 1 });
  };
  const { below } = generator(5, [0]);
  // 2% GLOBAL, 28% LOCAL, 70% WINDOW(N / 20).
  const sparse = lifetimes(() => {
    const draw = below(100);
    return draw < 2 ? 0 : draw < 30 ? 1 : 2;
  });
  const lives = await engine.readIntegers(sparse);
  const visible = lives.reduce((pairs, last, n) => pairs + Math.min(last, N - 1) - (n % N) + 1, 0);

  const shape = [1, HEADS, N, HEAD_DIM];
  const [q, k, v, dOut] = [random(1, shape), random(2, shape), random(3, shape), random(4, shape)];
  const scale = 1 / Math.sqrt(HEAD_DIM);
  const passes = [lifetimes(() => 0), sparse].map((last) => {
    const inputs = { q, k, v, last, scale };
    return { inputs, ...engine.attention(inputs) };
  });
  const finish = async (results: readonly Tensor[]): Promise<void> => {
    await engine.read(results[0]!);
    for (const result of results) result.dispose();
  };
  const times = await timeInTurns([
    ...passes.map(({ inputs }) => () => finish(Object.values(engine.attention(inputs)))),
    ...passes.map(({ inputs, out, lse }) => () => {
      const { dq, dk, dv } = engine.attentionBackward({ ...inputs, out, lse, dOut });
      return finish([dq, dk, dv]);
    }),
  ], { rounds: repeats }) as [number, number, number, number];

  const size = 512;
  const [x, weight] = [random(6, [size, size]), random(7, [size, size])];
  const [product] = await timeInTurns([() => finish([engine.linear(x, weight)])], { rounds: 4 * repeats }) as [number];
  engine.dispose();
  return [
    { what: `visible pairs of the sparse pattern, N = ${N}`, value: (100 * visible) / (HEADS * N * (N + 1) / 2), unit: '%' },
    { what: 'forward, all-GLOBAL', value: times[0], unit: 'ms' },
    { what: 'forward, sparse', value: times[1], unit: 'ms' },
    { what: 'forward, sparse / all-GLOBAL', value: times[1] / times[0], unit: '', target: 0.25 },
    { what: 'backward, all-GLOBAL', value: times[2], unit: 'ms' },
    { what: 'backward, sparse', value: times[3], unit: 'ms' },
    { what: 'backward, sparse / all-GLOBAL', value: times[3] / times[2], unit: '' },
    { what: `matrix product, ${size} x ${size} x ${size}`, value: (2 * size ** 3) / (product * 1e6), unit: 'GFLOP/s' },
  ];
}
