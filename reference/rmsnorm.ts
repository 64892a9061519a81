/**
 * RMSNorm (Zhang & Sennrich, 2019).
 * @module
 */
import { NumericError } from '../src/core/errors.ts';
import { firstNotFinite } from '../src/core/finite.ts';
import { type FloatArray, type NDArray, zerosLike } from '../src/core/tensor.ts';
import { dot } from './matmul.ts';

/** r = 1 / sqrt(mean(x²) + epsilon) of the row that begins at `at`. @throws {NumericError} If x² overflows. */
function inverseRoot({ data }: NDArray, at: number, D: number, epsilon: number): number {
  const r = 1 / Math.sqrt(dot(data, at, data, at, D) / D + epsilon);
  const row = (): FloatArray => data.subarray(at, at + D);
  if (r === 0 && firstNotFinite(row()) < 0) {
    throw new NumericError(`x holds ${Math.max(...row().map(Math.abs))} in row ${at / D}, whose square overflows: look for what made it so large`);
  }
  return r;
}

/** y = x r w with r = 1 / sqrt(mean(x²) + epsilon): x [...,D], weight [D]. */
export function rmsNorm(x: NDArray, weight: NDArray, epsilon: number, { D }: { D: number }): NDArray {
  const out = zerosLike(x.data, x.data.length);
  for (let at = 0; at < out.length; at += D) {
    const r = inverseRoot(x, at, D, epsilon);
    for (let n = 0; n < D; n++) out[at + n] = x.data[at + n] * r * weight.data[n];
  }
  return { data: out, shape: x.shape };
}

/** With u = dy w: dx = r u - x r³ mean(u x), dw = sum over rows of dy x r. */
export function rmsNormBackward(
  dOut: NDArray, x: NDArray, weight: NDArray, epsilon: number, { D }: { D: number },
): { dx: NDArray; dWeight: NDArray } {
  const dx = zerosLike(x.data, x.data.length);
  const dWeight = zerosLike(x.data, D);
  for (let at = 0; at < dx.length; at += D) {
    const r = inverseRoot(x, at, D, epsilon);
    let mean = 0;
    for (let n = 0; n < D; n++) mean += (dOut.data[at + n] * weight.data[n] * x.data[at + n]) / D;
    for (let n = 0; n < D; n++) {
      const dy = dOut.data[at + n];
      dx[at + n] = r * dy * weight.data[n] - x.data[at + n] * r * r * r * mean;
      dWeight[n] = dWeight[n] + dy * x.data[at + n] * r;
    }
  }
  return { dx: { data: dx, shape: x.shape }, dWeight: { data: dWeight, shape: [D] } };
}
