/**
 * Draws the inputs of cases. They are made of whole numbers alone, so that a seed gives the same inputs on every
 * platform, and each is exact in bfloat16 and float16, so that one file serves kernels of every dtype and the truths
 * belong to exactly the numbers that the kernel reads.
 * @module
 */
import type { FloatTensor, NamedTensor } from '../../formats/named-tensor.ts';
import { chunkCount } from '../../core/lifetime.ts';
import { generator, type Generator, Stream } from '../../core/random.ts';
import { sizeOf } from '../../core/tensor.ts';
import { type Logits, parametersOf, type Poison, type Recipe, type ScoredTypes, typesOf } from './recipes.ts';
import type { CaseParameters, Tensors } from '../types.ts';

/** Each input has a random stream of its own, so that leaving one out changes no other. */
const INPUTS = { q: 0, k: 1, v: 2, dout: 3, scores: 4, noise: 5, sign: 6 } as const;

const POISONS: Readonly<Record<Poison['with'], readonly number[]>> = {
  nan: [NaN], infinity: [Infinity, -Infinity, Infinity, Infinity],
};

/** The inputs of `recipe` under `seed`, in the order of types.ts. */
export function drawInputs(recipe: Recipe, seed: number): Tensors {
  const parameters = parametersOf(recipe);
  const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, chunk } = parameters;
  const name = [...(recipe.draws ?? recipe.name)].map((letter) => letter.codePointAt(0)!);
  const stream = (of: keyof typeof INPUTS): Generator => generator(seed, [Stream.VECTORS, INPUTS[of], ...name]);
  const normal = (of: 'q' | 'k' | 'v' | 'dout', heads: number): FloatTensor =>
    filled([B, heads, N, d], bell(stream(of)));
  const inputs: Record<string, NamedTensor> = { q: normal('q', H), k: normal('k', G), v: normal('v', G) };
  shapeLogits(recipe.logits ?? 'normal', parameters, inputs as Record<'q' | 'k', FloatTensor>, stream('sign'));
  if (recipe.poison) poison(recipe.poison, parameters, [inputs.k as FloatTensor, inputs.v as FloatTensor]);
  if (recipe.backward ?? !recipe.poison) inputs.dout = normal('dout', H);
  if (recipe.logits === 'equal-keys' || recipe.logits === 'equal-queries') equal(recipe.logits, inputs as Record<string, FloatTensor>, d);
  if (recipe.exact) {
    for (const name of ['q', 'k', 'v', 'dout']) inputs[name]?.data.forEach((x, n) => (inputs[name].data[n] = threeBits(x)));
  }
  const chunks = chunkCount(N, chunk);
  if ('pattern' in recipe.types) {
    const types = typesOf(recipe.types, parameters);
    const data = new Int32Array(B * G * chunks);
    for (let b = 0; b < B; b++) data.set(types, b * G * chunks);
    inputs.types = { dtype: 'I32', shape: [B, G, chunks], data };
  } else Object.assign(inputs, drawScores(recipe.types, [B, G, chunks, 3], stream));
  return inputs;
}

function filled(shape: readonly number[], next: (n: number) => number): FloatTensor {
  const data = new Float64Array(sizeOf(shape));
  for (let n = 0; n < data.length; n++) data[n] = next(n);
  return { dtype: 'F64', shape, data };
}

/** Nearly normal with standard deviation 1.15: the sum of four 6-bit numbers, as a multiple of 1/32 within 126/32. */
function bell({ below }: Generator): () => number {
  return () => {
    const bits = below(2 ** 24);
    return ((bits & 63) + ((bits >> 6) & 63) + ((bits >> 12) & 63) + (bits >> 18) - 126) / 32;
  };
}

/** Turns normal q and k into what `hint` says. Sums of their products stay exact in float32, in any order. */
function shapeLogits(
  hint: Logits, { tokens: N, headDim: d }: CaseParameters, { q, k }: Record<'q' | 'k', FloatTensor>,
  { below }: Generator,
): void {
  const times = (x: FloatTensor, factor: number): void => x.data.forEach((value, n) => (x.data[n] = value * factor));
  const first = (x: FloatTensor, value: (i: number) => number): void => {
    for (let row = 0; row < x.data.length / d; row++) x.data[row * d] = value(row % N);
  };
  if (hint === 'flat') q.data.fill(0);
  if (hint === 'sharp') times(q, 8);
  if (hint === 'rising' || hint === 'falling') {
    const slope = hint === 'rising' ? 1 : -1;
    first(q, () => 16);
    first(k, (j) => slope * Math.floor(j * 128 / N) / 16);
  }
  if (hint === 'large') [q, k].forEach((x) => times(x, 64));
  if (hint === 'close') {
    // S = scale (+-100 * 100 + n 2^-10) for whole n: the spacing of float32 near 1e4.
    for (const x of [q, k]) {
      for (let n = 0; n < x.data.length; n++) {
        const c = n % d;
        if (c === 0) x.data[n] = x === q && below(2) === 1 ? -100 : 100;
        else x.data[n] = c > 1 ? 0 : x === q ? 2 ** -5 : (below(256) - 128) * 2 ** -5;
      }
    }
  }
}

/**
 * Equal scores, and sums whose terms have one sign: dv and dk for equal keys, as the values are large or small alike in
 * every component; dq for equal queries, as each key has the sign of its value.
 */
function equal(hint: 'equal-keys' | 'equal-queries', inputs: Record<string, FloatTensor>, d: number): void {
  const { q, k, v, dout } = inputs;
  const positive = (x: FloatTensor | undefined): void => {
    x?.data.forEach((value, n) => (x.data[n] = Math.abs(value) + 2 ** -5));
  };
  const signs = v.data.map((_, n) => Math.sign(v.data[n - n % d]) || 1);
  [q, k, v, dout].forEach(positive);
  if (hint === 'equal-keys') {
    k.data.fill(0);
    v.data.forEach((x, n) => (v.data[n] = x / (signs[n] > 0 ? 1 : 8)));
  } else {
    q.data.fill(0);
    for (const x of [k, v]) x.data.forEach((value, n) => (x.data[n] = value * signs[n]));
  }
}

/** The nearest number with three bits, ties away from 0: exact in e4m3 and e5m2 from 2^-7 to 448. */
function threeBits(x: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  let unit = 2 ** -5; // of drawn numbers
  while (Math.abs(x) >= 8 * unit) unit *= 2;
  return Math.sign(x) * Math.round(Math.abs(x) / unit) * unit;
}

function poison({ with: what, positions }: Poison, { headDim: d }: CaseParameters, kv: readonly FloatTensor[]): void {
  const values = POISONS[what];
  for (const { data } of kv) {
    for (const j of positions) for (let c = 0; c < d; c++) data[j * d + c] = values[c % values.length];
  }
}

/** Score plus noise is a multiple of 1/16 within 6: it is exact in every dtype, and so are ties. */
function drawScores(
  { scores: how, noise, forced }: ScoredTypes, shape: readonly number[],
  stream: (of: 'scores' | 'noise') => Generator,
): Record<string, NamedTensor> {
  const [B, , chunks] = shape as [number, number, number, number];
  const [scores, noises] = [stream('scores'), stream('noise')];
  const draw = {
    // Makes GLOBAL rarer, so that LOCAL segments are long.
    spread: (n: number) => (scores.below(64) - 32) / 16 - (n % 3 === 0 ? 1 : 0),
    tied: () => scores.below(2),
    near: () => scores.below(2) * 2 ** -14,
  }[how];
  const made: Record<string, NamedTensor> = { scores: filled(shape, draw) };
  if (noise) made.noise = filled(shape, () => (noises.below(64) - 16) / 16);
  if (forced) {
    const data = new Int32Array(B * chunks);
    for (let b = 0; b < B; b++) {
      data[b * chunks] = 1;
      if (forced === 'ends') data[b * chunks + chunks - 1] = 1;
    }
    made.forced = { dtype: 'U8', shape: [B, chunks], data };
  }
  return made;
}
