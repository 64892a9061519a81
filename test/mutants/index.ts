/**
 * Kernels that are broken on purpose.
 * @module
 */
import { BACKWARDS, FORWARDS, PRECISIONS } from './arithmetic.ts';
import { MASKS } from './masks.ts';
import type { Mutant } from './mutant.ts';
import { CACHES, NAMELESS, TYPE_GRADIENTS } from './types-and-caches.ts';

export const MUTANTS: readonly Mutant[] = [
  ...MASKS, ...FORWARDS, ...BACKWARDS, ...TYPE_GRADIENTS, ...CACHES, ...PRECISIONS, ...NAMELESS,
];
