/**
 * RMSNorm (kernels/layers.ts).
 * @module
 */
import { NumericError } from '../src/core/errors.ts';
import { firstNotFinite } from '../src/core/finite.ts';
import type { Machine, WasmArray } from './machine.ts';

interface RowSizes {
  readonly rows: number;
  readonly D: number;
}

/** Refuses finite numbers whose square overflows. `row` is the first whose norm is infinite, or -1. */
function checkRow(on: Machine, x: WasmArray, row: number, { rows, D }: RowSizes): void {
  for (let r = row; r >= 0 && r < rows; r++) {
    const numbers = Float64Array.from(on.view(x).subarray(r * D, (r + 1) * D));
    if (numbers.reduce((sum, value) => sum + value * value, 0) !== Infinity || firstNotFinite(numbers) >= 0) continue;
    throw new NumericError(`x holds ${Math.max(...numbers.map(Math.abs))} in row ${r}, whose square overflows: look for what made it so large`);
  }
}

/** y = x / sqrt(mean(x²) + epsilon) * weight. */
export function rmsNorm(on: Machine, x: WasmArray, weight: WasmArray, epsilon: number, sizes: RowSizes): WasmArray {
  const y = on.make(x.shape);
  const { rows, D } = sizes;
  const [X, w] = [on.real(x), on.real(weight)];
  const ranges = on.ranges(rows, 1, rows * D * 2);
  let bad = -1;
  on.together(on.own('rmsNorm'), ranges.map(([from, to]) => [
    X + from * D * on.size, w, y.at + from * D * on.size, to - from, D, epsilon,
  ]), { note: (part, row) => {
    if (bad < 0 && row >= 0) bad = ranges[part][0] + row;
  } });
  checkRow(on, x, bad, sizes);
  return y;
}

/** dx and dWeight. */
export function rmsNormBackward(
  on: Machine, dOut: WasmArray, x: WasmArray, weight: WasmArray, epsilon: number, sizes: RowSizes,
): { dx: WasmArray; dWeight: WasmArray } {
  const [dx, dWeight] = [on.make(x.shape), on.zeros([sizes.D])];
  const [dy, X, w] = [on.real(dOut), on.real(x), on.real(weight)];
  checkRow(on, x, on.run('rmsNormBackward', dy, X, w, dx.at, dWeight.at, sizes.rows, sizes.D, epsilon), sizes);
  return { dx, dWeight };
}
