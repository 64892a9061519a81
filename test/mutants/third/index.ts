/**
 * A third set of broken kernels: what an oracle that was tried on a GPU with kernels from elsewhere missed or misnamed.
 * @module
 */
import type { Mutant } from '../mutant.ts';
import { FORMULAS, ROUNDINGS } from './arithmetic.ts';
import { MASKS } from './masks.ts';

export const THIRD: readonly Mutant[] = [...MASKS, ...ROUNDINGS, ...FORMULAS];
