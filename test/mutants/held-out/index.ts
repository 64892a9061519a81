/**
 * A second set of broken kernels, written from the names in words, without sight of the diagnosis. Its rate of right
 * names estimates that of kernels nobody has seen; a mutant to which the diagnosis is fitted belongs in the first set.
 * @module
 */
import type { Mutant } from '../mutant.ts';
import { BACKWARDS, FORWARDS, NAMELESS } from './arithmetic.ts';
import { MASKS } from './masks.ts';
import { CACHES, PRECISIONS } from './precision-and-caches.ts';

export const HELD_OUT: readonly Mutant[] = [...MASKS, ...FORWARDS, ...BACKWARDS, ...NAMELESS, ...PRECISIONS, ...CACHES];
