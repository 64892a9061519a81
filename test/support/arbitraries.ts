/**
 * Arbitrary sizes, types and numbers, including odd sizes, N = 1, W = 0, W > N, C > 1, sequences of one type only, and
 * tied scores.
 * @module
 */
import fc from 'fast-check';
import type { Engine } from '../../src/core/engine.ts';
import { denseLifetime } from './dense.ts';
import { type Draw, draw } from './draw.ts';

/** Sizes and token types of one drawn problem. */
export interface Sizes {
  readonly B: number;
  readonly G: number;
  readonly H: number;
  readonly N: number;
  readonly d: number;
  readonly window: number;
  readonly chunk: number;
  readonly localWindow?: number;
  readonly reach?: number;
  /** Query heads per KV head. */
  readonly group: number;
  readonly seed: number;
  /** The type of every token, or null for a mix. */
  readonly only: number | null;
  /** Whether all scores of a row are equal. */
  readonly tied: boolean;
}

export interface Most {
  readonly N: number;
  readonly B?: number;
  readonly G?: number;
  readonly d?: readonly number[];
}

/** A seed for draw(). */
export const seeds: fc.Arbitrary<number> = fc.integer();

/** The leading axes that the contract's shapes call `...`, from [] to [3,3]. */
export const leading: fc.Arbitrary<number[]> = fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 });

/** The number of elements of a shape. */
export function count(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** Problems up to the given sizes. */
export function sizes({ N, B = 2, G = 3, d = [2, 4] }: Most): fc.Arbitrary<Sizes> {
  return fc.record({
    B: fc.integer({ min: 1, max: B }),
    G: fc.integer({ min: 1, max: G }),
    group: fc.constantFrom(1, 2, 3),
    N: fc.integer({ min: 1, max: N }),
    d: fc.constantFrom(...d),
    window: fc.constantFrom(0, 1, 2, 3, N + 5),
    chunk: fc.constantFrom(1, 1, 2, 3, N + 1),
    ends: ends(N),
    only: fc.constantFrom(null, null, null, null, 0, 1, 2),
    tied: fc.constantFrom(false, false, false, true),
    seed: seeds,
  }).map(({ ends, ...drawn }) => ({ ...drawn, ...ends, H: drawn.G * drawn.group }));
}

/** What ends lifetimes besides the types. */
export interface Ends {
  readonly localWindow?: number;
  readonly reach?: number;
}

/**
 * No reach, or a reach of any kind: 0, small, or too large to affect N tokens. In a third of all cases, LOCAL is a
 * second window, of any kind too.
 */
export function ends(N: number): fc.Arbitrary<Ends> {
  const [none, ...bounds]: Ends[] = [{}, { reach: 0 }, { reach: 1 }, { reach: 4 }, { reach: N + 5 }];
  const second: Ends[] = [{ localWindow: 0 }, { localWindow: 1 }, { localWindow: 3 }, { localWindow: N + 5 }];
  return fc.tuple(
    fc.constantFrom<Ends>(none, none, none, none, ...bounds),
    fc.constantFrom<Ends>(...new Array<Ends>(8).fill(none), ...second),
  ).map(([reach, local]) => ({ ...reach, ...local }));
}

/** Problems long enough to span several of the tiles and blocks into which engines cut sequences. */
export const long: fc.Arbitrary<Sizes> = fc
  .tuple(sizes({ N: 40, B: 1, G: 2, d: [2, 6] }), fc.constantFrom(31, 33, 64, 67))
  .map(([size, N]) => ({ ...size, N }));

/**
 * Sizes of problems and of long ones for an engine: where factors are float16, heads of which some are of a size that
 * matrix units take, and more queries than a few.
 */
export function sizesFor(computes: 'f16' | undefined): typeof sizes {
  if (!computes) return sizes;
  return (most) => sizes({ ...most, d: most.d ?? [4, 32] })
    .map((size) => (size.seed % 2 === 0 ? { ...size, N: most.N, B: 1, G: 1, H: size.group } : size));
}

export function longFor(computes: 'f16' | undefined): fc.Arbitrary<Sizes> {
  if (!computes) return long;
  return fc.tuple(long, fc.constantFrom(6, 32, 64))
    .map(([size, d]) => ({ ...size, d, ...(d > 6 && { G: 1, H: 1, group: 1 }) }));
}

/** The numbers of an attention problem; `last` is that of `types`. */
export interface AttentionProblem extends Sizes {
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly v: Float64Array;
  readonly dOut: Float64Array;
  readonly types: Int32Array;
  readonly last: Int32Array;
  readonly scale: number;
}

/** Draws the numbers of a problem, rounded to the precision of the engine. */
export function attentionProblem(size: Sizes, precision: Engine['precision'], largest = 2): AttentionProblem {
  const { B, G, H, N, d } = size;
  const numbers = draw(size.seed, precision);
  const q = numbers.real(B * H * N * d, -largest, largest);
  const k = numbers.real(B * G * N * d, -largest, largest);
  // The same key everywhere in a head makes all scores of a row equal.
  if (size.tied) k.forEach((_, n) => (k[n] = k[Math.floor(n / (N * d)) * N * d + (n % d)]));
  const v = numbers.real(B * G * N * d);
  const dOut = numbers.real(B * H * N * d);
  const types = drawTypes(size, numbers);
  return { ...size, q, k, v, dOut, types, last: denseLifetime(types, size), scale: 1 / Math.sqrt(d) };
}

/** Draws types [B,G,Nc]. */
export function drawTypes({ B, G, N, chunk, only }: Sizes, numbers: Draw): Int32Array {
  const types = numbers.whole(B * G * Math.ceil(N / chunk), 3);
  return only === null ? types : types.fill(only);
}
