/**
 * The forms of src/core/forms.ts on numbers with error bounds, each by its definition. They take and return rows.
 * @module
 */
import { type Bounded, exact, type Rounding } from './tolerance.ts';

/** The rows of a tensor [rows, width]. */
export type Rows = readonly (readonly Bounded[])[];

/** Numbers that an engine was given exactly, as rows. */
export function rows(data: ArrayLike<number>, width: number): Rows {
  return Array.from({ length: data.length / width }, (_, r) =>
    Array.from({ length: width }, (_, c) => exact(data[r * width + c])));
}

/** x Wᵀ + b. */
export function linear(R: Rounding, x: Rows, weight: Rows, bias?: readonly Bounded[]): Rows {
  return x.map((row) => weight.map((w, m) => {
    const dot = R.sum(row.map((each, k) => R.product(each, w[k])));
    return bias ? R.add(dot, bias[m]) : dot;
  }));
}

/** x / sqrt(mean(x²) + epsilon) * weight. */
export function rmsNorm(R: Rounding, x: Rows, weight: readonly Bounded[], epsilon: number): Rows {
  return x.map((row) => {
    const mean = R.divide(R.sum(row.map((each) => R.multiply(each, each))), exact(row.length));
    const scale = R.divide(exact(1), R.sqrt(R.add(mean, R.constant(epsilon))));
    return row.map((each, n) => R.multiply(R.multiply(each, scale), weight[n]));
  });
}

/** silu(gate) * up. */
export function swiglu(R: Rounding, gate: Rows, up: Rows): Rows {
  return gate.map((row, r) => row.map((g, n) => {
    const sigmoid = R.divide(exact(1), R.add(exact(1), R.exp({ value: -g.value, error: g.error })));
    return R.multiply(R.multiply(g, sigmoid), up[r][n]);
  }));
}

/** a + b. */
export function add(R: Rounding, a: Rows, b: Rows): Rows {
  return a.map((row, r) => row.map((each, n) => R.add(each, b[r][n])));
}

/** (a cos - b sin, b cos + a sin) of the halves (a, b) of a row. */
export function rotated(
  R: Rounding, row: readonly Bounded[], cos: readonly Bounded[], sin: readonly Bounded[],
): readonly Bounded[] {
  const half = row.length / 2;
  return row.map((each, n) => {
    const other = row[(n + half) % row.length];
    const [straight, crossed] = [R.multiply(each, cos[n % half]), R.multiply(other, sin[n % half])];
    return n < half ? R.subtract(straight, crossed) : R.add(straight, crossed);
  });
}
