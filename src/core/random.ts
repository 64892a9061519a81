/**
 * Seeded random numbers. Every draw is identified by a seed and a stream (step, sequence, layer, ...), so that there is
 * no state to save: resumed and parallel runs draw exactly the same numbers as uninterrupted ones.
 * @module
 */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';
import { finite, list, wholeFrom } from './arguments.ts';
import { cosSin, log } from './elementary.ts';
import { fastGumbel } from './gumbel.ts';
import { zeros } from './tensor.ts';

/** The purposes of streams. The first number of a stream is its purpose. */
export const Stream = { WEIGHTS: 1, BATCH: 2, NOISE: 3, SAMPLE: 4, VECTORS: 5, RECALL: 6, LOW_RANK: 7 } as const;

/** A generator of one stream. */
export interface Generator {
  /** A real number in [0, 1). */
  uniform(): number;
  /** A whole number in [0, n). */
  below(n: number): number;
  /** A standard normal number. */
  normal(): number;
}

/**
 * The generator of a stream.
 *
 * @param seed Any number, of which the 53 lowest integer bits count.
 * @param stream Whole numbers that identify the stream.
 */
export function generator(seed: number, stream: readonly number[]): Generator {
  const rng = xoroshiro128plusFromState(stateOf(seed, stream));
  const uniform = () => uniformFloat64(rng);
  return {
    uniform,
    below: (n) => uniformInt(rng, 0, n - 1),
    // Box-Muller; 1 - u keeps the logarithm finite.
    normal: () => Math.sqrt(-2 * log(1 - uniform())) * cosSin(2 * Math.PI * uniform())[0],
  };
}

/**
 * Gumbel(0,1) noise u = -log(-log(U)) (§6).
 *
 * @param seed Identifies the run.
 * @param stream Identifies the draw within the run, for example by [step, sequence, layer].
 * @param length How many numbers to draw.
 * @returns The noise. The same seed and stream give the same numbers.
 * @throws {ValueError} If the seed is not finite, or the others are not whole numbers from 0.
 * @example
 * ```ts
 * import { gumbelNoise } from 'neural-attention-search';
 * console.log(gumbelNoise(0, [1, 2], 3)[0] === gumbelNoise(0, [1, 2], 5)[0]); // true
 * ```
 */
export function gumbelNoise(seed: number, stream: readonly number[], length: number): Float64Array {
  finite('seed', seed);
  list(wholeFrom(0))('stream', stream);
  wholeFrom(0)('length', length);
  const noise = zeros(Float64Array, length); // an array that is too long is refused before anything is drawn
  drawGumbel(seed, stream, noise);
  return noise;
}

/** Fills `noise` with the same numbers, rounded to what it holds. */
export function drawGumbel(seed: number, stream: readonly number[], noise: Float64Array | Float32Array): void {
  if (!fastGumbel(stateOf(seed, stream), noise)) noise.set(plainGumbel(seed, stream, new Float64Array(noise.length)));
}

/** The same without WebAssembly: fills `noise`. */
export function plainGumbel(seed: number, stream: readonly number[], noise: Float64Array): Float64Array {
  const { uniform } = generator(seed, stream);
  const { length } = noise;
  for (let n = 0; n < length; n++) {
    let U = uniform();
    while (U === 0) U = uniform();
    noise[n] = U;
  }
  // A logarithm is a long chain of operations: one loop over many has many of them under way.
  for (let n = 0; n < length; n++) noise[n] = -log(noise[n]);
  for (let n = 0; n < length; n++) noise[n] = -log(noise[n]);
  return noise;
}

/** Four well-mixed words from a seed and a stream, by chaining the finaliser of MurmurHash3. */
export function stateOf(seed: number, stream: readonly number[]): number[] {
  const name = [seed % 0x100000000, Math.floor(seed / 0x100000000), ...stream];
  return [1, 2, 3, 4].map((lane) => {
    let hash = Math.imul(lane, 0x9e3779b9);
    for (const word of name) hash = mix(hash ^ Math.imul(word | 0, 0x85ebca6b)) + 0x165667b1;
    return mix(hash) | 0;
  });
}

function mix(x: number): number {
  let h = x | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
