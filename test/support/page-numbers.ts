/**
 * Numbers that a page and Node compute alike, large enough for threads.
 * @module
 */
import type { TrainingEngine } from '../../src/core/training-engine.ts';

/** The bits of a product, of attention and of its gradients, in hexadecimal. */
export async function numbersOf(engine: TrainingEngine): Promise<string> {
  const [H, N, d] = [4, 200, 40];
  const of = (seed: number, shape: readonly number[]) => {
    let state = seed;
    const next = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0) / 2 ** 31;
    return engine.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, next), shape);
  };
  const [q, k, v, dOut] = [1, 2, 3, 4].map((seed) => of(seed, [1, H, N, d]));
  const last = engine.integers(Array.from({ length: H * N }, (_, n) => (n % N) + n % 70), [1, H, N]);
  let bits = 0;
  const read = async (tensor: Parameters<TrainingEngine['read']>[0]): Promise<string> => {
    const numbers = new Uint32Array(Float32Array.from(await engine.read(tensor)).buffer);
    for (const each of numbers) bits = (Math.imul(bits, 31) + each) | 0;
    return (bits >>> 0).toString(16);
  };
  const found: string[] = [];
  for (let round = 0; round < 20; round++) {
    const attended = engine.attention({ q: q!, k: k!, v: v!, last, scale: 0.2 });
    const gradients = engine.attentionBackward({ q: q!, k: k!, v: v!, last, scale: 0.2, ...attended, dOut: dOut! });
    const product = engine.linear(of(round, [200, 300]), of(round + 1, [500, 300]));
    const made = [product, ...Object.values(attended), ...Object.values(gradients)];
    for (const tensor of made) found.push(await read(tensor));
  }
  return found.at(-1)!;
}
