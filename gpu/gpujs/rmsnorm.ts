/**
 * Root-mean-square normalisation and its gradients.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { partsOf, sumParts } from './elementwise.ts';
import { kernel } from './kernel.ts';

const INVERSE = kernel('rms inverse', 'x | D | epsilon', `
  let sum = 0;
  for (let n = 0; n < D; n++) {
    sum += x[this.thread.x * D + n] * x[this.thread.x * D + n];
  }
  return 1 / Math.sqrt(sum / D + epsilon);`, { flat: true });

const NORM = kernel('rms norm', 'x weight inverse | D', `
  return x[this.thread.y * D + this.thread.x] * inverse[this.thread.y] * weight[this.thread.x];`);

/** y = x r w with r = 1 / sqrt(mean(x²) + epsilon), for `rows` of width D. */
export async function rmsNorm(
  scope: Scope, x: Memory, weight: Memory, epsilon: number, rows: number, D: number,
): Promise<Memory> {
  const inverse = await scope.run(INVERSE, [rows], [x], [D], [epsilon]);
  return scope.run(NORM, [D, rows], [x, weight, inverse], [D]);
}

const MEAN = kernel('rms backward mean', 'dOut x weight | D', `
  let sum = 0;
  for (let n = 0; n < D; n++) {
    sum += dOut[this.thread.x * D + n] * weight[n] * x[this.thread.x * D + n];
  }
  return sum / D;`, { flat: true });

const DX = kernel('rms backward dx', 'dOut x weight inverse mean | D', `
  const r = inverse[this.thread.y];
  const value = x[this.thread.y * D + this.thread.x];
  return r * dOut[this.thread.y * D + this.thread.x] * weight[this.thread.x] - value * r * r * r * mean[this.thread.y];`);

const DWEIGHT = kernel('rms backward dweight', 'dOut x inverse | rows size D', `
  let sum = 0;
  for (let t = 0; t < size; t++) {
    if (this.thread.y * size + t < rows) {
      sum += dOut[(this.thread.y * size + t) * D + this.thread.x] * x[(this.thread.y * size + t) * D + this.thread.x]
        * inverse[this.thread.y * size + t];
    }
  }
  return sum;`);

/** dx = r dy w - x r³ mean(dy w x), and dw = sum over rows of dy x r. */
export async function rmsNormBackward(
  scope: Scope, dOut: Memory, x: Memory, weight: Memory, epsilon: number, rows: number, D: number,
): Promise<[dx: Memory, dWeight: Memory]> {
  const inverse = await scope.run(INVERSE, [rows], [x], [D], [epsilon]);
  const mean = await scope.run(MEAN, [rows], [dOut, x, weight], [D]);
  const dx = await scope.run(DX, [D, rows], [dOut, x, weight, inverse, mean], [D]);
  const parts = partsOf(rows, D);
  const partial = await scope.run(DWEIGHT, [D, parts], [dOut, x, inverse], [rows, Math.ceil(rows / parts), D]);
  return [dx, await sumParts(scope, partial, D, parts)];
}
