/**
 * §6: choosing token types, and the straight-through gradient to their scores.
 * @module
 */
import { exp } from '../src/core/elementary.ts';
import { ValueError } from '../src/core/errors.ts';
import { TokenType } from '../src/core/lifetime.ts';
import type { TypeSizes } from '../src/core/sizes.ts';
import { type NDArray, zerosLike } from '../src/core/tensor.ts';

interface Choice {
  readonly temperature: number;
  readonly forceGlobal?: NDArray<Int32Array> | undefined;
}

/**
 * types [B,G,Nc] = argmax_c (scores + noise), ties to the lowest index, and y [B,G,Nc,3] =
 * softmax((scores + noise) / tau) (§6), for scores [B,G,Nc,3].
 *
 * @throws {ValueError} If a score or noise is NaN.
 */
export function tokenTypes(
  scores: NDArray, { noise, temperature, forceGlobal }: Choice & { noise?: NDArray | undefined },
  { B, G, chunks }: TypeSizes,
): { types: NDArray<Int32Array>; probabilities: NDArray } {
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
 * Straight through (§6): dscores = y (dt - sum_c y_c dt_c) / tau; 0 where a type was forced.
 */
export function tokenTypesBackward(
  dTypes: NDArray, y: NDArray, { temperature, forceGlobal }: Choice, { G, chunks }: TypeSizes,
): NDArray {
  const dScores = zerosLike(y.data, y.data.length);
  for (let t = 0; t < y.data.length / 3; t++) {
    if (isForced(forceGlobal, t, G, chunks)) continue;
    let mean = 0;
    for (let c = 0; c < 3; c++) mean += y.data[3 * t + c] * dTypes.data[3 * t + c];
    for (let n = 3 * t; n < 3 * t + 3; n++) dScores[n] = y.data[n] * (dTypes.data[n] - mean) / temperature;
  }
  return { data: dScores, shape: y.shape };
}

/** Whether forceGlobal [B,Nc] forces type t of [B,G,Nc]. */
function isForced(forceGlobal: NDArray<Int32Array> | undefined, t: number, G: number, chunks: number): boolean {
  if (!forceGlobal) return false;
  const b = Math.floor(t / (G * chunks));
  return forceGlobal.data[b * chunks + (t % chunks)] === 1;
}

/** Refuses NaN scores, whose argmax means nothing. */
function checkScores(scores: ArrayLike<number>): void {
  for (let n = 0; n < scores.length; n++) {
    if (Number.isNaN(scores[n])) {
      throw new ValueError(`score ${n} is NaN, so no type can be chosen: look for an overflow in the layer before`);
    }
  }
}
