/**
 * Low-rank changes of the query and key projections, as LoRA has them: W x becomes W x + (alpha/r) B (A x). Weights are
 * named as PEFT names them.
 * @module
 */
import type { Changes } from '../core/composed-forms.ts';
import { ConfigError } from '../core/errors.ts';
import { expectFinite } from '../core/finite.ts';
import { generator, Stream } from '../core/random.ts';
import { type FloatArray, type NDArray, ndarray, sizeOf, zeros } from '../core/tensor.ts';
import { type Weights, weightOf } from './decoder.ts';

/** The changes that an adapter brings along. */
export interface LowRank {
  /** r: the rank of each change, from 1. */
  readonly rank: number;
  /** The changes are multiplied by alpha/r. */
  readonly alpha: number;
  /** A [r, D] and B [rows, r] of each projection, by PEFT's names. */
  readonly weights: ReadonlyMap<string, NDArray>;
}

/** The modules that are changed, as PEFT's target_modules. */
export const TARGETS = ['q_proj', 'k_proj'] as const;

/** The numbers of a config on which the shapes depend. */
export type Sizes = Readonly<Record<'layers' | 'heads' | 'kvHeads' | 'headDim' | 'hiddenSize', number>>;

/** One changed matrix [rows, D]. */
interface Target {
  readonly weight: string;
  readonly rows: number;
  readonly a: string;
  readonly b: string;
}

function targetsOf({ layers, heads, kvHeads, headDim }: Sizes): Target[] {
  return Array.from({ length: layers }, (_, n) => TARGETS.map((target) => {
    const module = `model.layers.${n}.self_attn.${target}`;
    const part = (letter: string) => `base_model.model.${module}.lora_${letter}.weight`;
    const rows = headDim * (target === 'q_proj' ? heads : kvHeads);
    return { weight: `${module}.weight`, rows, a: part('A'), b: part('B') };
  })).flat();
}

/** The largest rank that differs from any change of q at all. */
export function largestRank({ heads, headDim, hiddenSize }: Sizes): number {
  return Math.min(heads * headDim, hiddenSize);
}

/** The shapes of A [r, D] and B [rows, r] of each projection; none for rank 0. */
export function lowRankShapes(sizes: Sizes, rank: number): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  if (rank === 0) return shapes;
  for (const { a, b, rows } of targetsOf(sizes)) shapes.set(a, [rank, sizes.hiddenSize]).set(b, [rows, rank]);
  return shapes;
}

/** Changes that begin without effect: A is Normal(0, 1/D), and B is 0. */
export function initialLowRank(sizes: Sizes, rank: number, seed: number): Map<string, NDArray> {
  let index = 0;
  return new Map([...lowRankShapes(sizes, rank)].map(([name, shape]) => {
    const data = zeros(Float64Array, sizeOf(shape));
    const random = generator(seed, [Stream.LOW_RANK, index++]);
    const deviation = 1 / Math.sqrt(sizes.hiddenSize);
    if (name.endsWith('lora_A.weight')) for (let n = 0; n < data.length; n++) data[n] = deviation * random.normal();
    return [name, ndarray(data, shape)];
  }));
}

/** The changes whose A and B are among `weights`, by the tensors that they change. */
export function changesOf(
  sizes: Sizes, weights: Weights, { rank, alpha }: Pick<LowRank, 'rank' | 'alpha'>,
): Changes {
  return new Map(targetsOf(sizes).map(({ weight, a, b }) => {
    return [weightOf(weights, weight), { a: weightOf(weights, a), b: weightOf(weights, b), scale: alpha / rank }];
  }));
}

/** Adds its change to a weight. */
export type Merge = (weight: FloatArray) => FloatArray;

/**
 * How to merge changes into the weights that they change, by the names of these. Each sum is computed in float64 and
 * rounded once: to float32, or to float64 where the weight is. What is passed is not written to.
 *
 * @throws {ConfigError} If a change is missing, is of no weight of this model, or has another shape.
 * @throws {NumericError} If a change holds NaN or infinity.
 */
export function mergesOf(sizes: Sizes, { rank, alpha, weights }: LowRank): Map<string, Merge> {
  const shapes = lowRankShapes(sizes, rank);
  const strange = [...weights.keys()].find((name) => !shapes.has(name));
  if (strange !== undefined) throw new ConfigError(`the adapter holds '${strange}', which changes no weight of this model: use the model that it was fine-tuned on`);
  for (const [name, shape] of shapes) {
    const found = weights.get(name);
    if (!found) throw new ConfigError(`the adapter lacks '${name}': copy it again, or fine-tune again`);
    if (String(found.shape) !== String(shape)) {
      throw new ConfigError(`the adapter holds '${name}' as [${found.shape}], but for this model it must be [${shape}]: use the model that it was fine-tuned on`);
    }
  }
  expectFinite(weights, 'F64', 'the adapter', 'copy it again, or fine-tune again');
  return new Map(targetsOf(sizes).map(({ weight, rows, a, b }) => {
    const [A, B] = [weights.get(a)!.data, weights.get(b)!.data];
    return [weight, (base) => merged(base, A, B, { rows, rank, width: sizes.hiddenSize, scale: alpha / rank })];
  }));
}

function merged(
  base: FloatArray, A: FloatArray, B: FloatArray,
  { rows, rank, width, scale }: Readonly<Record<'rows' | 'rank' | 'width' | 'scale', number>>,
): FloatArray {
  const out = base instanceof Float64Array ? new Float64Array(base.length) : new Float32Array(base.length);
  const sum = new Float64Array(width);
  for (let m = 0; m < rows; m++) {
    sum.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = scale * B[m * rank + k];
      for (let n = 0; n < width; n++) sum[n] += factor * A[k * width + n];
    }
    for (let n = 0; n < width; n++) out[m * width + n] = base[m * width + n] + sum[n];
  }
  return out;
}
