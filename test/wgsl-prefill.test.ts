/**
 * Prompts on the engine of hand-written WGSL as a GPU reads them, by lists of keys, here on whatever device there is.
 * Errors are relative to the largest number that enters a sum, in units of float32's roundoff.
 */
import { expect, it } from 'vitest';
import { openWgslEngine } from '../gpu/wgsl/open.ts';
import { referenceEngine } from '../reference/index.ts';
import type { CacheStats, Tensor } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { draw } from './support/draw.ts';
import { some } from './support/thorough.ts';
import { describeWebGPU } from './support/webgpu.ts';

const U = 2 ** -24;

interface Shape {
  readonly B: number;
  readonly G: number;
  readonly share: number;
  readonly d: number;
  /** Tokens of each step. */
  readonly steps: readonly number[];
}

/** What a cache gives for a prompt in steps: outputs, the positions that it holds in the end, and its statistics. */
async function read(
  engine: TrainingEngine, { B, G, share, d, steps }: Shape,
): Promise<{ outputs: number[]; positions: number[][]; stats: CacheStats }> {
  const numbers = draw(d, 'float32');
  const cache = engine.createCache({ batch: B, kvHeads: G, headDim: d, window: 5, chunk: 1, blockSize: 4 });
  const outputs: number[] = [];
  for (const T of steps) {
    const heads = (count: number): Tensor => engine.tensor(numbers.real(B * count * T * d), [B, count, T, d]);
    const types = engine.integers(Array.from({ length: B * G * T }, (_, n) => (n * 7) % 11 % 3), [B, G, T]);
    const out = cache.step({ q: heads(G * share), k: heads(G), v: heads(G), types, scale: 0.7 });
    outputs.push(...await engine.read(out));
  }
  const positions: number[][] = [];
  for (let b = 0; b < B; b++) for (let g = 0; g < G; g++) positions.push([...await cache.positions(b, g)]);
  const stats = await cache.stats();
  cache.dispose();
  return { outputs, positions, stats };
}

/** Attention in which some keys hold NaN and infinities: out and lse of the queries that see none of them. */
async function attended(engine: TrainingEngine, { B, G, share, d, steps: [N] }: Shape): Promise<number[][]> {
  const { real } = draw(d + 1, 'float32');
  const last = Array.from({ length: B * G * N }, (_, n) => (n % 3 === 0 ? 2 ** 31 - 1 : (n % N) + (n * 5) % 9));
  const wrong = (key: number): boolean => key % 3 > 0 && key % 7 === 0;
  const [k, v] = [0, 1].map(() => real(B * G * N * d).map((x, n) => {
    return wrong(Math.floor(n / d)) ? [NaN, Infinity, -Infinity][n % 3] : x;
  }));
  const shape = [B, G, N, d];
  const { out, lse } = engine.attention({
    q: engine.tensor(real(B * G * share * N * d), [B, G * share, N, d]), k: engine.tensor(k, shape),
    v: engine.tensor(v, shape), last: engine.integers(last, [B, G, N]), scale: 0.7,
  });
  const [rows, sums] = [await engine.read(out), await engine.read(lse)];
  const clean = Array.from(sums.keys()).filter((row) => {
    const [head, t] = [Math.floor(row / N / share), row % N];
    return !Array.from({ length: t + 1 }, (_, j) => head * N + j).some((key) => wrong(key) && last[key] >= t);
  });
  return [clean.flatMap((row) => [...rows.subarray(row * d, (row + 1) * d)]), clean.map((row) => sums[row])];
}

function expectNear(found: readonly number[], truth: readonly number[], budget: number): void {
  expect(found.length).toBe(truth.length);
  const worst = truth.map((value, n) => Math.abs(value - found[n])).reduce((a, b) => (b <= a ? a : b), 0);
  expect(worst).toBeLessThanOrEqual(budget);
}

const SHAPES: readonly Shape[] = [
  { B: 2, G: 2, share: 4, d: 8, steps: [70, 33, 6] }, { B: 1, G: 3, share: 1, d: 6, steps: [40, 5] },
  { B: 1, G: 1, share: 8, d: 32, steps: [300, 130] },
];
/** Software drivers take seconds to compile a kernel. */
const PATIENCE = { timeout: 300_000 };

describeWebGPU('prompts on the engine of WGSL with its kernels for GPUs', () => {
  it.each(some(1, [...SHAPES]))('are read like on the reference, and see the same entries: %o', PATIENCE, async (shape) => {
    const engine = await openWgslEngine({ testing: true, width: 64 });
    const [truth, found] = [await read(referenceEngine(), shape), await read(engine, shape)];
    engine.dispose();
    const N = shape.steps.reduce((a, b) => a + b);
    // Scores are sums of d products below 9 * 9 * 0.7, and weights are off by exp(their error); outputs are below 5.
    expectNear(found.outputs, truth.outputs, U * (2 * 57 * shape.d + N + 16) * 5);
    expect(found.positions).toEqual(truth.positions);
    for (const name of ['seen', 'live', 'peakLive', 'visiblePairs'] as const) {
      expect([...found.stats[name]], name).toEqual([...truth.stats[name]]);
    }
  });

  it.each(some(1, [...SHAPES]))('never read hidden keys, even NaN ones: %o', PATIENCE, async (shape) => {
    const engine = await openWgslEngine({ testing: true, width: 64 });
    const [truth, found] = [await attended(referenceEngine(), shape), await attended(engine, shape)];
    engine.dispose();
    const budget = U * (2 * 57 * shape.d + shape.steps[0] + 16);
    expect(truth[1].length).toBeGreaterThan(0);
    expectNear(found[0], truth[0], budget * 5);
    expectNear(found[1], truth[1], budget * 5);
  });
});
