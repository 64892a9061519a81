/**
 * The search of token types for callers with arrays (§6): checks the arguments, then lets the reference compute.
 * @module
 */
import { floats, integers, optional } from '../../src/core/arguments.ts';
import { anything, expectFields } from '../../src/core/known-options.ts';
import { expectPositive } from '../../src/core/shape.ts';
import { scoresSizes } from '../../src/core/sizes.ts';
import type { NDArray } from '../../src/core/tensor.ts';
import * as reference from '../search.ts';

/**
 * Chooses a type per token (or chunk) and KV head: types = argmax_c (scores + noise), ties to the lowest
 * index, with probabilities y = softmax((scores + noise) / temperature) (§6).
 *
 * In training, noise is Gumbel(0,1); at inference, it is left out.
 *
 * @param options.scores [B,G,Nc,3], without NaN.
 * @param options.noise [B,G,Nc,3], without NaN.
 * @param options.temperature tau > 0. Default: 1.
 * @param options.forceGlobal [B,Nc], 1 where the type must be GLOBAL whatever the scores.
 * @returns types [B,G,Nc] and probabilities [B,G,Nc,3].
 * @throws {ShapeError} If shapes contradict each other.
 * @throws {ValueError} If a score or noise is NaN or the temperature is not above 0.
 * @example
 * ```ts
 * import { ndarray, selectTokenTypes } from 'neural-attention-search';
 * const scores = ndarray(Float64Array.of(0, 2, 1, 5, 5, 5), [1, 1, 2, 3]);
 * console.log([...selectTokenTypes({ scores }).types.data]); // [1,0]
 * ```
 */
export function selectTokenTypes(options: {
  scores: NDArray;
  noise?: NDArray;
  temperature?: number;
  forceGlobal?: NDArray<Int32Array>;
}): { types: NDArray<Int32Array>; probabilities: NDArray } {
  expectFields('selectTokenTypes()', 'options', options, {
    scores: floats, noise: optional(floats), temperature: anything, forceGlobal: optional(integers),
  });
  const { scores, noise, temperature = 1, forceGlobal } = options;
  const sizes = scoresSizes(scores, noise, forceGlobal);
  expectPositive('temperature', temperature);
  return reference.tokenTypes(scores, { noise, temperature, forceGlobal }, sizes);
}

/**
 * The straight-through gradient (§6): the cotangent of the one-hot types is taken as that of y, so that
 * dscores = y (dt - sum_c y_c dt_c) / temperature. It is 0 for forced types, which do not depend on their scores.
 *
 * @param options.dTypes The cotangent (dg, dl, dw) of the one-hot types, including the price, [B,G,Nc,3].
 * @param options.probabilities y from the forward, [B,G,Nc,3].
 * @returns dscores, [B,G,Nc,3].
 * @throws {ShapeError} If shapes contradict each other.
 * @throws {ValueError} If the temperature is not above 0.
 * @example
 * ```ts
 * import { ndarray, tokenTypesBackward } from 'neural-attention-search';
 * const probabilities = ndarray(Float64Array.of(0.5, 0.25, 0.25), [1, 1, 1, 3]);
 * const dTypes = ndarray(Float64Array.of(1, 0, 0), [1, 1, 1, 3]); // being GLOBAL costs 1
 * console.log([...tokenTypesBackward({ dTypes, probabilities }).data]); // [0.25,-0.125,-0.125]
 * ```
 */
export function tokenTypesBackward(options: {
  dTypes: NDArray;
  probabilities: NDArray;
  temperature?: number;
  forceGlobal?: NDArray<Int32Array>;
}): NDArray {
  expectFields('tokenTypesBackward()', 'options', options, {
    dTypes: floats, probabilities: floats, temperature: anything, forceGlobal: optional(integers),
  });
  const { dTypes, probabilities, temperature = 1, forceGlobal } = options;
  const sizes = scoresSizes(probabilities, dTypes, forceGlobal);
  expectPositive('temperature', temperature);
  return reference.tokenTypesBackward(dTypes, probabilities, { temperature, forceGlobal }, sizes);
}
