/** The threads of the engine of WebAssembly: the bits of one, whatever their number, and an end with the engine. */
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { createEngine, DEFAULT_TRAIN_OPTIONS, Trainer, ValueError } from '../src/index.ts';
import { sizeOf, type Tensor } from '../src/core/tensor.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { generator } from '../src/core/random.ts';
import { parsePolicy } from '../src/policies/index.ts';
import { wasmEngine, wasmEngineOn } from '../wasm/index.ts';
import { Machine } from '../wasm/machine.ts';
import { livelyConfig, livelyIds, livelyModel } from './support/lively-model.ts';
import { cases } from './support/thorough.ts';
import { expectSameBits } from './support/tolerance.ts';

/** Results of most operations, on sizes that no tile divides. */
function everything(engine: TrainingEngine): Tensor[] {
  const of = (seed: number, ...shape: number[]): Tensor => {
    const { normal } = generator(seed, [7]);
    return engine.tensor(Float32Array.from({ length: sizeOf(shape) }, normal), shape);
  };
  const [B, H, G, N, d, D, F] = [2, 4, 2, 150, 20, 36, 75];
  const [x, w, wide, dy, norm] = [of(1, B, N, D), of(2, F, D), of(3, 300, D), of(4, B, N, F), of(5, D)];
  const [q, k, v, dOut] = [of(6, B, H, N, d), of(7, B, G, N, d), of(8, B, G, N, d), of(9, B, H, N, d)];
  const half = engine.weight(new Uint8Array(Uint16Array.from({ length: 300 * D }, (_, n) => 0x3000 + n % 4096).buffer), 'f16', [300, D]);
  const one = of(10, 1, D);
  const types = engine.integers(livelyIds(3, B * G * N).map((id) => id % 3), [B, G, N]);
  const how = { window: 20, chunk: 1 };
  const last = engine.lifetime(types, N, how);
  const attended = engine.attention({ q, k, v, last, scale: 0.2 });
  const inputs = { q, k, v, last, scale: 0.2, ...attended, dOut };
  const [cos, sin] = [of(11, B, N, d / 2), of(12, B, N, d / 2)];
  const targets = engine.integers(livelyIds(4, B * N).map((id) => (id % (F + 1)) - 1), [B, N]);
  const [theta, m] = [of(13, 900), of(14, 900)];
  const square = engine.tensor(Float32Array.from({ length: 900 }, (_, n) => n / 900), [900]);
  const squaredNorm = engine.sumOfSquares([x, w, dy]);
  engine.adamW(theta, of(15, 900), m, square, {
    learningRate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1, step: 3,
    clip: { squaredNorm, maxNorm: 1 },
  });
  return [
    engine.linear(x, w), engine.linear(one, wide), engine.linear(x, half), engine.linear(one, half),
    engine.linearBackwardInput(dy, w), engine.linearBackwardWeight(dy, x), engine.rmsNorm(x, norm, 1e-6),
    ...Object.values(engine.rmsNormBackward(x, x, norm, 1e-6)), engine.rope(q, cos, sin), engine.swiglu(dy, dy),
    ...Object.values(engine.swigluBackward(dy, dy, dy)), engine.crossEntropy(dy, targets),
    engine.crossEntropyBackward(dy, targets, 0.5), ...Object.values(attended), theta, m, square, squaredNorm,
    ...Object.values(engine.attentionBackward({ ...inputs, types: { types, rule: 'bounded', ...how } })),
    engine.add(x, x),
  ];
}

describe.each(['float32', 'float64'] as const)('threads in %s', (precision) => {
  const machines = [1, 2, 3].map((threads) => new Machine(precision, true, threads));
  const engines = machines.map((machine) => wasmEngineOn(machine));
  afterAll(() => engines.forEach((engine) => engine.dispose()));

  it('are there', async () => {
    await Promise.all(machines.map((machine) => machine.threads?.ready()));
    expect(machines.map(({ threads }) => threads?.running)).toEqual([undefined, 2, 3]);
  });

  it('give the bits of one in every operation', async () => {
    for (let round = 0; round < cases(2, 20); round++) {
      const [expected, ...others] = engines.map(everything);
      for (const [n, tensor] of expected.entries()) {
        const truth = await engines[0].read(tensor);
        for (const [e, other] of others.entries()) {
          expectSameBits(await engines[e + 1].read(other[n]), truth, `tensor ${n}, ${e + 2} threads`);
          other[n].dispose();
        }
        tensor.dispose();
      }
    }
  });

  it.each(['nats', 'full', 'streaming:2+3', 'h2o:4'])('give them in the logits of a session of %s', async (name) => {
    const policy = parsePolicy(name);
    const storages = engines[0].stores.cache;
    for (const cache of storages) {
      const all = [];
      for (const engine of engines) {
        const session = livelyModel(engine, livelyConfig('nats', { chunk: 1 })).session({ policy, cache });
        const out = [...await session.step(livelyIds(1, 100), { logits: 'all' })];
        for (const id of livelyIds(2, 9)) out.push(...await session.step([id], { logits: 'last' }));
        session.dispose();
        all.push(out);
      }
      for (const logits of all.slice(1)) expectSameBits(logits, all[0], 'logits');
    }
  });

  it('give them in training, those of a run that was interrupted, and in float64 those of the reference', async () => {
    const options = { ...DEFAULT_TRAIN_OPTIONS, steps: 4, batch: 2, context: 32, warmup: 1, seed: 11 };
    const tokens = livelyIds(5, 200);
    const config = livelyConfig('nats', {}, { max_position_embeddings: 32 });
    const states = [];
    for (const engine of precision === 'float64' ? [...engines, createEngine()] : engines) {
      const [whole, first] = [1, 2].map(() => new Trainer(engine, config, options, tokens));
      await whole!.run();
      await first!.next();
      const rest = new Trainer(engine, config, options, tokens, { from: await first!.state() });
      await rest.run();
      for (const trainer of [whole!, rest]) states.push(await trainer.state());
      for (const trainer of [whole!, first!, rest]) trainer.dispose();
    }
    const numbers = states.map(({ weights, m, v }) => {
      return [weights, m, v].flatMap((part) => [...part.values()].flatMap(({ data }) => [...data]));
    });
    for (const each of numbers.slice(1)) expectSameBits(Float64Array.from(each), Float64Array.from(numbers[0]), 'state');
  });

  it('need memory that stays flat', async () => {
    const engine = wasmEngineOn(machines[1]);
    // A policy with an end for every entry: what learned types hold for ever grows with the text.
    const model = livelyModel(engine, livelyConfig('nats', {}, { max_position_embeddings: 2 ** 21 }));
    const session = model.session({ policy: parsePolicy('streaming:2+30') });
    const decode = async (count: number): Promise<void> => {
      for (const id of livelyIds(count, count)) await session.next([id]);
    };
    await decode(cases(100, 2000));
    const { held } = machines[1].use;
    await decode(cases(300, 20_000));
    expect(machines[1].use.held).toBe(held);
    session.dispose();
  }, 600_000);
});

describe('createEngine({ threads })', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('names how many there are, and ends them', async () => {
    const engine = await createEngine({ engine: 'wasm', threads: 3 });
    expect(engine.name).toBe('wasm float32, 3 threads');
    engine.dispose();
    engine.dispose();
    const one = await createEngine({ engine: 'wasm', threads: 1 });
    expect(one.name).toBe('wasm float32, one thread');
  });

  it('computes on one thread where memory is not shared, and says why', async () => {
    vi.stubGlobal('crossOriginIsolated', false);
    const engine = await createEngine({ engine: 'wasm', threads: 2 });
    expect(engine.name).toBe('wasm float32, one thread (memory is not shared here: a page has to be cross-origin isolated)');
    const sum = engine.add(engine.tensor([1, 2], [2]), engine.tensor([3, 4], [2]));
    expect([...await engine.read(sum)]).toEqual([4, 6]);
  });

  it('refuses other numbers, and threads of other engines', () => {
    for (const threads of [0, 65, 1.5]) expect(() => createEngine({ engine: 'wasm', threads })).toThrow(ValueError);
    expect(() => createEngine({ threads: 2 } as object)).toThrow('threads was given without engine');
    return expect(createEngine({ gpu: 'cpu', threads: 2 } as { gpu: 'cpu' })).rejects.toThrow('threads was given with gpu');
  });
});

describe('an engine whose threads are gone', () => {
  it('goes on alone', async () => {
    const machine = new Machine('float32', true, 2);
    await machine.threads!.ready();
    machine.threads!.dispose();
    const engine = wasmEngineOn(machine);
    const x = engine.tensor(new Float32Array(4096).fill(1), [64, 64]);
    expect((await engine.read(engine.linear(x, x)))[0]).toBe(64);
    expect(wasmEngine({ threads: 2 }).name).toBe('wasm float32');
  });
});
