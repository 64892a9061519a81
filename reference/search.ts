/**
 * §6: choosing token types, and the straight-through gradient to their scores.
 * @module
 */
import { floats, integers, optional, record } from '../src/core/arguments.ts';
import { scoresSizes } from '../src/core/checks.ts';
import { exp } from '../src/core/elementary.ts';
import { TokenType } from '../src/core/lifetime.ts';
import { checkScores } from '../src/core/shape.ts';
import { type NDArray, zerosLike } from '../src/core/tensor.ts';

/**
 * Chooses a type per token (or chunk) and KV head: types = argmax_c (scores + noise), ties to the lowest
 * index, with probabilities y = softmax((scores + noise) / temperature) (§6).
 *
 * Noise is Gumbel(0,1) while training and left out at inference.
 *
 * @param options.scores [B,G,Nc,3], no NaN.
 * @param options.noise [B,G,Nc,3], no NaN.
 * @param options.temperature tau > 0 (default 1).
 * @param options.forceGlobal [B,Nc], 1 where the type must be GLOBAL whatever the scores.
 * @returns types [B,G,Nc] and probabilities [B,G,Nc,3].
 * @throws {ShapeError} If shapes disagree.
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
  record({ scores: floats, noise: optional(floats), forceGlobal: optional(integers) })('options', options);
  const { scores, noise, temperature = 1, forceGlobal } = options;
  const { B, G, chunks } = scoresSizes(scores, noise, temperature, forceGlobal);
  checkScores(scores.data);
  if (noise) checkScores(noise.data);
  const types = new Int32Array(B * G * chunks);
  const probabilities = zerosLike(scores.data, scores.data.length);
  for (let t = 0; t < types.length; t++) {
    const z = [0, 1, 2].map((c) => scores.data[3 * t + c] + (noise ? noise.data[3 * t + c] : 0));
    const best = z[0] >= z[1] && z[0] >= z[2] ? 0 : z[1] >= z[2] ? 1 : 2;
    const e = z.map((zc) => (zc === z[best] ? 1 : exp((zc - z[best]) / temperature)));
    const Z = e[0] + e[1] + e[2];
    for (let c = 0; c < 3; c++) probabilities[3 * t + c] = e[c] / Z;
    types[t] = isForced(forceGlobal, t, G, chunks) ? TokenType.GLOBAL : best;
  }
  return { types: { data: types, shape: [B, G, chunks] }, probabilities: { data: probabilities, shape: scores.shape } };
}

/**
 * Straight through (§6): the one-hot's cotangent becomes y's, so
 * dscores = y (dt - sum_c y_c dt_c) / temperature. A forced type does not depend on its scores: 0.
 *
 * @param options.dTypes Cotangent (dg, dl, dw) of the one-hot types, price included, [B,G,Nc,3].
 * @param options.probabilities y from the forward, [B,G,Nc,3].
 * @returns dscores, [B,G,Nc,3].
 * @throws {ShapeError} If shapes disagree.
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
  record({ dTypes: floats, probabilities: floats, forceGlobal: optional(integers) })('options', options);
  const { dTypes, probabilities: y, temperature = 1, forceGlobal } = options;
  const { G, chunks } = scoresSizes(y, dTypes, temperature, forceGlobal);
  const dScores = zerosLike(y.data, y.data.length);
  for (let t = 0; t < y.data.length / 3; t++) {
    if (isForced(forceGlobal, t, G, chunks)) continue;
    let mean = 0;
    for (let c = 0; c < 3; c++) mean += y.data[3 * t + c] * dTypes.data[3 * t + c];
    for (let n = 3 * t; n < 3 * t + 3; n++) dScores[n] = y.data[n] * (dTypes.data[n] - mean) / temperature;
  }
  return { data: dScores, shape: y.shape };
}

/** forceGlobal is [B,Nc] and t indexes [B,G,Nc]. */
function isForced(forceGlobal: NDArray<Int32Array> | undefined, t: number, G: number, chunks: number): boolean {
  if (!forceGlobal) return false;
  const b = Math.floor(t / (G * chunks));
  return forceGlobal.data[b * chunks + (t % chunks)] === 1;
}
