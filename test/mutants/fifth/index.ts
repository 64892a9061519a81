/**
 * A fifth set of broken kernels, written from the documents alone, by someone who had read neither the diagnosis nor
 * the judge. Each says what is true of it: its cause, and where it lives.
 * @module
 */
import { GRADIENTS } from './gradients.ts';
import { HEADS } from './heads.ts';
import { MASKS } from './masks.ts';
import { MEMORY } from './memory.ts';
import type { Blind } from './parts.ts';
import { PRECISION } from './precision.ts';
import { SOFTMAX } from './softmax.ts';

export const FIFTH: readonly Blind[] = [...MASKS, ...HEADS, ...SOFTMAX, ...GRADIENTS, ...PRECISION, ...MEMORY];
