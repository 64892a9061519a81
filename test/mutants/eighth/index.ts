/**
 * An eighth set of broken kernels, by an author who knew the documentation, the algorithm and the kernel that mutants
 * change, and the definitions of earlier sets, but neither the diagnosis nor its names, nor the judge, nor any verdict.
 * Its kinds were given; README.md lists them and the truth about each mutant.
 * @module
 */
import { GRADIENTS } from './gradients.ts';
import { HEADS } from './heads.ts';
import { MASKS } from './masks.ts';
import type { Eighth } from './parts.ts';
import { SOFTMAX } from './softmax.ts';
import { TILES_AND_STORAGE } from './tiles-and-storage.ts';
import { TYPES_AND_CACHES } from './types-and-caches.ts';

export const EIGHTH: readonly Eighth[] = [
  ...SOFTMAX, ...MASKS, ...HEADS, ...TILES_AND_STORAGE, ...GRADIENTS, ...TYPES_AND_CACHES,
];
