/**
 * Root-mean-square normalisation and its gradients.
 *
 * Squares of numbers above 1.8e19 overflow float32. A row with a number above LARGE is therefore multiplied by SMALL
 * first, and its r = 1 / sqrt(mean(x²) + epsilon) is kept as -r / SMALL: neither overflows, and their product is x r.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { partsOf, sumParts } from './elementwise.ts';
import { kernel } from './kernel.ts';

/** Sums of squares of numbers up to this do not overflow, however long the row. */
const LARGE = 1e15;
/** 2^-90: multiplied by it, all float32 numbers above LARGE have squares far from float32's limits. */
const SMALL = 2 ** -90;

/** Computes `r` of a row. */
const inverseOf = (row: string): string => `
  let sum = 0;
  let most = 0;
  for (let n = 0; n < D; n++) {
    const entry = x[${row} * D + n];
    sum += entry * entry;
    most = Math.max(most, Math.abs(entry));
  }
  let r = 1 / Math.sqrt(sum / D + epsilon);
  if (most > large) {
    let scaled = 0;
    for (let m = 0; m < D; m++) {
      const part = x[${row} * D + m] * small;
      scaled += part * part;
    }
    r = -1 / Math.sqrt(scaled / D + epsilon * small * small);
  }`;

const INVERSE = kernel('rms inverse', 'x | D | epsilon large small', `${inverseOf('this.thread.x')}
  return r;`, { flat: true });

/** Computes `normed`, which is x r of the element `value`. */
const NORMED = `
  let normed = value * r;
  if (r < 0) {
    normed = value * small * -r;
  }`;

const NORM = kernel('rms norm', 'x weight inverse | D | small', `
  const value = x[this.thread.y * D + this.thread.x];
  const r = inverse[this.thread.y];${NORMED}
  return normed * weight[this.thread.x];`);

/** Both steps in one kernel, in which every thread sums up its whole row. */
const NORM_FEW = kernel('rms norm, few rows', 'x weight | D | epsilon large small', `${inverseOf('this.thread.y')}
  const value = x[this.thread.y * D + this.thread.x];${NORMED}
  return normed * weight[this.thread.x];`);
/** Up to this many rows, that is faster than a second kernel where threads run side by side. */
const FEW = 8;

/** y = x r w with r = 1 / sqrt(mean(x²) + epsilon), for `rows` of width D. */
export async function rmsNorm(
  scope: Scope, x: Memory, weight: Memory, epsilon: number, rows: number, D: number,
): Promise<Memory> {
  if (scope.device.parallel && rows <= FEW) {
    return scope.run(NORM_FEW, [D, rows], [x, weight], [D], [epsilon, LARGE, SMALL]);
  }
  const inverse = await scope.run(INVERSE, [rows], [x], [D], [epsilon, LARGE, SMALL]);
  return scope.run(NORM, [D, rows], [x, weight, inverse], [D], [SMALL]);
}

const MEAN = kernel('rms backward mean', 'dOut x weight inverse | D | small', `
  const r = inverse[this.thread.x];
  let sum = 0;
  for (let n = 0; n < D; n++) {
    const value = x[this.thread.x * D + n];${NORMED}
    sum += dOut[this.thread.x * D + n] * weight[n] * normed;
  }
  return sum / D;`, { flat: true });

const DX = kernel('rms backward dx', 'dOut x weight inverse mean | D | small', `
  const value = x[this.thread.y * D + this.thread.x];
  const r = inverse[this.thread.y];${NORMED}
  const moved = dOut[this.thread.y * D + this.thread.x] * weight[this.thread.x] - normed * mean[this.thread.y];
  if (r < 0) {
    return moved * -r * small;
  }
  return moved * r;`);

const DWEIGHT = kernel('rms backward dweight', 'dOut x inverse | rows size D | small', `
  let sum = 0;
  for (let t = 0; t < size; t++) {
    if (this.thread.y * size + t < rows) {
      const value = x[(this.thread.y * size + t) * D + this.thread.x];
      const r = inverse[this.thread.y * size + t];${NORMED}
      sum += dOut[(this.thread.y * size + t) * D + this.thread.x] * normed;
    }
  }
  return sum;`);

/** dx = r (dy w - x r mean(dy w x r)), and dw = sum over rows of dy x r. */
export async function rmsNormBackward(
  scope: Scope, dOut: Memory, x: Memory, weight: Memory, epsilon: number, rows: number, D: number,
): Promise<[dx: Memory, dWeight: Memory]> {
  const inverse = await scope.run(INVERSE, [rows], [x], [D], [epsilon, LARGE, SMALL]);
  const mean = await scope.run(MEAN, [rows], [dOut, x, weight, inverse], [D], [SMALL]);
  const dx = await scope.run(DX, [D, rows], [dOut, x, weight, inverse, mean], [D], [SMALL]);
  const parts = partsOf(rows, D);
  const partial = await scope.run(DWEIGHT, [D, parts], [dOut, x, inverse], [rows, Math.ceil(rows / parts), D], [SMALL]);
  return [dx, await sumParts(scope, partial, D, parts)];
}
