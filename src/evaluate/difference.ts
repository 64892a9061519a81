/**
 * The difference between two policies on the same text, with its standard error.
 * @module
 */
import { finite, list, record, wholeFrom } from '../core/arguments.ts';
import { ValueError } from '../core/errors.ts';
import type { ContextEvaluation } from './evaluate.ts';

/** How far one perplexity is above another. */
export interface Difference {
  /** In per cent of the other. Negative: the first is better. */
  readonly percent: number;
  /** The standard error of that, in the same unit. Null for a single context. */
  readonly standardError: number | null;
}

const CONTEXTS = list(record({ scored: wholeFrom(1), loss: finite }));

/**
 * Compares what two policies did with the same contexts. The difference of the mean losses is
 * r = sum_c D_c / sum_c n_c, where D_c is the difference of the losses of context c and n_c the number of its tokens;
 * perplexity differs by the factor exp(r). Texts differ far more than policies do, so the error is that of the paired
 * differences: the variance of r is C / (C - 1) times sum_c (D_c - r n_c)^2 / (sum_c n_c)^2.
 *
 * @param contexts The contexts of an evaluation.
 * @param others Those of another on the same text.
 * @throws {ValueError} If there are none, or they differ in number or in scored tokens.
 * @example
 * ```ts
 * import { perplexityDifference } from 'neural-attention-search';
 * const [ours, theirs] = [[1.9, 2.1], [2, 2]].map((losses) => losses.map((loss) => ({ loss, scored: 1 })));
 * console.log(perplexityDifference(ours!, theirs!).percent); // 0
 * ```
 */
export function perplexityDifference(
  contexts: readonly Pick<ContextEvaluation, 'loss' | 'scored'>[],
  others: readonly Pick<ContextEvaluation, 'loss' | 'scored'>[],
): Difference {
  CONTEXTS('contexts', contexts);
  CONTEXTS('others', others);
  const C = contexts.length;
  if (C === 0) throw new ValueError('there are no contexts to compare: pass those of two evaluations');
  if (C !== others.length || contexts.some(({ scored }, c) => scored !== others[c].scored)) {
    throw new ValueError(`${C} contexts cannot be compared with ${others.length}: both must be of the same text, split in the same way`);
  }
  let [D, tokens, squares] = [0, 0, 0];
  for (let c = 0; c < C; c++) {
    D += contexts[c].loss - others[c].loss;
    tokens += contexts[c].scored;
  }
  const r = D / tokens;
  for (let c = 0; c < C; c++) squares += (contexts[c].loss - others[c].loss - r * contexts[c].scored) ** 2;
  const error = Math.sqrt(squares * C / (C - 1)) / tokens;
  return { percent: 100 * Math.expm1(r), standardError: C === 1 ? null : 100 * Math.exp(r) * error };
}
