/**
 * Attention with N = 2048, 4 heads, d = 64: all-GLOBAL beside a pattern with about 10% visible pairs. Also a matrix
 * product, as a yardstick for the other times.
 * @module
 */
import type { Tensor } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { generator } from '../src/core/random.ts';
import { type Measurement, type Settings, timeInTurns } from './measure.ts';

const [HEADS, HEAD_DIM] = [4, 64];

/** Waits for `results` and frees them. */
export async function finish(engine: TrainingEngine, results: readonly Tensor[]): Promise<void> {
  await engine.read(results[0]);
  for (const result of results) result.dispose();
}

/** Normally distributed numbers, the same for every engine. */
export function random(engine: TrainingEngine, seed: number, shape: readonly number[]): Tensor {
  const { normal } = generator(seed, [0]);
  return engine.tensor(Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, normal), shape);
}

/**
 * The functions to time: for both patterns the forward, and the backward without type gradients. Each waits for its
 * results. `visible` is the share of pairs that the sparse pattern leaves visible.
 */
export async function attentionRuns(engine: TrainingEngine, N: number): Promise<{
  runs: Record<string, () => Promise<void>>;
  visible: number;
}> {
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
  const lifetimesOfSparse = await engine.readIntegers(sparse);
  const pairs = lifetimesOfSparse.reduce((sum, last, n) => sum + Math.min(last, N - 1) - (n % N) + 1, 0);

  const shape = [1, HEADS, N, HEAD_DIM];
  const [q, k, v, dOut] = [1, 2, 3, 4].map((seed) => random(engine, seed, shape)) as [Tensor, Tensor, Tensor, Tensor];
  const scale = 1 / Math.sqrt(HEAD_DIM);
  const runs: [string, () => Promise<void>][] = [];
  for (const [pattern, last] of [['all-GLOBAL', lifetimes(() => 0)], ['sparse', sparse]] as const) {
    const inputs = { q, k, v, last, scale };
    const { out, lse } = engine.attention(inputs);
    await engine.read(out);
    runs.push(
      [`forward, ${pattern}`, () => finish(engine, Object.values(engine.attention(inputs)))],
      [`backward, ${pattern}`, () => {
        const { dq, dk, dv } = engine.attentionBackward({ ...inputs, out, lse, dOut });
        return finish(engine, [dq, dk, dv]);
      }],
    );
  }
  return { runs: Object.fromEntries(runs), visible: pairs / (HEADS * N * (N + 1) / 2) };
}

/** Times the forward, the backward without type gradients, and a matrix product. */
export async function attentionCase({ quick, repeats, createEngine }: Settings): Promise<Measurement[]> {
  const engine = createEngine();
  const N = quick ? 512 : 2048;
  const { runs, visible } = await attentionRuns(engine, N);
  const [forward, backward, sparse, sparseBackward] = await timeInTurns(Object.values(runs), { rounds: repeats }) as
    [number, number, number, number];

  const size = 512;
  const [x, weight] = [random(engine, 6, [size, size]), random(engine, 7, [size, size])];
  const multiply = (): Promise<void> => finish(engine, [engine.linear(x, weight)]);
  const [product] = await timeInTurns([multiply], { rounds: 4 * repeats }) as [number];
  engine.dispose();
  return [
    { what: `visible pairs of the sparse pattern, N = ${N}`, value: 100 * visible, unit: '%' },
    { what: 'forward, all-GLOBAL', value: forward, unit: 'ms' },
    { what: 'forward, sparse', value: sparse, unit: 'ms' },
    { what: 'forward, sparse / all-GLOBAL', value: sparse / forward, unit: '', target: 0.25 },
    { what: 'backward, all-GLOBAL', value: backward, unit: 'ms' },
    { what: 'backward, sparse', value: sparseBackward, unit: 'ms' },
    { what: 'backward, sparse / all-GLOBAL', value: sparseBackward / backward, unit: '' },
    { what: `matrix product, ${size} x ${size} x ${size}`, value: (2 * size ** 3) / (product * 1e6), unit: 'GFLOP/s' },
  ];
}
