/**
 * The softmax of one row, and what rounding may do to it; budget.ts says by which rules.
 * @module
 */

/** An upper bound of e^x - 1 that is cheap for small x. */
const grown = (x: number): number => (x < 1 ? x + x * x : Math.expm1(x));

/** The softmax of one row over some keys, and what rounding may do to it. */
export class RowLogSum {
  /** A and its relative error r, in the order of the keys. */
  readonly A: Float64Array;
  readonly relative: Float64Array;
  /** The error l of lse. */
  error = 0;
  #lse = 0;
  #x: Float64Array;
  #max = 0;
  #rho = 0;
  readonly #u: number;

  constructor(N: number, u: number) {
    [this.A, this.relative, this.#x] = [new Float64Array(N), new Float64Array(N), new Float64Array(N)];
    this.#u = u;
  }

  /** Solves query i over keys[0..n-1]. S of key j is at start + j, and `unit` times kLength[j] bounds its error. */
  solve(
    S: Float64Array, start: number, keys: Int32Array, n: number, i: number, unit: number, kLength: Float64Array,
  ): void {
    const { A, relative } = this;
    const x = this.#x;
    const u = this.#u;
    let [max, up] = [-Infinity, 0];
    for (let at = 0; at < n; at++) {
      const value = S[start + keys[at]];
      x[at] = value;
      if (value > max) {
        max = value;
        up++;
      }
    }
    let [top, down] = [-Infinity, 0];
    for (let at = n - 1; at >= 0 && top < max; at--) {
      if (x[at] > top) {
        top = x[at];
        down++;
      }
    }
    const rho = Math.max(up, down, Math.min(n, Math.ceil((i + 1) / 16)));
    let Z = 0;
    for (let at = 0; at < n; at++) {
      x[at] = max - x[at];
      Z += A[at] = Math.exp(-x[at]);
    }
    const base = u * (Math.abs(max) + 6 + 7 * rho);
    let growth = 0;
    for (let at = 0; at < n; at++) {
      A[at] = A[at] / Z;
      const lambda = base + unit * kLength[keys[at]] + 11 * u * x[at];
      relative[at] = lambda;
      growth += A[at] * grown(lambda);
    }
    const log = Math.log(Z);
    const lse = max + log;
    const error = Math.log1p(growth) + u * (n + 14 + 15 * log + 4 * Math.abs(max) + 2 * Math.abs(lse));
    for (let at = 0; at < n; at++) relative[at] = grown(relative[at] + error);
    [this.error, this.#lse, this.#max, this.#rho] = [error, lse, max, rho];
  }

  /** Weighs keys 0..n-1 of this row, already solved, by the lse of `visible` instead, as the rule `exact` does. */
  weighBy(visible: RowLogSum, n: number, unit: number, kLength: Float64Array): void {
    const u = this.#u;
    const base = visible.error + u * (Math.abs(visible.#max) + 6 + 7 * visible.#rho);
    for (let j = 0; j < n; j++) {
      const S = this.#max - this.#x[j];
      this.A[j] = Math.exp(S - visible.#lse);
      this.relative[j] = grown(base + unit * kLength[j] + 11 * u * Math.abs(visible.#max - S));
    }
  }
}
