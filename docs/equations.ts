/**
 * Every equation of the chapter, once; equations/ has them by sections. The strings are mathjs expressions, with the
 * additions that mathematics.ts describes. test/equations.test.ts evaluates them against the functions named here, and
 * chapter.ts prints them as TeX, so the chapter and the code cannot drift apart.
 * @module
 */
import { ATTENTION } from './equations/attention.ts';
import type { Equation } from './equations/equation.ts';
import { LAYERS } from './equations/layers.ts';
import { MASS } from './equations/mass.ts';
import { TYPES } from './equations/types.ts';

export type { Equation } from './equations/equation.ts';

/** The equations, in the chapter's order. */
export const EQUATIONS: readonly Equation[] = [...ATTENTION, ...TYPES, ...LAYERS, ...MASS];

/**
 * The equation called `id`.
 *
 * @throws {RangeError} If there is none.
 */
export function equation(id: string): Equation {
  const found = EQUATIONS.find((e) => e.id === id);
  if (!found) throw new RangeError(`no equation is called ${id}: call it ${EQUATIONS.map((e) => e.id).join(', ')}`);
  return found;
}
