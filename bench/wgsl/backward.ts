/**
 * The gradients of attention, kernel by kernel, as a training step runs them.
 * @module
 */
import { generator } from '../../src/core/random.ts';
import { createEngine, type Engine, type Tensor } from '../../src/index.ts';
import { requireTraining } from '../../src/core/training-engine.ts';
import type { Bench } from './device.ts';
import { Profiler } from './stamps.ts';

/** Shapes: that of the shipped models as they are trained, and that of a large one. */
const SHAPES = [
  { B: 16, H: 4, G: 2, d: 32, N: 1024, window: 32 }, { B: 1, H: 32, G: 8, d: 128, N: 4096, window: 256 },
] as const;
const ROUNDS = 5;
/** Products of tiles in a kernel: S, P', and what their weights multiply. */
const PRODUCTS = [['attention dk', 4], ['attention dq', 3], ['mask gradient', 2], ['causal log-sum-exp', 1]] as const;

/** Prints the time of every kernel for causal attention, and with 10% GLOBAL, 30% LOCAL and 60% WINDOW tokens. */
export async function backwards(bench: Bench, quick: boolean): Promise<void> {
  const profiler = new Profiler(bench.device);
  for (const shape of SHAPES) {
    for (const pattern of ['causal', 'mixed'] as const) {
      const { B, H, G, d, window } = shape;
      const N = quick ? 64 : shape.N;
      const engine = requireTraining(await createEngine({ gpu: 'wgsl', gpuDevice: bench.device }));
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
      const step = async (rounds: number): Promise<void> => {
        for (let n = 0; n < rounds; n++) {
          const made = engine.attentionBackward({
            ...inputs, out, lse, dOut, types: { types, rule: 'bounded', window, chunk: 1 },
          });
          for (const tensor of Object.values(made)) tensor.dispose();
        }
        await finished(engine);
      };
      await finished(engine);
      for (const end = performance.now() + (quick ? 0 : 400); performance.now() < end;) await step(ROUNDS);
      const profile = [...await profiler.watch(() => step(ROUNDS))].sort(([, a], [, b]) => b.us - a.us);
      console.log(`# gradients of attention, ${B} x ${H}/${G} heads, ${N} tokens, d = ${d}, ${pattern}: ${((100 * visible) / (B * H * (N * (N + 1)) / 2)).toFixed(0)}% of the pairs visible`);
      for (const [name, { us }] of profile) {
        // Gradients of the types take all causal pairs, the others take visible ones.
        const products = PRODUCTS.find(([label]) => name.startsWith(label))?.[1] ?? 0;
        const pairs = /attention d/.test(name) ? visible : (B * H * N * (N + 1)) / 2;
        const rate = products > 0 ? `${((products * 2 * pairs * d * ROUNDS) / us / 1e6).toFixed(1)} TFLOP/s` : '';
        if (us / ROUNDS >= 5 || quick) console.log(`${(us / ROUNDS).toFixed(1).padStart(10)} us ${rate.padStart(14)}  ${name}`);
      }
      engine.dispose();
    }
  }
}

async function finished(engine: Engine): Promise<void> {
  const one = engine.zeros([1]);
  await engine.read(one);
  one.dispose();
}
