/**
 * The gpu.js engine on a GPU: attention forward at sizes of real models, decoding over long contexts, training.
 * The data is on the device; moving it is measured separately.
 * @module
 */
import { readFileSync } from 'node:fs';
import type { Engine, Tensor } from '../src/core/engine.ts';
import { ByteTokenizer, DEFAULT_TRAIN_OPTIONS, tokenizeDocuments, Trainer } from '../src/index.ts';
import { generator } from '../src/core/random.ts';
import { batchGradients } from '../src/train/trainer.ts';
import { type Measurement, type Settings, timeInTurns } from './measure.ts';
import { shippedConfig } from './models.ts';

const [QUERY_HEADS, KV_HEADS, HEAD_DIM, WINDOW] = [32, 8, 128, 256];
const SCALE = 1 / Math.sqrt(HEAD_DIM);

/** Waits until all earlier operations are done, by reading back a single number. */
async function finished(engine: Engine): Promise<void> {
  const [one, two] = [engine.zeros([1]), engine.zeros([1])];
  const sum = engine.add(one, two);
  await engine.read(sum);
  for (const tensor of [one, two, sum]) tensor.dispose();
}

/** Normally distributed numbers. Long arrays repeat one block. */
function floats(seed: number, length: number): Float32Array {
  const { normal } = generator(seed, [0]);
  const block = Float32Array.from({ length: Math.min(length, 2 ** 18) }, normal);
  return Float32Array.from({ length }, (_, n) => block[n % block.length]);
}

/** 10% GLOBAL, 30% LOCAL, 60% WINDOW(256). */
function mixedTypes(length: number): Int32Array {
  const { below } = generator(5, [0]);
  return Int32Array.from({ length }, () => {
    const draw = below(10);
    return draw < 1 ? 0 : draw < 4 ? 1 : 2;
  });
}

/** Forward over 32 query heads and 8 KV heads, d = 128. */
export async function gpuAttentionCase({ quick, repeats, openEngine, createEngine }: Settings): Promise<Measurement[]> {
  if (!openEngine) return [];
  const engine = await openEngine();
  const found: Measurement[] = [];
  for (const N of quick ? [256, 512] : [1024, 4096, 16384]) {
    const [queries, keys] = [[1, QUERY_HEADS, N, HEAD_DIM], [1, KV_HEADS, N, HEAD_DIM]];
    const data = [QUERY_HEADS, KV_HEADS, KV_HEADS].map((heads, n) => floats(n + 1, heads * N * HEAD_DIM));
    await finished(engine);
    const begin = performance.now();
    const [q, k, v] = [engine.tensor(data[0], queries), engine.tensor(data[1], keys), engine.tensor(data[2], keys)];
    await finished(engine);
    const upload = performance.now() - begin;
    const patterns = [new Int32Array(KV_HEADS * N), mixedTypes(KV_HEADS * N)].map((types) =>
      engine.lifetime(engine.integers(types, [1, KV_HEADS, N]), N, { window: WINDOW, chunk: 1 }));
    const mixedLifetimes = await engine.readIntegers(patterns[1]);
    const visible = mixedLifetimes.reduce((pairs, last, n) => pairs + Math.min(last, N - 1) - (n % N) + 1, 0);
    const times = await timeInTurns(patterns.map((last) => async () => {
      const { out, lse } = engine.attention({ q, k, v, last, scale: SCALE });
      await finished(engine);
      out.dispose();
      lse.dispose();
    }), { rounds: repeats });
    const { out } = engine.attention({ q, k, v, last: patterns[0], scale: SCALE });
    await finished(engine);
    const start = performance.now();
    await engine.read(out);
    const [dense, mixed] = times as [number, number];
    const flops = 4 * QUERY_HEADS * HEAD_DIM * (N * (N + 1) / 2);
    found.push(
      { what: `N = ${N}: forward, all-GLOBAL`, value: dense, unit: 'ms' },
      { what: `N = ${N}: forward, all-GLOBAL`, value: flops / (dense * 1e6), unit: 'GFLOP/s' },
      { what: `N = ${N}: visible pairs, 10% GLOBAL + 30% LOCAL + 60% WINDOW(${WINDOW})`, value: (100 * visible) / (KV_HEADS * N * (N + 1) / 2), unit: '%' },
      { what: `N = ${N}: forward, mixed`, value: mixed, unit: 'ms' },
      { what: `N = ${N}: forward, mixed / all-GLOBAL`, value: mixed / dense, unit: '', ...(N === 4096 && { target: 0.3 }) },
      { what: `N = ${N}: upload of q, k, v`, value: upload, unit: 'ms' },
      { what: `N = ${N}: reading out back`, value: performance.now() - start, unit: 'ms' },
    );
    if (N === (quick ? 512 : 4096)) found.push(...await besideReference(createEngine(), data, N, dense));
    for (const tensor of [q, k, v, out, ...patterns]) tensor.dispose();
  }
  engine.dispose();
  return found;
}

/** Times the reference on one KV head and its query heads. All heads would take KV_HEADS times as long. */
async function besideReference(
  engine: Engine, [q, k, v]: readonly Float32Array[], N: number, gpu: number,
): Promise<Measurement[]> {
  const share = QUERY_HEADS / KV_HEADS;
  const part = (x: Float32Array | undefined, heads: number): Tensor =>
    engine.tensor(x!.subarray(0, heads * N * HEAD_DIM), [1, heads, N, HEAD_DIM]);
  const last = engine.lifetime(engine.integers(new Int32Array(N), [1, 1, N]), N, { window: WINDOW, chunk: 1 });
  const inputs = { q: part(q, share), k: part(k, 1), v: part(v, 1), last, scale: SCALE };
  const [time] = await timeInTurns([async () => engine.attention(inputs)], { rounds: 1, warmUp: 0 }) as [number];
  engine.dispose();
  return [
    { what: `N = ${N}: reference on this CPU, ${share} of ${QUERY_HEADS} query heads`, value: time, unit: 'ms' },
    { what: `N = ${N}: this engine / reference, all heads`, value: gpu / (time * KV_HEADS), unit: '', target: 1 / 50 },
  ];
}

/** Times one decoded token of one layer, with a cache that keeps 1,024 GLOBAL tokens and a window, or everything. */
export async function gpuDecodeCase({ quick, openEngine }: Settings): Promise<Measurement[]> {
  if (!openEngine) return [];
  const engine = await openEngine();
  const found: Measurement[] = [];
  for (const [name, pick] of [
    ['bounded live set (WINDOW(256) after 1,024 GLOBAL)', (n: number) => (n < 1024 ? 0 : 2)],
    ['everything kept', () => 0],
  ] as const) {
    const marks = quick ? [512, 1024] : [1024, 4096, 16384, 65536, 131072];
    const cache = engine.createCache({
      batch: 1, kvHeads: KV_HEADS, headDim: HEAD_DIM, window: WINDOW, chunk: 1, blockSize: 64,
    });
    const chunk = 512;
    const k = engine.tensor(floats(7, KV_HEADS * chunk * HEAD_DIM), [1, KV_HEADS, chunk, HEAD_DIM]);
    const one = engine.tensor(floats(8, KV_HEADS * HEAD_DIM), [1, KV_HEADS, 1, HEAD_DIM]);
    const q = engine.tensor(floats(9, QUERY_HEADS * HEAD_DIM), [1, QUERY_HEADS, 1, HEAD_DIM]);
    let seen = 0;
    const times: number[] = [];
    for (const mark of marks) {
      for (; seen < mark; seen += chunk) {
        const row = Int32Array.from({ length: chunk }, (_, n) => pick(seen + n));
        const types = engine.integers(Array.from({ length: KV_HEADS }, () => [...row]).flat(), [1, KV_HEADS, chunk]);
        cache.append(k, k, types);
        cache.evict();
        types.dispose();
      }
      const type = engine.integers(new Int32Array(KV_HEADS).fill(pick(seen)), [1, KV_HEADS, 1]);
      const [time] = await timeInTurns([async () => {
        cache.append(one, one, type);
        const out = cache.attend(q, SCALE);
        cache.evict();
        await engine.read(out);
        out.dispose();
        seen++;
      }], { rounds: 30, warmUp: 5 }) as [number];
      // Fill up to a whole number of chunks again.
      const rest = chunk - (seen % chunk);
      for (let n = 0; n < rest; n++, seen++) {
        cache.append(one, one, type);
        cache.evict();
      }
      type.dispose();
      const { live, bytes } = await cache.stats();
      times.push(time);
      found.push(
        { what: `${name}: token after ${mark} seen`, value: time, unit: 'ms' },
        { what: `${name}: live entries per head`, value: live[0], unit: '' },
        { what: `${name}: cache of the layer`, value: bytes.reduce((a, b) => a + b, 0) / 2 ** 20, unit: 'MiB' },
      );
    }
    found.push({ what: `${name}: longest / shortest`, value: times[times.length - 1] / times[0], unit: '' });
    cache.dispose();
  }
  engine.dispose();
  return found;
}

/**
 * The median milliseconds of a step over `rounds` rounds of `steps` steps, as bench/peers/training.py measures them,
 * after `warmUp` steps: a GPU that was idle needs half a second to become fast.
 */
async function timeOfStep(
  trainer: Trainer, { warmUp, rounds, steps }: { warmUp: number; rounds: number; steps: number },
): Promise<number> {
  for (let n = 0; n < warmUp; n++) await trainer.next();
  const [time] = await timeInTurns([async () => {
    for (let n = 0; n < steps; n++) await trainer.next();
  }], { rounds, warmUp: 0 }) as [number];
  return time / steps;
}

/** Times training of the shipped configuration, 16 x 1,024 tokens a step, in the way of `natsearch train --gpu`. */
export async function gpuTrainingCase(
  { quick, repeats, model, compute, openEngine }: Settings,
): Promise<Measurement[]> {
  if (!openEngine) return [];
  const tokens = tokenizeDocuments(new ByteTokenizer(), [readFileSync('examples/moby-dick.txt', 'utf8')]);
  const options = {
    ...DEFAULT_TRAIN_OPTIONS, batch: quick ? 1 : 16, context: quick ? 64 : 1024,
    ...(compute === 'f16' && { precision: 'mixed' as const }),
  };
  const found: Measurement[] = [];
  for (const policy of ['full', 'nats']) {
    const engine = await openEngine();
    const config = shippedConfig(model, policy);
    const trainer = new Trainer(engine, config, options, tokens, { source: batchGradients(config, options) });
    const how = quick ? { warmUp: 1, rounds: repeats, steps: 2 } : { warmUp: 30, rounds: 2 * repeats - 1, steps: 10 };
    const time = await timeOfStep(trainer, how);
    trainer.dispose();
    engine.dispose();
    found.push({ what: `${policy}: ${options.batch} x ${options.context} tokens a step`, value: (options.batch * options.context * 1000) / time, unit: 'tokens/s' });
  }
  return found;
}
