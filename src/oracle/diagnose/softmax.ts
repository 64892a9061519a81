/**
 * The softmax of a row (§3), as hypotheses about it compute it.
 * @module
 */
import type { Scene } from './scene.ts';

/** The results of a row. */
export interface Made {
  readonly out: ArrayLike<number>;
  readonly lse: number;
}

/** A softmax before the division by Z. */
export interface Softmax {
  readonly m: number;
  readonly E: readonly number[];
  readonly Z: number;
  readonly lse: number;
}
/** m, exp(S - m), their sum and lse. */
export function softmax(scene: Scene, S: readonly number[]): Softmax {
  const m = Math.max(...S);
  const E = S.map((x) => scene.exp(x - m));
  const Z = E.reduce((a, b) => a + b, 0);
  return { m, E, Z, lse: m + Math.log(Z) };
}
