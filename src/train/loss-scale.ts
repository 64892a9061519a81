/**
 * Scaling of the loss (Micikevicius et al., Mixed Precision Training, 2018, section 3.2): products in float16 lose
 * gradients below 6e-8 and turn those above 65,504 into infinity. So gradients are computed of the loss times a scale,
 * a power of two, which is found by trying: an overflow halves it, and many steps without one double it.
 * @module
 */
import { ValueError } from '../core/errors.ts';

/** The scale, and what it depends on. A state of training holds it. */
export interface LossScale {
  readonly scale: number;
  /** Steps since the scale last changed. */
  readonly steady: number;
  /** Steps that overflowed, and so changed nothing. */
  readonly skipped: number;
}

/** What a run begins with. */
export const FIRST_SCALE: LossScale = { scale: 2 ** 16, steady: 0, skipped: 0 };
/** Steps without an overflow after which the scale doubles, and the largest scale. */
const [PATIENCE, LARGEST] = [2000, 2 ** 24];

/** The scale after a step. */
export function nextScale({ scale, steady, skipped }: LossScale, overflowed: boolean): LossScale {
  if (overflowed) return { scale: scale / 2, steady: 0, skipped: skipped + 1 };
  if (steady + 1 < PATIENCE || scale >= LARGEST) return { scale, steady: steady + 1, skipped };
  return { scale: scale * 2, steady: 0, skipped };
}

/** Reads the scale from a state file. @throws {ValueError} If it is none. */
export function parseScale(text: string): LossScale {
  const { scale, steady, skipped } = JSON.parse(text) as LossScale;
  const counts = [steady, skipped].every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!counts || !(scale >= 1 && scale <= LARGEST && Number.isInteger(Math.log2(scale)))) {
    throw new ValueError(`the loss scale is ${text}: it must be a power of two from 1 to ${LARGEST}, with counts of steps`);
  }
  return { scale, steady, skipped };
}
