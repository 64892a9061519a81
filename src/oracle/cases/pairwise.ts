/**
 * Cases in which parameters meet that meet in no other case of the small suite, so that for each two interesting
 * values of two parameters (coverage.ts) some case with gradients has both. The rows were chosen greedily, for few
 * and small cases.
 * @module
 */
import type { MaskGradientRule } from '../../core/training-engine.ts';
import type { Logits, Recipe } from './recipes.ts';

const GIVEN: Recipe['types'] = { pattern: ['GWLWWGWL', 'WLLGWW'] };
const NOISY: Recipe['types'] = { scores: 'spread', noise: true, forced: 'ends' };
const SCORED: Recipe['types'] = { scores: 'spread', noise: false, forced: 'first' };

type Row = readonly [
  batch: number, queryHeads: number, kvHeads: number, tokens: number, headDim: number, window: number, chunk: number,
  rule: MaskGradientRule, types: Recipe['types'], logits: Logits, scale: number | undefined, cache: boolean,
];

const ROWS: readonly Row[] = [
  [2, 1, 1, 9, 3, 300, 10, 'exact', SCORED, 'equal-queries', 0.375, false],
  [2, 1, 1, 9, 3, 1, 3, 'bounded', NOISY, 'sharp', 0.375, false],
  [1, 1, 1, 48, 3, 34, 10, 'exact', NOISY, 'sharp', 0.375, false],
  [1, 4, 2, 9, 2, 1, 3, 'exact', SCORED, 'equal-keys', undefined, false],
  [1, 1, 1, 9, 16, 34, 3, 'exact', SCORED, 'equal-queries', 0.375, false],
  [1, 1, 1, 38, 2, 34, 3, 'bounded', SCORED, 'equal-queries', 0.375, false],
  [1, 4, 2, 9, 3, 300, 10, 'exact', SCORED, 'sharp', 0.375, false],
  [2, 2, 1, 48, 2, 34, 3, 'exact', GIVEN, 'equal-keys', 0.375, false],
  [1, 1, 1, 9, 16, 1, 10, 'bounded', GIVEN, 'sharp', 0.375, false],
  [1, 1, 1, 9, 65, 300, 3, 'exact', GIVEN, 'equal-keys', 0.375, true],
  [1, 1, 1, 38, 3, 300, 3, 'exact', GIVEN, 'equal-keys', 0.375, false],
  [1, 4, 2, 301, 2, 34, 3, 'exact', SCORED, 'rising', undefined, true],
  [1, 1, 1, 48, 2, 1, 10, 'bounded', SCORED, 'normal', undefined, false],
  [1, 1, 1, 13, 65, 1, 10, 'exact', SCORED, 'sharp', 0.375, true],
  [1, 4, 2, 48, 2, 300, 3, 'bounded', SCORED, 'equal-queries', undefined, true],
  [2, 1, 1, 38, 16, 34, 3, 'exact', SCORED, 'equal-keys', undefined, true],
  [1, 1, 1, 301, 3, 1, 10, 'exact', SCORED, 'equal-keys', undefined, false],
  [2, 1, 1, 301, 2, 300, 10, 'exact', GIVEN, 'equal-keys', undefined, true],
  [1, 4, 2, 9, 16, 5, 3, 'bounded', GIVEN, 'equal-keys', undefined, false],
  [1, 1, 1, 48, 16, 5, 3, 'exact', NOISY, 'equal-queries', 0.375, true],
  [2, 1, 1, 9, 65, 34, 10, 'exact', NOISY, 'equal-queries', 0.375, false],
  [1, 4, 2, 9, 65, 1, 10, 'bounded', GIVEN, 'equal-queries', undefined, true],
];

/** The cases, `pair-1` and so on. */
export const PAIRWISE: readonly Recipe[] = ROWS.map((row, n) => {
  const [batch, queryHeads, kvHeads, tokens, headDim, window, chunk, rule, types, logits, scale, cache] = row;
  const steps = Array.from({ length: Math.ceil(tokens / 16) }, (_, r) => Math.min(16, tokens - 16 * r));
  return {
    name: `pair-${n + 1}`,
    why: `values that meet nowhere else: B=${batch} H=${queryHeads} G=${kvHeads} N=${tokens} d=${headDim} W=${window} C=${chunk}, logits ${logits}`,
    batch, queryHeads, kvHeads, tokens, headDim, window, chunk, rule, types, logits,
    ...(scale !== undefined && { scale }), ...(cache && { steps }),
  };
});
