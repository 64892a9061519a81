/**
 * Compares one output with its truth.
 * @module
 */
import type { FloatDtype, FloatTensor, IntegerTensor, NamedTensor } from '../../formats/named-tensor.ts';
import { roundTo, ulp } from '../../formats/rounding.ts';
import { STORAGE } from './budget.ts';
import type { ClaimedDtype, TensorReport } from '../types.ts';

/** How far a float output may be off before the rounding of its storage. */
export interface RowBudgets {
  /** One number per row of `width` elements. */
  readonly perRow: Float64Array;
  readonly width: number;
  /** What the truth was rounded to. Default: its dtype. */
  readonly truths?: ClaimedDtype | undefined;
}

/** How far below and above the truth an element may lie. */
type Range = (truth: number, n: number) => readonly [least: number, most: number];

const FLOATS: Readonly<Record<ClaimedDtype, FloatDtype>> = { f64: 'F64', f32: 'F32', f16: 'F16', bf16: 'BF16' };
const CLAIMS = { F64: 'f64', F32: 'f32', F16: 'f16', BF16: 'bf16' } as const;
const SMALLEST: Readonly<Record<ClaimedDtype, number>> = {
  f64: 2 ** -1022, f32: 2 ** -126, f16: 2 ** -24, bf16: 2 ** -126,
};

const FAILING = new WeakMap<TensorReport, Uint8Array>();

/**
 * Where a tensor that was compared fails, by flat index: 0 where it passes, 10 for NaN and infinities, else how many
 * powers of ten the error is above its budget, from 1 to 9. Reports do not hold it, as they are printed.
 */
export const failingOf = (report: TensorReport): Uint8Array | undefined => FAILING.get(report);

/** The same report with more in it. */
export function extended(report: TensorReport, more: Partial<TensorReport>): TensorReport {
  const all = { ...report, ...more };
  const failing = FAILING.get(report);
  if (failing) FAILING.set(all, failing);
  return all;
}

export const isInteger = (tensor: NamedTensor): tensor is IntegerTensor => tensor.data instanceof Int32Array;

/** The report on an output that cannot be compared. */
export function refused(
  name: string, status: TensorReport['status'], note: string,
): TensorReport {
  return {
    name, status, note, compared: 0, failed: 0, nan: 0, maxAbsolute: 0, maxRelative: 0, maxUlps: 0,
    worst: undefined, first: undefined,
  };
}

/**
 * Compares an output of floats; the status is `wrong shape` or `wrong dtype` if it cannot be compared.
 *
 * @param budgets What the arithmetic may be off by. The rounding of storage, in the claimed dtype or the file's, is
 * added here.
 * @param skip Flat indices that may hold anything.
 */
export function compareReals(
  name: string, truth: FloatTensor, actual: NamedTensor, dtype: ClaimedDtype, budgets: RowBudgets,
  skip: readonly number[] = [],
): TensorReport {
  const bad = mismatch(name, truth, actual);
  if (bad) return bad;
  if (isInteger(actual)) return refused(name, 'wrong dtype', `it is ${actual.dtype}: store floats`);
  const file = CLAIMS[actual.dtype];
  const coarse = STORAGE[file] > STORAGE[dtype] ? file : dtype;
  const [s, tiny] = [STORAGE[coarse], SMALLEST[coarse]];
  const rounded = budgets.truths ?? CLAIMS[truth.dtype];
  const ofTruth = rounded === 'f64' ? 0 : STORAGE[rounded];
  const range: Range = (t, n) => {
    const { perRow, width } = budgets;
    const b = perRow[Math.floor(n / width)];
    const most = b + s * (Math.abs(t) + b) + tiny + ofTruth * Math.abs(t);
    return [most, most];
  };
  const note = coarse === dtype ? undefined : `stored as ${actual.dtype}, coarser than ${dtype}`;
  return compared(name, truth.data, actual.data, FLOATS[coarse], range, skip, note);
}

/** Compares an output of integers, which must be equal. @param same Maps both sides to what is compared. */
export function compareWhole(
  name: string, truth: IntegerTensor, actual: NamedTensor, same: (x: number) => number = (x) => x,
): TensorReport {
  const bad = mismatch(name, truth, actual);
  if (bad) return bad;
  if (!isInteger(actual)) return refused(name, 'wrong dtype', `it is ${actual.dtype}: store integers, such as I32`);
  return compared(name, truth.data.map(same), actual.data.map(same), undefined, () => [0, 0], []);
}

/** Compares numbers of either kind, which must lie in a range about the truth. */
export function compareWithin(name: string, truth: NamedTensor, actual: NamedTensor, range: Range): TensorReport {
  return mismatch(name, truth, actual) ?? compared(name, truth.data, actual.data, undefined, range, []);
}

function mismatch(name: string, truth: NamedTensor, actual: NamedTensor): TensorReport | undefined {
  if (String(truth.shape) === String(actual.shape)) return undefined;
  return refused(name, 'wrong shape', `its shape is [${actual.shape}] and must be [${truth.shape}]`);
}

/** How many powers of ten, from 1 to 9; 10 for what is not finite. */
function levelOf(ratio: number): number {
  return Number.isNaN(ratio) ? 10 : Math.min(Math.max(1, Math.ceil(Math.log10(ratio))), 9);
}

/** @param dtype What floats are stored in; undefined for integers, which have no ULPs. */
function compared(
  name: string, truth: ArrayLike<number>, actual: ArrayLike<number>, dtype: FloatDtype | undefined, range: Range,
  skip: readonly number[], note?: string,
): TensorReport {
  const skipped = new Set(skip);
  let [count, failed, nan, maxAbsolute, maxRelative, maxUlps] = [0, 0, 0, 0, 0, 0];
  let failing: Uint8Array | undefined;
  let first: number | undefined;
  let worst: { ratio: number; at: number; budget: number } | undefined;
  for (let n = 0; n < truth.length; n++) {
    if (skipped.size > 0 && skipped.has(n)) continue;
    const [t, a] = [truth[n], actual[n]];
    count++;
    const [least, most] = range(t, n);
    const budget = a < t ? least : most;
    const error = a === t ? 0 : Math.abs(a - t);
    // A number beyond the largest of its dtype is stored as infinity.
    const overflow = dtype && Math.abs(a) === Infinity && roundTo(t + Math.sign(a) * budget, dtype) === a;
    const pass = error === 0 || (error <= budget && Number.isFinite(a)) || overflow;
    if (!pass) {
      failed++;
      first ??= n;
      (failing ??= new Uint8Array(truth.length))[n] = levelOf(error / budget);
    }
    if (Number.isNaN(a)) {
      nan++;
      continue;
    }
    const ratio = error === 0 || overflow ? 0 : error / budget;
    if (!worst || ratio > worst.ratio) worst = { ratio, at: n, budget };
    if (overflow) continue;
    if (error > maxAbsolute) maxAbsolute = error;
    if (t !== 0 && error / Math.abs(t) > maxRelative) maxRelative = error / Math.abs(t);
    const ulps = error === 0 || !dtype ? 0 : error / ulp(t, dtype);
    if (ulps > maxUlps) maxUlps = ulps;
  }
  const report: TensorReport = {
    name, status: failed > 0 ? 'fail' : 'pass', ...(note && { note }), compared: count, failed, nan,
    maxAbsolute, maxRelative, maxUlps, worst, first,
  };
  if (failing) FAILING.set(report, failing);
  return report;
}
