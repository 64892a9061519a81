/**
 * A second set of broken kernels, written from the names of mistakes in words, by someone who had not seen the
 * diagnosis. Its rate of right names estimates the rate for new kernels; a mutant to which the diagnosis is fitted
 * belongs in the first set.
 * @module
 */
import type { Mutant } from '../mutant.ts';
import { BACKWARDS, FORWARDS, NAMELESS } from './arithmetic.ts';
import { MASKS } from './masks.ts';
import { CACHES, PRECISIONS } from './precision-and-caches.ts';

export const HELD_OUT: readonly Mutant[] = [...MASKS, ...FORWARDS, ...BACKWARDS, ...NAMELESS, ...PRECISIONS, ...CACHES];
