/**
 * A model's own window, which ends the life of every token whatever its type.
 * @module
 */
import { expectWhole } from '../src/shape.ts';

/** Refuses a bound that is there and no whole number >= 0. */
export function checkBound(bound: number | undefined): void {
  if (bound !== undefined) expectWhole('bound', bound, 0);
}
