/**
 * An eleventh set of broken kernels, by an author who knew the documentation, the algorithm and the kernel that mutants
 * change, and the definitions of earlier sets, but neither the diagnosis nor its names, nor the judge, nor any verdict.
 * Its kinds were given; README.md lists them and the truth about each mutant.
 * @module
 */
import { HEADS } from './heads.ts';
import { MASKS } from './masks.ts';
import type { Eleventh } from './parts.ts';
import { SOFTMAX } from './softmax.ts';
import { TILES_AND_FACTORS } from './tiles-and-factors.ts';
import { TYPES_AND_CACHES } from './types-and-caches.ts';

export const ELEVENTH: readonly Eleventh[] = [
  ...SOFTMAX, ...MASKS, ...HEADS, ...TILES_AND_FACTORS, ...TYPES_AND_CACHES,
];
