/**
 * The gradients of attention, kernel by kernel, as a training step runs them.
 * @module
 */
import { generator } from '../../src/core/random.ts';
import { createEngine, type Engine, type Tensor } from '../../src/index.ts';
import { requireTraining } from '../../src/core/training-engine.ts';
import type { Bench } from './device.ts';
import { Profiler } from './stamps.ts';

/** Shapes: that of the shipped models as they are trained, that of 110 million weights, and that of a large model. */
const SHAPES = [
  { B: 16, H: 4, G: 2, d: 32, N: 1024, window: 32 }, { B: 8, H: 12, G: 12, d: 64, N: 1024, window: 256 },
  { B: 1, H: 32, G: 8, d: 128, N: 4096, window: 256 },
] as const;
const ROUNDS = 5;
/** Products of tiles in a kernel: S, P', and what their weights multiply. */
const PRODUCTS = [['attention dk', 4], ['attention dq', 3], ['mask gradient', 2], ['causal log-sum-exp', 1]] as const;

/**
 * Prints the time of every kernel for causal attention, and with 10% GLOBAL, 30% LOCAL and 60% WINDOW tokens. Where
 * there are matrix units, also by these, and how far their gradients are from those in float32.
 */
export async function backwards(bench: Bench, quick: boolean): Promise<void> {
  const profiler = new Profiler(bench.device);
  // What a device says of itself lacks the products of its matrix units.
  Object.defineProperty(bench.device, 'adapterInfo', { value: bench.adapter.info });
  const units = bench.device.features.has('chromium-experimental-subgroup-matrix' as GPUFeatureName);
  for (const shape of SHAPES) {
    for (const pattern of ['causal', 'mixed'] as const) {
      const plain = await measured(bench, profiler, shape, pattern, 'f32', quick);
      if (!units) continue;
      const half = await measured(bench, profiler, shape, pattern, 'f16', quick);
      const errors = [...plain].map(([name, x]) => {
        const y = half.get(name)!;
        let [difference, size] = [0, 0];
        for (let n = 0; n < x.length; n++) [difference, size] = [difference + (y[n] - x[n]) ** 2, size + x[n] ** 2];
        return `${name} ${Math.sqrt(difference / size).toExponential(1)}`;
      });
      console.log(`distance from float32: ${errors.join(', ')}`);
    }
  }
}

async function measured(
  bench: Bench, profiler: Profiler, { B, H, G, d, window, ...shape }: (typeof SHAPES)[number],
  pattern: 'causal' | 'mixed', compute: 'f32' | 'f16', quick: boolean,
): Promise<Map<string, ArrayLike<number>>> {
  const N = quick ? 64 : shape.N;
  const engine = requireTraining(await createEngine({ gpu: 'wgsl', gpuDevice: bench.device, compute }));
  const { below, normal } = generator(7, [0]);
  const block = Float32Array.from({ length: 2 ** 16 }, normal);
  const random = (heads: number, from: number): Tensor => engine.tensor(
    Float32Array.from({ length: B * heads * N * d }, (_, n) => block[(n + from) % block.length]), [B, heads, N, d],
  );
  const [q, k, v, dOut] = [random(H, 0), random(G, 11), random(G, 222), random(H, 3333)];
  const drawn = Int32Array.from({ length: B * G * N }, () => {
    const draw = below(10);
    return pattern === 'causal' || draw < 1 ? 0 : draw < 4 ? 1 : 2;
  });
  const types = engine.integers(drawn, [B, G, N]);
  const last = engine.lifetime(types, N, { window, chunk: 1 });
  const ends = await engine.readIntegers(last);
  const visible = ends.reduce((pairs, end, n) => pairs + Math.min(end, N - 1) - (n % N) + 1, 0) * (H / G);
  const inputs = { q, k, v, last, scale: 1 / Math.sqrt(d) };
  const { out, lse } = engine.attention(inputs);
  const gradients = (): ReturnType<typeof engine.attentionBackward> =>
    engine.attentionBackward({ ...inputs, out, lse, dOut, types: { types, rule: 'bounded', window, chunk: 1 } });
  const step = async (rounds: number): Promise<void> => {
    for (let n = 0; n < rounds; n++) for (const tensor of Object.values(gradients())) tensor.dispose();
    await finished(engine);
  };
  await finished(engine);
  for (const end = performance.now() + (quick ? 0 : 400); performance.now() < end;) await step(ROUNDS);
  const profile = [...await profiler.watch(() => step(ROUNDS))].sort(([, a], [, b]) => b.us - a.us);
  console.log(`# gradients of attention, ${B} x ${H}/${G} heads, ${N} tokens, d = ${d}, ${pattern}, ${compute}: ${((100 * visible) / (B * H * (N * (N + 1)) / 2)).toFixed(0)}% of the pairs visible`);
  for (const [name, { us }] of profile) {
    // Gradients of the types take all causal pairs, the others take visible ones.
    const products = PRODUCTS.find(([label]) => name.startsWith(label))?.[1] ?? 0;
    const pairs = /attention d/.test(name) ? visible : (B * H * N * (N + 1)) / 2;
    const rate = products > 0 ? `${((products * 2 * pairs * d * ROUNDS) / us / 1e6).toFixed(1)} TFLOP/s` : '';
    if (us / ROUNDS >= 5 || quick) console.log(`${(us / ROUNDS).toFixed(1).padStart(10)} us ${rate.padStart(14)}  ${name}`);
  }
  const { dq, dk, dv } = gradients();
  const found = new Map<string, ArrayLike<number>>();
  for (const [name, tensor] of Object.entries({ dq, dk, dv })) found.set(name, await engine.read(tensor));
  engine.dispose();
  return found;
}

async function finished(engine: Engine): Promise<void> {
  const one = engine.zeros([1]);
  await engine.read(one);
  one.dispose();
}
