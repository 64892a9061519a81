/**
 * A valid call of every operation of an engine, of its caches and of its chunk pools.
 * @module
 */
import type { Cache, ChunkPool, Tensor } from '../../src/core/engine.ts';
import type { TrainingEngine } from '../../src/core/training-engine.ts';
import { type Call, methodsOf, NONE } from './hostile.ts';

/** Protected methods, which exist in JavaScript but are not for callers. */
const INTERNAL = ['chosen', 'typed', 'attended'];

interface EngineCalls {
  readonly calls: Readonly<Record<string, Call>>;
  /** The names that `calls` must have. */
  readonly names: readonly string[];
}

/** Valid calls by the names of operations, and of the methods of Cache and ChunkPool. Their results are read. */
export async function engineCalls(engine: TrainingEngine): Promise<EngineCalls> {
  const four = (...shape: number[]) => engine.tensor([1, 2, 3, 4], shape);
  const [x, w, heads] = [four(1, 2, 2), four(2, 2), four(1, 1, 2, 2)];
  const [ids, ends] = [engine.integers([0, 1], [1, 2]), engine.integers([1, 1], [1, 1, 2])];
  const kinds = engine.integers([0, 0], [1, 1, 2]);
  const [triples, one] = [engine.tensor(new Float64Array(6), [1, 1, 2, 3]), engine.tensor([1, 2], [2])];
  const forward = engine.attention({ q: heads, k: heads, v: heads, last: ends, scale: 1 });
  const half = engine.tensor([1, 1], [1, 2, 1]);
  const lifetimes = { window: 1, localWindow: 2, chunk: 1, reach: 3 };
  const clip = { squaredNorm: engine.tensor([1], [1]), maxNorm: 1 };
  const guard = engine.tensor([1], [1]);
  const adam = { learningRate: 1, beta1: 0, beta2: 0, epsilon: 1, weightDecay: 0, step: 1, clip, guard };
  const layout = { batch: 1, kvHeads: 1, headDim: 2, blockSize: 2, ...lifetimes };
  const cache = (): Cache => engine.createCache(layout);
  const filled = (): Cache => {
    const made = cache();
    made.append(heads, heads, kinds);
    return made;
  };
  const step = { q: heads, k: heads, v: heads, types: kinds, scale: 1 };
  const pool = (): ChunkPool => engine.createChunkPool(1, 2, 2, 'max');
  const pushed = pool();
  pushed.push(x).dispose();

  const given: Record<string, readonly unknown[]> = {
    tensor: [[1, 2], [2]], integers: [[1, 2], [2]], zeros: [[2]], weight: [new Uint8Array(8), 'f32', [2]],
    read: [x], readIntegers: [ids],
    add: [x, x], accumulate: [engine.tensor([1, 2], [2]), one], embedding: [w, ids], embeddingBackward: [x, ids, 2],
    pickRows: [x, ids], argmax: [x], linear: [x, w, one], linearBackwardBias: [x],
    linearBackwardInput: [x, w], linearBackwardWeight: [x, x],
    rmsNorm: [x, one, 1e-5], rmsNormBackward: [x, x, one, 1e-5], swiglu: [x, x], swigluBackward: [x, x, x],
    splitHeads: [x, 2], mergeHeads: [heads],
    rope: [heads, half, half, true], crossEntropy: [x, ids], crossEntropyBackward: [x, ids, 1], sumOfSquares: [[x, w]],
    adamW: [one, one, one, one, adam], poolChunks: [x, 2, 'mean'],
    tokenTypes: [triples, { noise: triples, temperature: 1, forceGlobal: ids }],
    tokenTypesBackward: [triples, triples, { temperature: 1, forceGlobal: ids }],
    lifetime: [kinds, 2, lifetimes], keptShare: [ends],
    addMemoryPrice: [triples, kinds, 2, { ...lifetimes, weight: 1 }],
    attention: [{ q: heads, k: heads, v: heads, last: ends, scale: 1 }],
    attentionBackward: [{
      q: heads, k: heads, v: heads, last: ends, scale: 1, ...forward, dOut: heads,
      types: { types: kinds, rule: 'exact', ...lifetimes },
    }],
  };
  const calls: Record<string, Call> = { dispose: NONE };
  for (const [name, args] of Object.entries(given)) {
    const call = async (...all: unknown[]) => seen((engine as unknown as Record<string, Method>)[name](...all));
    calls[name] = { given: args, call: call as Call['call'] };
  }
  const on = <T extends object>(make: () => T & { dispose(): void }, name: keyof T) => async (...all: never[]) => {
    const made = make();
    try {
      await seen((made[name] as Method)(...all));
    } finally {
      made.dispose();
    }
  };
  calls['createCache'] = { given: [layout], call: (options: never) => engine.createCache(options).dispose() };
  calls['createChunkPool'] = {
    given: [1, 2, 2, 'max'], call: (...all: [never, never, never, never]) => engine.createChunkPool(...all).dispose(),
  };
  Object.assign(calls, {
    'Cache.step': { given: [step, [2]], call: on(cache, 'step') },
    'Cache.prefill': { given: [step, [2]], call: on(cache, 'prefill') },
    'Cache.append': { given: [heads, heads, kinds, [2]], call: on(cache, 'append') },
    'Cache.attend': { given: [heads, 1], call: on(filled, 'attend') },
    'Cache.positions': { given: [0, 0], call: on(filled, 'positions') },
    'Cache.restore': { given: [await filled().snapshot()], call: on(cache, 'restore') },
    'ChunkPool.push': { given: [x, [2]], call: on(pool, 'push') },
    'ChunkPool.restore': { given: [await pushed.snapshot()], call: on(pool, 'restore') },
    ...Object.fromEntries(['evict', 'clear', 'stats', 'fork', 'snapshot', 'dispose'].map((name) => [`Cache.${name}`, NONE])),
    ...Object.fromEntries(['fork', 'snapshot', 'dispose'].map((name) => [`ChunkPool.${name}`, NONE])),
  });

  /** Waits for the result of an operation, which on a GPU may fail only then. */
  async function seen(result: unknown): Promise<void> {
    const settled: unknown = await result;
    const tensors = isTensor(settled) ? [settled] : Object.values((settled ?? {}) as object).filter(isTensor);
    for (const each of tensors) {
      await (each.kind === 'float' ? engine.read(each) : engine.readIntegers(each));
      each.dispose();
    }
  }

  const names = [
    ...methodsOf(engine).filter((name) => !INTERNAL.includes(name)),
    ...methodsOf(cache()).map((name) => `Cache.${name}`), ...methodsOf(pool()).map((name) => `ChunkPool.${name}`),
  ];
  return { calls, names };
}

type Method = (...all: unknown[]) => unknown;

function isTensor(value: unknown): value is Tensor {
  return typeof value === 'object' && value !== null && 'kind' in value && 'dispose' in value && !('options' in value);
}
