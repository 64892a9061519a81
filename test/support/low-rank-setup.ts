/**
 * Changes of q and k of low rank that matter, and their sum with a weight, number by number.
 * @module
 */
import type { ModelConfig } from '../../src/model/config/config.ts';
import { lowRankShapes } from '../../src/model/low-rank.ts';
import { generator, Stream } from '../../src/core/random.ts';
import { type NDArray, ndarray } from '../../src/core/tensor.ts';

/** The rank of the changes below. */
export const RANK = 2;
/** The name of A or B. */
export const lora = (layer: number, target: string, part: 'A' | 'B'): string =>
  `base_model.model.model.layers.${layer}.self_attn.${target}.lora_${part}.weight`;

/** A and B that matter, in numbers that float32 has. */
export function someChanges(config: ModelConfig, rank: number = RANK, seed: number = 9): Map<string, NDArray> {
  const random = generator(seed, [Stream.WEIGHTS]);
  const drawn = (length: number) => Float64Array.from({ length }, () => Math.fround(0.4 * random.normal()));
  return new Map([...lowRankShapes(config, rank)].map(([name, shape]) => {
    return [name, ndarray(drawn(shape[0] * shape[1]), shape)];
  }));
}

/** W + (alpha/r) B A, number by number. */
export function sumOf(weight: NDArray, A: NDArray, B: NDArray, scale: number): Float64Array {
  const [rows, D] = weight.shape as [number, number];
  const rank = A.shape[0];
  return Float64Array.from({ length: rows * D }, (_, at) => {
    const [m, n] = [Math.floor(at / D), at % D];
    let change = 0;
    for (let k = 0; k < rank; k++) change += B.data[m * rank + k] * A.data[k * D + n];
    return weight.data[at] + scale * change;
  });
}
