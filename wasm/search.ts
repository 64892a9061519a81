/**
 * §6: choosing token types, and the gradient to their scores. Three numbers per token, in plain TypeScript and float64.
 * @module
 */
import { exp } from '../src/core/elementary.ts';
import { ValueError } from '../src/core/errors.ts';
import { TokenType } from '../src/core/lifetime.ts';
import type { TypeSizes } from '../src/core/sizes.ts';
import type { FloatArray } from '../src/core/tensor.ts';

interface Choice {
  readonly temperature: number;
  readonly forceGlobal?: Int32Array | undefined;
}

/** The largest of three scores, ties to the first, and softmax(scores / temperature). @throws {ValueError} For NaN. */
export function tokenTypes(
  scores: FloatArray, { noise, temperature, forceGlobal }: Choice & { noise?: FloatArray | undefined },
  { B, G, chunks }: TypeSizes,
): { types: Int32Array; probabilities: Float64Array } {
  for (const each of noise ? [scores, noise] : [scores]) {
    const bad = each.findIndex((x) => Number.isNaN(x));
    if (bad >= 0) throw new ValueError(`score ${bad} is NaN, so no type can be chosen: look for an overflow in the layer before`);
  }
  const types = new Int32Array(B * G * chunks);
  const probabilities = new Float64Array(3 * types.length);
  for (let t = 0; t < types.length; t++) {
    const z = [0, 1, 2].map((c) => scores[3 * t + c] + (noise ? noise[3 * t + c] : 0));
    const best = z[0] >= z[1] && z[0] >= z[2] ? 0 : z[1] >= z[2] ? 1 : 2;
    const e = z.map((zc) => (zc === z[best] ? 1 : exp((zc - z[best]) / temperature)));
    const sum = e[0] + e[1] + e[2];
    for (let c = 0; c < 3; c++) probabilities[3 * t + c] = e[c] / sum;
    types[t] = isForced(forceGlobal, t, G, chunks) ? TokenType.GLOBAL : best;
  }
  return { types, probabilities };
}

/** Straight through: dscores = y (dt - sum_c y_c dt_c) / temperature; 0 where a type was forced. */
export function tokenTypesBackward(
  dTypes: FloatArray, y: FloatArray, { temperature, forceGlobal }: Choice, { G, chunks }: TypeSizes,
): Float64Array {
  const dScores = new Float64Array(y.length);
  for (let t = 0; t < y.length / 3; t++) {
    if (isForced(forceGlobal, t, G, chunks)) continue;
    let mean = 0;
    for (let c = 0; c < 3; c++) mean += y[3 * t + c] * dTypes[3 * t + c];
    for (let n = 3 * t; n < 3 * t + 3; n++) dScores[n] = y[n] * (dTypes[n] - mean) / temperature;
  }
  return dScores;
}

function isForced(forceGlobal: Int32Array | undefined, t: number, G: number, chunks: number): boolean {
  return forceGlobal !== undefined && forceGlobal[Math.floor(t / (G * chunks)) * chunks + (t % chunks)] === 1;
}
