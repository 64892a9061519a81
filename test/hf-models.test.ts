/** Models as published on Hugging Face give the logits, hidden states and greedy text of transformers in float64. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import type { Engine } from '../src/core/engine.ts';
import { readModelFolder } from '../src/model/folder/model-folder.ts';
import { readSafetensors } from '../src/formats/safetensors.ts';
import { loadModel } from '../src/load.ts';
import { parsePolicy, type Policy } from '../src/policies/index.ts';
import { hiddenStates } from '../src/model/decoder.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model } from '../src/model/model.ts';
import { Tape } from '../src/core/tape.ts';
import { ENGINES, EXACT } from './support/engines.ts';
import { some, THOROUGH } from './support/thorough.ts';

const root = fileURLToPath(new URL('./fixtures/hf/models/', import.meta.url));
const names = readdirSync(root).sort();
/** These have, among them, everything that an architecture can have. The quick run tests only them on slow engines. */
const COVERING = ['llama-tied-scaled', 'mistral-window', 'qwen2-yarn', 'qwen3-tied-shard'];
const inDepth = (name: string): boolean => THOROUGH || COVERING.includes(name);

/** Tokens [2,40], logits [2,40,V], final hidden states [2,40,D] and 24 greedy tokens after each row. */
function expected(name: string): Record<'ids' | 'logits' | 'hidden' | 'continued', Float64Array | Int32Array> {
  const { tensors } = readSafetensors(readFileSync(`${root}${name}/expected.safetensors`));
  const data = (key: string) => tensors.get(key)!.data;
  return { ids: data('ids'), logits: data('logits'), hidden: data('hidden'), continued: data('continued') };
}

/** The largest difference over the largest number. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let [gap, size] = [0, 0];
  for (let n = 0; n < b.length; n++) {
    if (!Number.isFinite(a[n])) return NaN;
    gap = Math.max(gap, Math.abs(a[n] - b[n]));
    size = Math.max(size, Math.abs(b[n]));
  }
  return gap / size;
}

/** Final hidden states of rows [B,N], without a cache: lifetimes come from the model's own rule. */
async function hiddenWithoutCache(model: Model, ids: Int32Array, B: number): Promise<ArrayLike<number>> {
  const { engine, config } = model;
  const N = ids.length / B;
  const G = config.kvHeads;
  const tape = new Tape(engine, false);
  const most = config.slidingWindow ?? N; // i sees j only if i - j < most
  const last = Int32Array.from({ length: B * G * N }, (_, n) => (n % N) + most - 1);
  const positions = Array.from(ids, (_, n) => n % N);
  try {
    const tokens = tape.own(engine.integers(ids, [B, N]));
    const lives = tape.own(engine.integers(last, [B, G, N]));
    const final = hiddenStates(tape, config, model.weights, tokens, positions, (_, { q, k, v }) => {
      const { out, lse } = engine.attention({ q, k, v, last: lives, scale: 1 / Math.sqrt(config.headDim) });
      tape.own(lse);
      return tape.own(out);
    });
    return await engine.read(final);
  } finally {
    tape.dispose();
  }
}

/** The logits of both rows, fed in steps of the sizes given. */
async function logitsInSteps(
  model: Model, ids: Int32Array, sizes: readonly number[], policy?: Policy,
): Promise<{ logits: Float64Array; live: number[] }> {
  const N = ids.length / 2;
  const session = model.session({ batch: 2, blockSize: 4, ...(policy && { policy }) });
  const logits = new Float64Array(2 * N * model.config.vocabSize);
  const V = model.config.vocabSize;
  try {
    for (let at = 0, step = 0; at < N; step++) {
      const T = Math.min(sizes[step % sizes.length], N - at);
      const rows = Int32Array.from({ length: 2 * T }, (_, n) => ids[Math.floor(n / T) * N + at + (n % T)]);
      const read = await session.step(rows);
      for (const b of [0, 1]) logits.set(read.subarray(b * T * V, (b + 1) * T * V), (b * N + at) * V);
      at += T;
    }
    return { logits, live: (await session.stats()).flatMap((layer) => [...layer.live]) };
  } finally {
    session.dispose();
  }
}

/** The greedy continuations of both rows, after a prompt in steps of `prefill`, through the cache. */
async function greedy(model: Model, ids: Int32Array, prefill: number, count: number): Promise<number[]> {
  const N = ids.length / 2;
  const V = model.config.vocabSize;
  const session = model.session({ batch: 2 });
  const made: number[][] = [[], []];
  try {
    let rows = [0, 1].map((b) => [...ids.subarray(b * N, (b + 1) * N)]);
    while (made[0].length < count) {
      const T = Math.min(prefill, rows[0].length);
      const logits = await session.step(rows.flatMap((row) => row.slice(0, T)));
      rows = rows.map((row) => row.slice(T));
      if (rows[0].length > 0) continue;
      rows = [0, 1].map((b) => {
        const last = logits.subarray((b * T + T - 1) * V, (b + 1) * T * V);
        const token = last.indexOf(Math.max(...last));
        made[b].push(token);
        return [token];
      });
    }
    return made.flat();
  } finally {
    session.dispose();
  }
}

describe.each(names)('%s', (name) => {
  const want = expected(name);
  const ids = Int32Array.from(want.ids);
  const using = async (engine: Engine, body: (model: Model) => Promise<void>): Promise<void> => {
    const model = await loadModel(root + name, { engine });
    try {
      await body(model);
    } finally {
      model.dispose();
      engine.dispose();
    }
  };

  it.each(EXACT)('has the logits and hidden states of transformers, in float64 [$name]', async ({ create }) => {
    await using(await create(), async (model) => {
      expect(distance(await hiddenWithoutCache(model, ids, 2), want.hidden)).toBeLessThan(1e-9);
      for (const sizes of inDepth(name) ? [[40], [1], [3, 16, 1]] : [[3, 16, 1]]) {
        expect(distance((await logitsInSteps(model, ids, sizes)).logits, want.logits)).toBeLessThan(1e-9);
      }
    });
  });

  it('continues greedily with the tokens of transformers, however the prompt is split', () => {
    return using(referenceEngine(), async (model) => {
      for (const prefill of some(1, [7, 40, 1])) {
        expect(await greedy(model, ids, prefill, 24)).toEqual([...want.continued]);
      }
    });
  });

  it('is held in the precision of its files, and computes the same bits as when held in float64', async () => {
    const { config, weights } = await readModelFolder(root + name);
    expect([...weights.values()].every(({ data }) => data instanceof Float32Array)).toBe(true);
    const wide = new Map([...weights].map(([key, { data, shape }]) => [key, { data: Float64Array.from(data), shape }]));
    const [a, b] = [weights, wide].map((each) => new Model(referenceEngine(), config, each));
    expect((await logitsInSteps(a, ids, [5])).logits).toEqual((await logitsInSteps(b, ids, [5])).logits);
  });

  const engines = ENGINES.filter(({ precision, trains, name: engine }) => {
    return precision === 'float32' && (inDepth(name) || trains || engine.startsWith('reference'));
  });
  for (const use of engines) {
    it.skipIf(use.missing)(`agrees in float32 and chooses the same tokens [${use.name}]`, async () => {
      await using(await use.create(), async (model) => {
        // make.py, which makes the fixtures, holds transformers' own float32 to 1e-4.
        expect(distance((await logitsInSteps(model, ids, [16])).logits, want.logits)).toBeLessThan(1e-4);
        const first = [0, 1].flatMap((b) => [...want.continued.slice(b * 24, b * 24 + 8)]);
        expect(await greedy(model, ids, 16, 8)).toEqual(first);
      });
    }, 120_000);
  }
});

describe('a sliding window of the model', () => {
  const load = (engine: Engine): Promise<Model> => loadModel(`${root}mistral-window`, { engine });
  const want = expected('mistral-window');
  const ids = Int32Array.from(want.ids);

  it('limits the cache: no head holds more than the window', async () => {
    const model = await load(referenceEngine());
    const { live } = await logitsInSteps(model, ids, [7, 1]);
    expect(model.config.slidingWindow).toBe(9);
    expect(live).toEqual(new Array(2 * 3 * 2).fill(8)); // one of the 9 that the next query sees is its own
  });

  it('bounds every policy: wider windows are the same as full attention, and sinks end with it', async () => {
    const model = await load(referenceEngine());
    const policies: Policy[] = [{ kind: 'window', window: 30 }, { kind: 'streaming', sink: 2, window: 8 }];
    for (const policy of policies) {
      expect(distance((await logitsInSteps(model, ids, [5], policy)).logits, want.logits)).toBeLessThan(1e-9);
    }
    const { live } = await logitsInSteps(model, ids, [5], { kind: 'streaming', sink: 2, window: 3 });
    expect(live).toEqual(new Array(2 * 3 * 2).fill(3)); // without the model's window there would be 2 sinks more
  });

  /** The model with scorers, so that it can choose types itself. */
  const searching = async (engine: Engine, chunk: number): Promise<Model> => {
    const { config: base, weights } = await readModelFolder(`${root}mistral-window`);
    const nats = { policy: 'nats', window: 3, chunk, pooling: 'mean', lambda: 0, temperature: 1 } as const;
    const config = { ...base, nats };
    const scorers = [...initialWeights(config, 3)].filter(([name]) => !weights.has(name));
    expect(scorers).toHaveLength(config.layers);
    return new Model(engine, config, new Map([...weights, ...scorers]));
  };
  const runs = [['nats', 1], ['nats', 3], ['streaming:2+3', 1], ['full', 1], ['window:30', 1]] as const;

  for (const use of ENGINES.filter(({ precision }) => precision === 'float32')) {
    const title = `bounds the policy %s with chunks of %d as the float64 reference does [${use.name}]`;
    it.skipIf(use.missing).each(some(2, runs))(title, async (policy, chunk) => {
      const truth = await searching(referenceEngine(), chunk);
      const model = await searching(await use.create(), chunk);
      for (const sizes of [[16], [5, 1]]) {
        const [exact, got] = [
          await logitsInSteps(truth, ids, sizes, parsePolicy(policy)),
          await logitsInSteps(model, ids, sizes, parsePolicy(policy)),
        ];
        expect(distance(got.logits, exact.logits)).toBeLessThan(1e-4);
        expect(got.live).toEqual(exact.live);
        expect(Math.max(...got.live)).toBeLessThanOrEqual(8);
      }
      model.dispose();
      model.engine.dispose();
    }, 120_000);
  }
});
