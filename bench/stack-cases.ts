/**
 * Every operation of the engine contract on fixed inputs, at a few odd sizes. Inputs and constants are float32
 * numbers, so that engines in float32 and in float64 compute with the same inputs.
 * @module
 */
import type { Tensor } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { createEngine } from '../src/engines.ts';
import { chunkCount } from '../src/core/lifetime.ts';
import { generator } from '../src/core/random.ts';
import { sizeOf } from '../src/core/tensor.ts';

/** One result of an operation. `exact` marks whole numbers, which must be the same on every engine. */
export interface Result {
  readonly name: string;
  readonly values: ArrayLike<number>;
  readonly exact?: true;
}

/** Runs an operation. `size` is 0, 1 or 2; `draw` gives the same inputs on every engine. */
export type StackCase = (engine: TrainingEngine, draw: Draw, size: number) => Promise<readonly Result[]>;

export const SIZES: readonly number[] = [0, 1, 2];

/** Inputs from a fixed seed. */
export class Draw {
  readonly #random: ReturnType<typeof generator>;

  constructor(seed: number, stream: readonly number[]) {
    this.#random = generator(seed, stream);
  }

  /** Normally distributed numbers, rounded to float32. */
  floats(shape: readonly number[], scale = 1): Float32Array {
    return Float32Array.from({ length: sizeOf(shape) }, () => this.#random.normal() * scale);
  }

  /** Whole numbers below n. */
  whole(shape: readonly number[], n: number): Int32Array {
    return Int32Array.from({ length: sizeOf(shape) }, () => this.#random.below(n));
  }
}

const EPSILON = 2 ** -17;
const ROWS = [[1, 3], [2, 7], [3, 21]] as const;
const WIDTHS = [5, 33, 130] as const;

/** Reads tensors back, each as a result of the same name. */
async function read(engine: TrainingEngine, tensors: Readonly<Record<string, Tensor>>): Promise<Result[]> {
  const results: Result[] = [];
  for (const [name, tensor] of Object.entries(tensors)) {
    results.push(tensor.kind === 'integer'
      ? { name, values: await engine.readIntegers(tensor), exact: true }
      : { name, values: await engine.read(tensor) });
  }
  return results;
}

/** A float tensor drawn at random. */
function random(engine: TrainingEngine, draw: Draw, shape: readonly number[], scale?: number): Tensor {
  return engine.tensor(draw.floats(shape, scale), shape);
}

function whole(engine: TrainingEngine, draw: Draw, shape: readonly number[], n: number): Tensor {
  return engine.integers(draw.whole(shape, n), shape);
}

/** A result of the float64 reference, rounded to float32, as an input for the backward of the same operation. */
async function rounded(run: (engine: TrainingEngine) => Tensor): Promise<Float32Array> {
  const engine = createEngine();
  try {
    return Float32Array.from(await engine.read(run(engine)));
  } finally {
    engine.dispose();
  }
}

const elementwise: StackCase = async (engine, draw, size) => {
  const shape = [...ROWS[size], WIDTHS[size]];
  const [a, b, sum] = [random(engine, draw, shape), random(engine, draw, shape), random(engine, draw, shape)];
  engine.accumulate(sum, a);
  return read(engine, { add: engine.add(a, b), accumulate: sum });
};

const embedding: StackCase = async (engine, draw, size) => {
  const [V, D] = [17, WIDTHS[size]];
  const ids = whole(engine, draw, ROWS[size], V);
  return read(engine, {
    embedding: engine.embedding(random(engine, draw, [V, D]), ids),
    embeddingBackward: engine.embeddingBackward(random(engine, draw, [...ROWS[size], D]), ids, V),
  });
};

const linear: StackCase = async (engine, draw, size) => {
  const [K, M] = [WIDTHS[size], WIDTHS[2 - size]];
  const x = random(engine, draw, [...ROWS[size], K]);
  const dOut = random(engine, draw, [...ROWS[size], M]);
  const weight = random(engine, draw, [M, K]);
  return read(engine, {
    linear: engine.linear(x, weight),
    'linearBackward dx': engine.linearBackwardInput(dOut, weight),
    'linearBackward dWeight': engine.linearBackwardWeight(dOut, x),
  });
};

/** Products so large that an engine may have kernels of their own for them, of odd sizes and of multiples of four. */
const largeProducts: StackCase = async (engine, draw, size) => {
  if (size === 0) return [];
  const [rows, K, M] = [[515, 519, 517], [516, 520, 524]][size - 1];
  const [x, dOut, weight] = [[rows, K], [rows, M], [M, K]].map((shape) => random(engine, draw, shape));
  return read(engine, {
    'linear, large': engine.linear(x, weight),
    'linearBackward dx, large': engine.linearBackwardInput(dOut, weight),
    'linearBackward dWeight, large': engine.linearBackwardWeight(dOut, x),
  });
};

const rmsNorm: StackCase = async (engine, draw, size) => {
  const shape = [...ROWS[size], WIDTHS[size]];
  const [x, dOut] = [random(engine, draw, shape), random(engine, draw, shape)];
  const weight = random(engine, draw, [WIDTHS[size]]);
  const { dx, dWeight } = engine.rmsNormBackward(dOut, x, weight, EPSILON);
  return read(engine, {
    rmsNorm: engine.rmsNorm(x, weight, EPSILON), 'rmsNormBackward dx': dx, 'rmsNormBackward dWeight': dWeight,
  });
};

const swiglu: StackCase = async (engine, draw, size) => {
  const shape = [...ROWS[size], WIDTHS[size]];
  const [gate, up, dOut] = [random(engine, draw, shape, 4), random(engine, draw, shape), random(engine, draw, shape)];
  const { dGate, dUp } = engine.swigluBackward(dOut, gate, up);
  return read(engine, { swiglu: engine.swiglu(gate, up), 'swigluBackward dGate': dGate, 'swigluBackward dUp': dUp });
};

const heads: StackCase = async (engine, draw, size) => {
  const [[B, N], H, d] = [ROWS[size], 3, [2, 6, 20][size]];
  const angles = draw.floats([B, N, d / 2], 50);
  const x = random(engine, draw, [B, H, N, d]);
  const [cos, sin] = [Math.cos, Math.sin].map((of) => engine.tensor(angles.map((a) => of(a)), [B, N, d / 2]));
  return read(engine, {
    splitHeads: engine.splitHeads(random(engine, draw, [B, N, H * d]), H), mergeHeads: engine.mergeHeads(x),
    rope: engine.rope(x, cos, sin), 'rope inverse': engine.rope(x, cos, sin, true),
  });
};

const crossEntropy: StackCase = async (engine, draw, size) => {
  const V = WIDTHS[size];
  const logits = random(engine, draw, [...ROWS[size], V], 5);
  const targets = engine.integers(draw.whole(ROWS[size], V + 1).map((target) => target - 1), ROWS[size]);
  return read(engine, {
    crossEntropy: engine.crossEntropy(logits, targets),
    crossEntropyBackward: engine.crossEntropyBackward(logits, targets, 2 ** -5),
  });
};

const adamW: StackCase = async (engine, draw, size) => {
  const shape = [ROWS[size][1], WIDTHS[size]];
  const [parameter, gradient, m] = [0, 1, 2].map(() => random(engine, draw, shape)) as [Tensor, Tensor, Tensor];
  const v = engine.tensor(draw.floats(shape).map((x) => x * x), shape);
  const squaredNorm = engine.sumOfSquares([gradient, m]);
  engine.adamW(parameter, gradient, m, v, {
    learningRate: 2 ** -7, beta1: 0.875, beta2: 0.96875, epsilon: 2 ** -20, weightDecay: 0.125, step: size + 1,
    clip: { squaredNorm, maxNorm: 1 },
  });
  return read(engine, { sumOfSquares: squaredNorm, 'adamW parameter': parameter, 'adamW m': m, 'adamW v': v });
};

const chunks: StackCase = async (engine, draw, size) => {
  const [[B, N], D, C] = [ROWS[size], WIDTHS[size], 4];
  const x = random(engine, draw, [B, N, D]);
  const pool = engine.createChunkPool(B, D, C, 'mean');
  const pushed: number[] = [];
  for (const T of [3, 1, 6]) pushed.push(...await engine.read(pool.push(random(engine, draw, [B, T, D]))));
  pool.dispose();
  return [
    ...await read(engine, {
      'poolChunks mean': engine.poolChunks(x, C, 'mean'), 'poolChunks max': engine.poolChunks(x, C, 'max'),
    }),
    { name: 'ChunkPool push', values: pushed },
  ];
};

const search: StackCase = async (engine, draw, size) => {
  const [[B, N], G, temperature] = [ROWS[size], 2, 0.5];
  const shape = [B, G, N, 3];
  const [scores, noise, dTypes] = [0, 1, 2].map(() => draw.floats(shape));
  const force = draw.whole([B, N], 2);
  const y = await rounded((one) => one.tokenTypes(one.tensor(scores, shape), {
    noise: one.tensor(noise, shape), temperature, forceGlobal: one.integers(force, [B, N]),
  }).probabilities);
  const forceGlobal = engine.integers(force, [B, N]);
  const chosen = engine.tokenTypes(engine.tensor(scores, shape), {
    noise: engine.tensor(noise, shape), temperature, forceGlobal,
  });
  return read(engine, {
    tokenTypes: chosen.types, 'tokenTypes probabilities': chosen.probabilities,
    tokenTypesBackward: engine.tokenTypesBackward(
      engine.tensor(dTypes, shape), engine.tensor(y, shape), { temperature, forceGlobal },
    ),
  });
};

const lifetime: StackCase = async (engine, draw, size) => {
  const [[B, N], G, chunk] = [[ROWS[size][0], [9, 50, 301][size]], 2, size + 1];
  const Nc = chunkCount(N, chunk);
  const types = whole(engine, draw, [B, G, Nc], 3);
  const options = { window: 5, chunk };
  const last = engine.lifetime(types, N, options);
  const dTypes = random(engine, draw, [B, G, Nc, 3]);
  return read(engine, {
    lifetime: last, keptShare: engine.keptShare(last),
    addMemoryPrice: engine.addMemoryPrice(dTypes, types, N, { ...options, weight: 2 ** -6 }),
  });
};

const attention: StackCase = async (engine, draw, size) => {
  const [B, H, G, N, d] = ([[1, 2, 1, 7, 3], [2, 4, 2, 33, 8], [1, 6, 2, 130, 20]] as const)[size];
  const options = { window: 5, chunk: size + 1 };
  const [queries, keys] = [[B, H, N, d], [B, G, N, d]];
  const [qs, ks, vs, dOuts] = [queries, keys, keys, queries].map((shape) => draw.floats(shape));
  const kinds = draw.whole([B, G, chunkCount(N, options.chunk)], 3);
  const scale = Math.fround(1 / Math.sqrt(d));
  const upload = (to: TrainingEngine) => {
    const types = to.integers(kinds, [B, G, chunkCount(N, options.chunk)]);
    return {
      types, q: to.tensor(qs, queries), k: to.tensor(ks, keys), v: to.tensor(vs, keys),
      last: to.lifetime(types, N, options), scale,
    };
  };
  const outs = await rounded((one) => one.attention(upload(one)).out);
  const lses = await rounded((one) => one.attention(upload(one)).lse);
  const { types, ...inputs } = upload(engine);
  const { out, lse } = engine.attention(inputs);
  const backward = (rule: 'exact' | 'bounded') => engine.attentionBackward({
    ...inputs, out: engine.tensor(outs, queries), lse: engine.tensor(lses, [B, H, N]),
    dOut: engine.tensor(dOuts, queries), types: { types, rule, ...options },
  });
  const { dq, dk, dv, dTypes } = backward('bounded');
  return read(engine, {
    'attention out': out, 'attention lse': lse, 'attentionBackward dq': dq, 'attentionBackward dk': dk,
    'attentionBackward dv': dv, 'attentionBackward dTypes, bounded': dTypes!,
    'attentionBackward dTypes, exact': backward('exact').dTypes!,
  });
};

const cache: StackCase = async (engine, draw, size) => {
  const [B, H, G, d] = ([[1, 1, 1, 3], [2, 4, 2, 8], [1, 6, 2, 20]] as const)[size];
  const cache = engine.createCache({
    batch: B, kvHeads: G, headDim: d, window: 6, chunk: 1, blockSize: 4,
  });
  const scale = Math.fround(1 / Math.sqrt(d));
  const outs: number[] = [];
  for (const T of [13, ...new Array<number>(20).fill(1), 5]) {
    const [k, v] = [random(engine, draw, [B, G, T, d]), random(engine, draw, [B, G, T, d])];
    cache.append(k, v, whole(engine, draw, [B, G, T], 3));
    outs.push(...await engine.read(cache.attend(random(engine, draw, [B, H, T, d]), scale)));
    cache.evict();
  }
  const held: number[] = [];
  for (let n = 0; n < B * G; n++) held.push(...await cache.positions(Math.floor(n / G), n % G), -1);
  const { live, visiblePairs } = await cache.stats();
  cache.dispose();
  return [
    { name: 'Cache attend', values: outs },
    { name: 'Cache positions, live, visible pairs', values: [...held, ...live, ...visiblePairs], exact: true },
  ];
};

export const STACK_CASES: readonly StackCase[] = [
  elementwise, embedding, linear, largeProducts,
  rmsNorm, swiglu, heads, crossEntropy, adamW, chunks, search, lifetime, attention,
  cache,
];
