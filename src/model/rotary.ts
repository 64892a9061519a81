/**
 * Angles of rotary embedding, computed in float64 for every engine alike.
 * @module
 */
import type { Tensor } from '../engine.ts';
import type { Tape } from '../tape.ts';
import type { ModelConfig } from './config.ts';

/**
 * Radians per position of each pair, [d/2]: theta^(-2n/d), and under a scaling as of Llama 3.1 that over `factor` for
 * waves longer than original / low, itself for those shorter than original / high, and in between a mixture.
 */
export function rotaryFrequencies({ headDim, ropeTheta, ropeScaling: scaling }: ModelConfig): Float64Array {
  const half = headDim / 2;
  return Float64Array.from({ length: half }, (_, n) => {
    const frequency = ropeTheta ** (-n / half);
    if (!scaling) return frequency;
    const { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositions: original } = scaling;
    const waves = original / ((2 * Math.PI) / frequency); // that fit the original context
    const own = Math.min(1, Math.max(0, (waves - low) / (high - low)));
    return (1 - own) * (frequency / factor) + own * frequency;
  });
}

/** cos and sin of position * frequency for positions [B*N], each [B,N,d/2]. */
export function rotaryTables(
  tape: Tape, config: ModelConfig, positions: ArrayLike<number>, B: number, N: number,
): { cos: Tensor; sin: Tensor } {
  const frequencies = rotaryFrequencies(config);
  const half = frequencies.length;
  const cos = new Float64Array(B * N * half);
  const sin = new Float64Array(B * N * half);
  for (let t = 0; t < B * N; t++) {
    for (let n = 0; n < half; n++) {
      cos[t * half + n] = Math.cos(positions[t]! * frequencies[n]!);
      sin[t * half + n] = Math.sin(positions[t]! * frequencies[n]!);
    }
  }
  const shape = [B, N, half];
  return { cos: tape.own(tape.engine.tensor(cos, shape)), sin: tape.own(tape.engine.tensor(sin, shape)) };
}
