/**
 * What of a case a fitted factor is: log2(e), a size, or another number in the place of the scale.
 * @module
 */
import type { Scene } from './scene.ts';

/** How far, relatively, a fitted factor may be from what it is said to be. */
const SAME = 2e-4;

/** What of the case a factor is, as far as it can be told. */
export function factorWords(
  { parameters, N, R }: Scene, factor: number,
): { readonly detail: string; readonly also: readonly string[] } {
  const { scale, headDim: d, chunk: C, batch: B, kvHeads: G, queryHeads: H, window: W } = parameters;
  const known: readonly (readonly [string, number])[] = [
    ['log2(e)', Math.LOG2E], ['ln 2', Math.LN2], ['the scale', scale], ['1 / scale', 1 / scale], ['the scale squared', scale * scale],
    ['sqrt(d)', Math.sqrt(d)], ['1 / sqrt(d)', 1 / Math.sqrt(d)], ['d', d], ['1 / d', 1 / d],
    ['the query heads of a group', R], ['1 / the query heads of a group', 1 / R],
    ...[...inPlaceOfScale(scale, d), ...otherScales(d, H, G, N)].map(([words, x]) => [words, x / scale] as const),
    ['scale log2(e)', scale * Math.LOG2E], ['scale ln 2', scale * Math.LN2], ['log2(e) squared', Math.LOG2E ** 2],
    ['ln 10', Math.LN10], ['log10(e)', Math.LOG10E], ['ln 2 squared', Math.LN2 ** 2], ['the root of the scale', Math.sqrt(scale)], ['1 / the root of the scale', 1 / Math.sqrt(scale)],
    ['N', N], ['1 / N', 1 / N], ['1 / sqrt(N)', 1 / Math.sqrt(N)], ['W', W], ['1 / W', 1 / W], ['the query heads of a group squared', R * R],
    ['C', C], ['1 / C', 1 / C], ['B', B], ['1 / B', 1 / B], ['G', G], ['1 / G', 1 / G], ['H', H], ['1 / H', 1 / H],
  ];
  const same = known.filter(([, x]) => Math.abs(x - 1) > 1e-9 && Math.abs(factor - x) < SAME * Math.abs(x));
  return { detail: String(Number(factor.toPrecision(4))), also: [...new Set(same.map(([words]) => words))] };
}

/** Numbers in the place of the scale that are made of d. */
function inPlaceOfScale(scale: number, d: number): (readonly [string, number])[] {
  const power = 2 ** Math.ceil(Math.log2(d));
  const own = (words: string, x: number): readonly [string, number] => [`${words} in the place of the scale`, 1 / Math.sqrt(x)];
  return [
    own('1 / sqrt(d)', d), own('1 / sqrt of d padded to a power of two', power),
    ...[8, 16, 32, 64].flatMap((least): (readonly [string, number])[] => [
      own(`1 / sqrt of d padded to a power of two, at least ${least},`, Math.max(least, power)),
      own(`1 / sqrt of d padded to a multiple of ${least}`, Math.ceil(d / least) * least),
      own(`1 / sqrt(${least})`, least),
    ]),
    ['1 / d in the place of the scale', 1 / d],
    ['log2(e) / sqrt(d) in the place of the scale', Math.LOG2E / Math.sqrt(d)],
    ['ln 2 / sqrt(d) in the place of the scale', Math.LN2 / Math.sqrt(d)],
    ['2 / sqrt(d) in the place of the scale', 2 / Math.sqrt(d)], ['1 / (2 sqrt(d)) in the place of the scale', 0.5 / Math.sqrt(d)],
    ['log2(e) in the place of the scale', Math.LOG2E], ['ln 2 in the place of the scale', Math.LN2],
    ['1 in the place of the scale', 1], ['sqrt(d) in the place of the scale', Math.sqrt(d)],
    ['1 / sqrt(d) after the scale', scale / Math.sqrt(d)],
  ];
}

/** Numbers in the place of the scale that are made of other sizes. */
function otherScales(d: number, H: number, G: number, N: number): (readonly [string, number])[] {
  const sizes: readonly (readonly [string, number])[] = [
    ['H d', H * d], ['G d', G * d], ['(H / G) d', H / G * d], ['d / H', d / H], ['2 d', 2 * d], ['d / 2', d / 2],
    ['d + 1', d + 1], ['d - 1', d - 1], ['N', N], ['H', H], ['G', G],
  ];
  return sizes.flatMap(([words, x]): (readonly [string, number])[] => [
    [`1 / sqrt(${words}) in the place of the scale`, 1 / Math.sqrt(x)],
    ...x === d ? [] : [[`1 / (${words}) in the place of the scale`, 1 / x] as const],
  ]);
}
