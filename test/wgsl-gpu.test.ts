/**
 * Kernels that the engine of hand-written WGSL uses on GPUs only, here on whatever device there is. Errors are relative
 * to the largest number that enters a sum, in units of float32's roundoff: one for each term, and some for exp().
 * @module
 */
import { expect, it } from 'vitest';
import { openWgslEngine } from '../gpu/wgsl/open.ts';
import { referenceEngine } from '../reference/index.ts';
import type { CacheStats, Tensor } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { draw } from './support/draw.ts';
import { some, THOROUGH } from './support/thorough.ts';
import { describeWebGPU } from './support/webgpu.ts';

const U = 2 ** -24;
/** Software drivers take seconds to compile a kernel. */
const PATIENCE = { timeout: 300_000 };

interface Sizes {
  readonly B: number;
  readonly G: number;
  readonly share: number;
  readonly d: number;
  readonly storage?: 'f32' | 'f16';
}

/** Everything that decoding `N` tokens after 300 others gives: outputs, what the cache holds, and its statistics. */
async function decoded(
  engine: TrainingEngine, { B, G, share, d, storage = 'f32' }: Sizes, N: number, second: { localWindow?: number },
): Promise<{ outputs: number[]; positions: number[][]; stats: CacheStats }> {
  const numbers = draw(d, 'float32');
  const cache = engine.createCache({
    batch: B, kvHeads: G, headDim: d, window: 5, chunk: 1, blockSize: 4, storage, ...second,
  });
  const outputs: number[] = [];
  const one = (heads: number): Tensor => engine.tensor(numbers.real(B * heads * d), [B, heads, 1, d]);
  const T = 300; // more than one workgroup goes through at a time
  const [k, v] = [1, 2].map(() => engine.tensor(numbers.real(B * G * T * d), [B, G, T, d]));
  cache.append(k, v, engine.integers(Array.from({ length: B * G * T }, (_, n) => n * 11 % 7 % 3), [B, G, T]));
  cache.evict();
  for (let n = 0; n < N; n++) {
    const types = engine.integers(Array.from({ length: B * G }, (_, head) => (n * 7 + head * 3) % 5 % 3), [B, G, 1]);
    const counts = Array.from({ length: B }, (_, b) => (b > 0 && n % 3 === 1 ? 0 : 1)); // some take none
    const out = cache.step({ q: one(G * share), k: one(G), v: one(G), types, scale: 0.7 }, counts);
    outputs.push(...await engine.read(out));
  }
  const positions: number[][] = [];
  for (let b = 0; b < B; b++) for (let g = 0; g < G; g++) positions.push([...await cache.positions(b, g)]);
  const stats = await cache.stats();
  cache.dispose();
  return { outputs, positions, stats };
}

function expectNear(found: ArrayLike<number>, truth: ArrayLike<number>, budget: number): void {
  expect(found.length).toBe(truth.length);
  const worst = Array.from(truth, (value, n) => Math.abs(value - found[n])).reduce((a, b) => (b <= a ? a : b), 0);
  expect(worst).toBeLessThanOrEqual(budget);
}

describeWebGPU('the engine of WGSL with its kernels for GPUs', () => {
  it.each(some(1, [
    { B: 1, G: 2, share: 2, d: 8, storage: 'f16' }, { B: 2, G: 2, share: 3, d: 8 }, { B: 1, G: 3, share: 1, d: 6 },
    { B: 3, G: 1, share: 4, d: 32 }, { B: 1, G: 3, share: 3, d: 16 }, { B: 1, G: 2, share: 9, d: 64, storage: 'f16' },
    { B: 2, G: 1, share: 1, d: 6, storage: 'f16' },
  ] as const))('decodes like the reference, and counts the same entries: %o', PATIENCE, async (sizes) => {
    const engine = await openWgslEngine({ testing: true, width: 64 });
    const N = THOROUGH ? 20 : 6;
    for (const second of [{}, { localWindow: 2 }, { localWindow: 40 }]) {
      const truth = await decoded(referenceEngine(), sizes, N, second);
      const found = await decoded(engine, sizes, N, second);
      // Scores are sums of d products below 9 * 9 * 0.7, and weights are off by exp(their error); outputs are below 5.
      expectNear(found.outputs, truth.outputs, U * (2 * 57 * sizes.d + 300 + N + 16) * 5);
      expect(found.positions).toEqual(truth.positions);
      for (const name of ['seen', 'live', 'peakLive', 'visiblePairs'] as const) {
        expect([...found.stats[name]], name).toEqual([...truth.stats[name]]);
      }
    }
    engine.dispose();
  });

  it('multiplies large matrices like the reference, in every form that training needs', PATIENCE, async () => {
    const [rows, K, M] = THOROUGH ? [515, 519, 517] : [520, 20, 516];
    const numbers = draw(1, 'float32');
    const [x, w, dy] = [rows * K, M * K, rows * M].map((length) => numbers.real(length));
    const products = async (engine: TrainingEngine): Promise<ArrayLike<number>[]> => {
      const [a, b, c] = [engine.tensor(x, [rows, K]), engine.tensor(w, [M, K]), engine.tensor(dy, [rows, M])];
      const made = [engine.linear(a, b), engine.linearBackwardInput(c, b), engine.linearBackwardWeight(c, a)];
      return Promise.all(made.map((each) => engine.read(each)));
    };
    const engine = await openWgslEngine({ testing: true, width: 64 });
    const [truth, found] = [await products(referenceEngine()), await products(engine)];
    engine.dispose();
    const most = (all: Float64Array): number => all.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    const largest = Math.max(...[x, w, dy].map(most));
    [K, M, rows].forEach((terms, n) => expectNear(found[n], truth[n], U * terms * terms * largest ** 2));
  });
});
