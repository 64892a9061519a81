/**
 * Numbers for tests, drawn from a seed that fast-check chooses, so that a failure can be replayed.
 * @module
 */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { Engine } from '../../src/core/engine.ts';

export interface Draw {
  /** Real numbers in [low, high), rounded to the engine's precision so that uploading them is exact. */
  real(length: number, low?: number, high?: number): Float64Array;
  /** Whole numbers in 0..below-1. */
  whole(length: number, below: number): Int32Array;
}

/** A new generator. The same seed gives the same numbers, rounded to the precision. */
export function draw(seed: number, precision: Engine['precision']): Draw {
  const generator = xoroshiro128plus(seed);
  return {
    real: (length, low = -2, high = 2) =>
      Float64Array.from({ length }, () => rounded(low + (high - low) * uniformFloat64(generator), precision)),
    whole: (length, below) => Int32Array.from({ length }, () => Math.floor(below * uniformFloat64(generator))),
  };
}

/** x as an engine of this precision stores it. */
export function rounded(x: number, precision: Engine['precision']): number {
  return precision === 'float32' ? Math.fround(x) : x;
}
