/**
 * A seventh set of broken kernels, by an author who knew the documentation, the algorithm and the kernel that mutants
 * change, but neither the diagnosis nor its names, nor the judge, nor the code of earlier sets.
 * @module
 */
import { GRADIENTS } from './gradients.ts';
import { HEADS_AND_SOFTMAX } from './heads-and-softmax.ts';
import { ISSUE } from './issue.ts';
import { MASKS_AND_TYPES } from './masks-and-types.ts';
import type { Seventh } from './parts.ts';
import { STORAGE } from './storage.ts';

export const SEVENTH: readonly Seventh[] = [
  ...ISSUE, ...MASKS_AND_TYPES, ...HEADS_AND_SOFTMAX, ...GRADIENTS, ...STORAGE,
];
