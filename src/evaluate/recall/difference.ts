/**
 * The difference between two policies on the same questions, with its standard error.
 * @module
 */
import { list, of, record } from '../../core/arguments.ts';
import { ValueError } from '../../core/errors.ts';

/** How far one accuracy is above another. */
export interface RecallDifference {
  /** In percentage points. Negative: the first knows less. */
  readonly points: number;
  /** The standard error of that, in the same unit. Null for a single question. */
  readonly standardError: number | null;
}

/**
 * Compares what two policies answered to the same questions. Questions differ in difficulty more than policies do, so
 * the error is that of the paired differences d: the square root of sum (d - mean d)^2 / (n (n - 1)).
 *
 * @param right For each question, whether the answer was right: `right` of a Recall.
 * @param others The same for another policy.
 * @throws {ValueError} If there are no questions, or not equally many.
 * @example
 * ```ts
 * import { recallDifference } from 'neural-attention-search';
 * console.log(recallDifference([true, true, false, true], [true, false, false, false]).points); // 50
 * ```
 */
export function recallDifference(right: readonly boolean[], others: readonly boolean[]): RecallDifference {
  record({ right: list(of('boolean')), others: list(of('boolean')) })('answers', { right, others });
  const n = right.length;
  if (n === 0) throw new ValueError('there are no answers to compare: pass those of two measurements');
  if (n !== others.length) throw new ValueError(`${n} answers cannot be compared with ${others.length}: both must be to the same questions`);
  const d = right.map((hit, q) => Number(hit) - Number(others[q]));
  const mean = d.reduce((a, b) => a + b, 0) / n;
  const squares = d.reduce((sum, each) => sum + (each - mean) ** 2, 0);
  return { points: 100 * mean, standardError: n === 1 ? null : 100 * Math.sqrt(squares / (n * (n - 1))) };
}
