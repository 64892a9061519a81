/**
 * What is measured.
 * @module
 */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createEngine } from '../src/engines.ts';
import {
  attention, attentionBackward, attentionMask, ByteTokenizer, DEFAULT_TRAIN_OPTIONS, lifetime, loadModel, type Model,
  ndarray, type NDArray, parseConfig, parsePolicy, type Session, tokenizeDocuments, Trainer,
} from '../src/index.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model as ModelClass } from '../src/model/model.ts';
import { generator } from '../src/random.ts';

/** One number; with a target it should not exceed. */
export interface Measurement {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly target?: number;
}

interface Settings {
  readonly quick: boolean;
  /** Folder of the shipped model, if there is one. */
  readonly model?: string;
}

const SHAPE = {
  vocab_size: 258, hidden_size: 96, intermediate_size: 256, num_hidden_layers: 4, num_attention_heads: 4,
  num_key_value_heads: 2, max_position_embeddings: 512, tie_word_embeddings: true,
};

/** Every case by name. */
export const CASES: readonly { name: string; run: (settings: Settings) => Promise<Measurement[]> }[] = [
  { name: 'attention', run: attentionCase },
  { name: 'decode', run: decodeCase },
  { name: 'memory', run: memoryCase },
  { name: 'training', run: trainingCase },
];

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

/** Milliseconds of each function: medians over repeats in which all take turns, after one round to warm up. */
function timeTogether(repeats: number, functions: readonly (() => void)[]): number[] {
  const times = functions.map((): number[] => []);
  for (let round = 0; round <= repeats; round++) {
    functions.forEach((run, n) => {
      const start = performance.now();
      run();
      if (round > 0) times[n]!.push(performance.now() - start);
    });
  }
  return times.map(median);
}

function randomArray(shape: readonly number[], seed: number): NDArray {
  const { normal } = generator(seed, [0]);
  return ndarray(Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, normal), shape);
}

/** Attention forward and backward, N = 2048, 4 heads, d = 64: all-GLOBAL beside about 10% visible pairs. */
async function attentionCase({ quick }: Settings): Promise<Measurement[]> {
  const N = quick ? 512 : 2048;
  const [H, d] = [4, 64];
  const [q, k, v, dOut] = [1, 2, 3, 4].map((seed) => randomArray([1, H, N, d], seed)) as [
    NDArray, NDArray, NDArray, NDArray,
  ];
  const { below } = generator(5, [0]);
  const types = (pick: () => number) => ndarray(Int32Array.from({ length: H * N }, pick), [1, H, N]);
  const full = lifetime(types(() => 0), { window: 0 });
  // 2% GLOBAL, 28% LOCAL, 70% WINDOW(N / 20).
  const sparse = lifetime(types(() => {
    const draw = below(100);
    return draw < 2 ? 0 : draw < 30 ? 1 : 2;
  }), { window: Math.floor(N / 20) });
  const visible = attentionMask(sparse).data.reduce((sum, bit) => sum + bit, 0) / (H * N * (N + 1) / 2);
  const passes = [full, sparse].map((last) => ({ last, ...attention({ q, k, v, last }) }));
  const times = timeTogether(quick ? 3 : 5, [
    ...passes.map(({ last }) => () => void attention({ q, k, v, last })),
    ...passes.map(({ last, out, lse }) => () => void attentionBackward({ q, k, v, last, out, lse, dOut })),
  ]) as [number, number, number, number];
  return [
    { what: `visible pairs of the sparse pattern, N = ${N}`, value: 100 * visible, unit: '%' },
    { what: 'forward, all-GLOBAL', value: times[0], unit: 'ms' },
    { what: 'forward, sparse / all-GLOBAL', value: times[1] / times[0], unit: '', target: 0.25 },
    { what: 'backward, all-GLOBAL', value: times[2], unit: 'ms' },
    { what: 'backward, sparse / all-GLOBAL', value: times[3] / times[2], unit: '', target: 0.25 },
  ];
}

async function openModel({ model }: Settings): Promise<Model> {
  if (model !== undefined) return loadModel(model);
  const config = parseConfig({ ...SHAPE, nats: { policy: 'nats', window: 32 } });
  return new ModelClass(createEngine(), config, initialWeights(config, 0));
}

/** Median ms per decoded token around two lengths of context, for a bounded live set and for the full cache. */
async function decodeCase(settings: Settings): Promise<Measurement[]> {
  const model = await openModel(settings);
  const [early, late] = settings.quick ? [256, 1024] : [1024, 8192];
  const text = model.tokenizer.encode(readFileSync('examples/moby-dick.txt', 'utf8')); // again and again
  const measured: Measurement[] = [];
  for (const policy of ['nats', 'streaming:4+256', 'full']) {
    // Two sessions that take turns, so that whatever else the machine does slows both.
    const sessions = [early, late].map(() => model.session({ policy: parsePolicy(policy) }));
    const next = (session: Session, count: number) => {
      const start = session.lengths[0]!;
      return Int32Array.from({ length: count }, (_, n) => text[(start + n) % text.length]!);
    };
    for (const [n, session] of sessions.entries()) {
      const length = [early, late][n]!;
      while (session.lengths[0]! < length) {
        await session.step(next(session, Math.min(64, length - session.lengths[0]!)));
      }
    }
    const times: number[][] = [[], []];
    for (let n = 0; n < 200; n++) {
      for (const [which, session] of sessions.entries()) {
        const token = next(session, 1);
        const start = performance.now();
        await session.step(token);
        times[which]!.push(performance.now() - start);
      }
    }
    const live = await Promise.all(sessions.map(async (session) => {
      return (await session.stats()).reduce((sum, layer) => sum + layer.live.reduce((a, b) => a + b, 0), 0);
    }));
    sessions.forEach((session) => session.dispose());
    const [first, last] = times.map(median) as [number, number];
    measured.push(
      { what: `${policy}: ms per token after ${early} (${live[0]} entries live)`, value: first, unit: 'ms' },
      {
        what: `${policy}: after ${late} / after ${early} (${live[1]} entries live)`, value: last / first, unit: '',
        ...(policy.startsWith('streaming') && { target: 1.3 }),
      },
    );
  }
  model.dispose();
  return measured;
}

/** Memory while 50,000 tokens are decoded by a small model with a bounded live set. */
async function memoryCase({ quick }: Settings): Promise<Measurement[]> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const config = parseConfig({
    ...SHAPE, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2,
    num_key_value_heads: 1, nats: { policy: 'streaming:4+64', window: 64 },
  });
  const model = new ModelClass(createEngine(), config, initialWeights(config, 0));
  const session = model.session();
  const total = quick ? 10_000 : 50_000;
  const heap: number[] = [];
  const resident: number[] = [];
  for (let n = 1; n <= total; n++) {
    await session.step([n % 256]);
    if (n !== total / 5 && n !== total) continue;
    collect();
    heap.push(process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers);
    resident.push((await session.stats())[0]!.bytes[0]!);
  }
  const { entryBytes } = (await session.stats())[0]!;
  session.dispose();
  return [
    {
      what: `cache bytes after ${total} tokens / bytes of its 68 live entries in whole blocks`,
      value: resident[1]! / (80 * entryBytes), unit: '', target: 1,
    },
    {
      what: `cache bytes after ${total} / after ${total / 5} tokens`,
      value: resident[1]! / resident[0]!, unit: '', target: 1,
    },
    {
      what: `memory of the process after ${total} / after ${total / 5} tokens`,
      value: heap[1]! / heap[0]!, unit: '', target: 1.1,
    },
  ];
}

/** Tokens per second of training the shipped configuration, on one thread. */
async function trainingCase({ quick }: Settings): Promise<Measurement[]> {
  const tokens = tokenizeDocuments(new ByteTokenizer(), ['All work and no play makes a dull text. '.repeat(100)]);
  const measured: Measurement[] = [];
  for (const policy of ['full', 'nats']) {
    const config = parseConfig({ ...SHAPE, nats: { policy, window: 32, lambda: 0.03 } });
    const options = { ...DEFAULT_TRAIN_OPTIONS, batch: 2, steps: quick ? 3 : 6 };
    const trainer = new Trainer(createEngine(), config, options, tokens);
    const times: number[] = [];
    let before = performance.now();
    await trainer.run({
      onStep: () => {
        times.push(performance.now() - before);
        before = performance.now();
      },
    });
    trainer.dispose();
    const speed = (options.batch * options.context * 1000) / median(times.slice(1));
    measured.push({ what: `${policy}: tokens per second, one thread, first steps`, value: speed, unit: 'tok/s' });
  }
  return measured;
}
