/**
 * Verifies someone's outputs for a case against its truths.
 * @module
 */
import { ValueError } from '../../core/errors.ts';
import type { IntegerTensor, NamedTensor } from '../../formats/named-tensor.ts';
import { type HeadBudgets, headBudgets, problemOf } from './budget.ts';
import { compareReals, compareWhole, compareWithin, extended, isInteger, refused, type RowBudgets } from './compare.ts';
import { claimOf, divergenceOf, outputNames } from './outputs.ts';
import { scoreBudgets } from './score-budget.ts';
import {
  bytesPerEntry, type CaseParameters, type CaseReport, type ClaimedDtype, type Diagnosis, type Divergence,
  type OracleCase, OUTPUT_ORDER, type OutputName, type Products, type TensorReport, type Tensors,
} from '../types.ts';

/** Says what is wrong, given reports some of which fail. */
export type Diagnose = (
  oracleCase: OracleCase, outputs: Tensors, reports: readonly TensorReport[], dtype: ClaimedDtype,
) => { divergence?: Divergence; diagnosis?: Diagnosis };

/** Options of verifyCase(). */
export interface VerifyOptions {
  /** The arithmetic that the outputs claim. Default: the dtype of `out` if that is F16 or BF16, else f32. */
  readonly dtype?: ClaimedDtype;
  /** What P and dS are rounded to before products, if that is coarser than `dtype`. Default: `dtype`. */
  readonly products?: Products;
  /** The names or groups of the outputs to verify; others are skipped. Default: all. */
  readonly tensors?: readonly string[];
  /** Called while budgets are computed, with how many of all pairs are done. */
  readonly onProgress?: (done: number, total: number) => void;
  /** What the truths were rounded to, if that is narrower than their dtype. */
  readonly truths?: ClaimedDtype;
  /** The budgets of each KV head, if they have been computed already. */
  readonly budgets?: readonly HeadBudgets[];
  readonly diagnose?: Diagnose;
}

/** Where each budget comes from, in words. */
export const ORIGINS: Readonly<Record<OutputName, string>> = {
  types: 'exact', last: 'exact up to N - 1, beyond which it hides nothing', mask: 'exact',
  out: 'A max|v| over visible keys: error of S, exp and a sum of n terms, P stored',
  lse: 'error of S, exp, a sum of n terms and log',
  dv: 'A max|do| over the queries that see it: error of A, P stored, a sum of n terms; in 16 bits, each query head stored',
  dq: 'dS max|k| over visible keys: error of A, P\', D and dS stored, a sum of n terms',
  dk: 'dS max|q| over the queries that see it: error of A, P\', D and dS stored, a sum of n terms; in 16 bits, each query head stored',
  dm_rows: 'dM over all j <= i and the group: error of exp(S - n), P\' and D, a sum of n terms',
  dw: 'dM over its pairs: error of exp(S - n), P\' and D, a sum of n terms',
  dl: 'dM over its pairs: error of exp(S - n), P\' and D, a sum of n terms',
  dg: 'dM over its pairs, subtracted ones included: error of exp(S - n), P\' and D, a sum of n terms',
  dscores: 'y (error of dg, dl, dw, the price and the softmax; y stored)',
  cache_closed_by: 'exact', cache_evicted_at: 'exact', cache_live: 'exact', cache_out: 'as out',
  cache_bytes: 'from the live entries alone to whole blocks of 64 and one more, with 16 bytes of bookkeeping per slot',
};

/**
 * Compares every output with its truth. NaN, wrong shapes, wrong dtypes and missing outputs never pass.
 *
 * @param outputs By the names in types.ts; others are ignored.
 * @throws {ValueError} If `tensors` holds a name that is no output, or the case has no truths.
 */
export function verifyCase(oracleCase: OracleCase, outputs: Tensors, options: VerifyOptions = {}): CaseReport {
  const { expected, notCompared } = oracleCase;
  if (!expected.last) throw new ValueError(`case ${oracleCase.name} has no truths: make it with makeCase or caseOf`);
  const dtype = options.dtype ?? claimOf(outputs);
  const asked = options.tensors ? outputNames(options.tensors) : OUTPUT_ORDER;
  const names = OUTPUT_ORDER.filter((name) => expected[name]);
  const needed = names.filter((name) => asked.includes(name) && outputs[name] && !isInteger(expected[name]));
  const budgets = needed.length === 0 ? {} : budgetsOf(oracleCase, dtype, options);
  const tensors = names.map((name): TensorReport => {
    const [truth, actual, budget] = [expected[name], outputs[name], ORIGINS[name]];
    if (!asked.includes(name)) return { ...refused(name, 'skipped', 'not asked for'), budget };
    if (!actual) return { ...refused(name, 'missing', missing(expected, outputs)), budget };
    const report = name === 'cache_bytes' ? compareBytes(oracleCase, truth, actual, dtype)
      : isInteger(truth) ? compareWhole(name, truth, actual, sameLast(name, oracleCase))
      : compareReals(name, truth, actual, dtype, { ...budgets[name]!, truths: options.truths }, notCompared[name]);
    return extended(report, { budget });
  });
  const pass = tensors.every(({ status }) => status === 'pass' || status === 'skipped');
  if (pass) return { case: oracleCase.name, pass, dtype, tensors };
  const divergence = divergenceOf(expected, outputs, tensors);
  const found = options.diagnose?.(oracleCase, outputs, tensors, dtype);
  return { case: oracleCase.name, pass, dtype, tensors, ...(divergence && { divergence }), ...found };
}

/** The budgets of every output of floats, by name. */
function budgetsOf(
  oracleCase: OracleCase, dtype: ClaimedDtype, { budgets, onProgress, products }: VerifyOptions,
): Partial<Record<OutputName, RowBudgets>> {
  const { batch: B, kvHeads: G, headDim: d } = oracleCase.parameters;
  const total = pairCount(oracleCase.parameters);
  let done = 0;
  const heads = budgets ?? Array.from({ length: B * G }, (_, head) =>
    headBudgets(problemOf(oracleCase, head, products), dtype, (pairs) => onProgress?.(done += pairs, total)));
  const all: Partial<Record<OutputName, RowBudgets>> = {};
  for (const name of Object.keys(heads[0] ?? {}) as (keyof HeadBudgets)[]) {
    const parts = heads.map((head) => head[name]!);
    const perRow = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
    parts.forEach((part, n) => perRow.set(part, n * part.length));
    all[name] = { perRow, width: ['out', 'dq', 'dk', 'dv'].includes(name) ? d : 1 };
  }
  if (all.out) all.cache_out = all.out;
  if (oracleCase.expected.dscores) all.dscores = { perRow: scoreBudgets(oracleCase, dtype, all), width: 1 };
  return all;
}

/** How many pairs of query and key, hidden ones included, the budgets of a case go through. */
export function pairCount({ batch: B, queryHeads: H, tokens: N }: CaseParameters): number {
  return B * H * N * (N + 1) / 2;
}

function sameLast(name: OutputName, { parameters }: OracleCase): ((x: number) => number) | undefined {
  return name === 'last' ? (x) => Math.min(x, parameters.tokens - 1) : undefined;
}

function missing(expected: Tensors, outputs: Tensors): string {
  const strange = Object.keys(outputs).filter((name) => !expected[name]);
  return `not among the outputs${strange.length > 0 ? `, though there are ${strange.join(', ')}, which this case does not have` : ''}`;
}

/** cache_bytes: at least the live entries, at most whole blocks of 64 and one more, with 16 more bytes per slot. */
function compareBytes(
  { parameters: { headDim: d } }: OracleCase, truth: NamedTensor, actual: NamedTensor, dtype: ClaimedDtype,
): TensorReport {
  const entry = 2 * d * { f64: 8, f32: 4, f16: 2, bf16: 2 }[dtype];
  const scaled = (truth as IntegerTensor).data.map((bytes) => bytes / bytesPerEntry(d) * entry);
  return compareWithin('cache_bytes', { ...truth, data: scaled } as IntegerTensor, actual, (bytes) =>
    [0, (Math.ceil(bytes / entry / 64) + 1) * 64 * (entry + 16) - bytes]);
}
