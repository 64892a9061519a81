/** The engine of WebAssembly has the reference's bits in float64, and in float32 those of wider weights. */
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import { sizeOf, type Tensor } from '../src/core/tensor.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { generator } from '../src/core/random.ts';
import { widen } from '../src/core/stored.ts';
import { parsePolicy } from '../src/policies/index.ts';
import { wasmEngine } from '../wasm/index.ts';
import { attentionProblem, seeds, sizes } from './support/arbitraries.ts';
import { livelyConfig, livelyIds, livelyModel } from './support/lively-model.ts';
import { cases } from './support/thorough.ts';
import { expectSameBits } from './support/tolerance.ts';
import { forwardAndBackward, upload } from './support/upload.ts';

const ruler = referenceEngine('float64');
const fast = wasmEngine({ precision: 'float64', testing: true });
const scales = fc.constantFrom(1, 1e-6, 3e4, 1e9);
const runs = { numRuns: cases(12, 150) };

/** Numbers of several magnitudes. */
function numbers(seed: number, length: number): Float64Array {
  const random = generator(seed, [5]);
  return Float64Array.from({ length }, () => random.normal() * 2 ** (random.below(12) - 6));
}

/** Runs `compute` on both engines and expects the same bits from all tensors that it returns. */
async function sameBits(compute: (engine: TrainingEngine) => readonly Tensor[]): Promise<void> {
  const [expected, actual] = [compute(ruler), compute(fast)];
  for (const [n, tensor] of expected.entries()) {
    const read = (engine: TrainingEngine, x: Tensor) => (x.kind === 'integer' ? engine.readIntegers(x) : engine.read(x));
    expectSameBits(await read(fast, actual[n]), await read(ruler, tensor), `tensor ${n}`);
    for (const x of [tensor, actual[n]]) x.dispose();
  }
}

const shape = fc.record({
  rows: fc.integer({ min: 1, max: 9 }), M: fc.integer({ min: 1, max: 40 }), K: fc.integer({ min: 1, max: 40 }),
  seed: seeds,
});

describe('wasm in float64 has the reference\'s bits', () => {
  it('in linear layers, of float32 and float64 weights, and in their gradients', () =>
    fc.assert(fc.asyncProperty(shape, fc.boolean(), ({ rows, M, K, seed }, narrow) => sameBits((engine) => {
      const weight = numbers(seed, M * K);
      const x = engine.tensor(numbers(seed + 1, rows * K), [rows, K]);
      const w = engine.tensor(narrow ? Float32Array.from(weight) : weight, [M, K]);
      const [b, dy] = [engine.tensor(numbers(seed + 2, M), [M]), engine.tensor(numbers(seed + 3, rows * M), [rows, M])];
      const y = engine.linear(x, w, b);
      const one = engine.linear(engine.tensor(numbers(seed + 1, K), [1, K]), w);
      return [
        y, one, engine.linearBackwardInput(dy, w), engine.linearBackwardWeight(dy, x), engine.linearBackwardBias(dy),
        w, x, b, dy,
      ];
    })), runs));

  it('in norms, rotation, SwiGLU, sums, embeddings, heads and their gradients', () =>
    fc.assert(fc.asyncProperty(shape, ({ rows, M, K, seed }) => sameBits((engine) => {
      const [B, heads, d] = [2, 1 + (M % 3), 2 * K];
      const of = (n: number, ...shape: number[]): Tensor => engine.tensor(numbers(seed + n, sizeOf(shape)), shape);
      const [x, y, w] = [of(1, B, heads, rows, d), of(2, B, heads, rows, d), of(3, d)];
      const [cos, sin] = [of(4, B, rows, d / 2), of(5, B, rows, d / 2)];
      const ids = engine.integers(livelyIds(seed, 7).map((id) => id % M), [7]);
      const merged = engine.mergeHeads(x);
      const sum = of(6, B, heads, rows, d);
      engine.accumulate(sum, x);
      return [
        engine.rmsNorm(x, w, 1e-6), ...Object.values(engine.rmsNormBackward(y, x, w, 1e-6)), engine.rope(x, cos, sin),
        engine.rope(x, cos, sin, true), engine.swiglu(x, y), ...Object.values(engine.swigluBackward(sum, x, y)),
        engine.add(x, y), merged, engine.splitHeads(merged, heads), engine.embedding(of(7, M, d), ids),
        engine.embeddingBackward(of(8, 7, d), ids, M), engine.argmax(x), engine.poolChunks(of(9, B, rows, d), 3, 'mean'), sum,
      ];
    })), runs));

  it('in the loss, the norm of gradients and AdamW', () =>
    fc.assert(fc.asyncProperty(shape, ({ rows, M, seed }) => sameBits((engine) => {
      const of = (n: number): Tensor => engine.tensor(numbers(seed + n, rows * M), [rows, M]);
      const targets = engine.integers(livelyIds(seed, rows).map((id) => (id % (M + 1)) - 1), [rows]);
      const [theta, gradient, m] = [of(1), of(2), of(3)];
      const v = engine.tensor(numbers(seed + 4, rows * M).map(Math.abs), [rows, M]);
      const squaredNorm = engine.sumOfSquares([theta, gradient]);
      const options = { learningRate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1, step: 3 };
      engine.adamW(theta, gradient, m, v, { ...options, clip: { squaredNorm, maxNorm: 1 } });
      const logits = of(5);
      const loss = engine.crossEntropy(logits, targets);
      return [loss, engine.crossEntropyBackward(logits, targets, 0.5), squaredNorm, theta, m, v];
    })), runs));

  it('in attention and all of its gradients', () =>
    fc.assert(fc.asyncProperty(sizes({ N: 40 }), async (size) => {
      const p = attentionProblem(size, 'float64');
      const [expected, actual] = [await forwardAndBackward(ruler, p), await forwardAndBackward(fast, p)];
      for (const name of Object.keys(expected) as (keyof typeof expected)[]) {
        expectSameBits(actual[name], expected[name], name);
      }
      const { B, G, H, N, d, window, chunk } = p;
      await sameBits((engine) => {
        const types = engine.integers(p.types, [B, G, Math.ceil(N / chunk)]);
        const how = { window, chunk };
        const inputs = { ...upload(engine, p), last: engine.lifetime(types, N, how) };
        const forward = engine.attention(inputs);
        const dOut = engine.tensor(p.dOut, [B, H, N, d]);
        const gradients = (['exact', 'bounded'] as const).map((rule) => {
          return engine.attentionBackward({ ...inputs, ...forward, dOut, types: { types, rule, ...how } }).dTypes!;
        });
        const priced = engine.addMemoryPrice(gradients[0], types, N, { ...how, weight: 0.1 });
        return [...gradients, priced, engine.keptShare(inputs.last)];
      });
    }), runs));

  it.each(['nats', 'full', 'streaming:2+3', 'h2o:4', 'tova:5'])('in the logits of a session of %s', async (name) => {
    const policy = parsePolicy(name);
    const logits = await Promise.all([ruler, fast].map(async (engine) => {
      const session = livelyModel(engine, livelyConfig('nats', { chunk: 1 })).session({ policy });
      const out = [...await session.step(livelyIds(1, 20), { logits: 'all' })];
      for (const id of livelyIds(2, 9)) out.push(...await session.step([id], { logits: 'last' }));
      return out;
    }));
    expectSameBits(logits[1], logits[0], 'logits');
  });
});

describe('wasm in float32', () => {
  const engine = wasmEngine({ testing: true });

  it.each(['f16', 'bf16'] as const)('multiplies by %s weights with the bits of the same weights in float32', (dtype) =>
    fc.assert(fc.asyncProperty(shape, scales, fc.boolean(), async (size, scale, infinite) => {
      const { rows, M, K, seed } = size;
      // Every bit pattern may occur, those below the normal numbers too, but infinite ones and NaN only sometimes.
      const random = generator(seed, [6]);
      const bits = Uint16Array.from({ length: M * K }, () => {
        const pattern = random.below(2 ** 16);
        const top = dtype === 'f16' ? 0x7c00 : 0x7f80;
        return infinite || (pattern & top) !== top ? pattern : pattern & ~top;
      });
      const wide = widen(new Uint8Array(bits.buffer), dtype);
      const own = engine.weight(new Uint8Array(bits.buffer), dtype, [M, K]);
      const same = engine.weight(new Uint8Array(wide.buffer, 0, 4 * M * K), 'f32', [M, K]);
      const values = numbers(seed, rows * K).map((value) => value * scale);
      const x = engine.tensor(values, [rows, K]);
      const first = engine.tensor(values.subarray(0, K), [1, K]);
      const truth = await engine.read(engine.linear(x, same));
      expectSameBits(await engine.read(engine.linear(x, own)), truth, `${rows} rows`);
      expectSameBits(await engine.read(engine.linear(first, own)), truth.subarray(0, M), 'one row');
      expectSameBits(await engine.read(own), wide, 'the weight');
    }), runs));
});
