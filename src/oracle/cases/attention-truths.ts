/**
 * §3, §4 and §5 of a case in float64, one row at a time. It takes O(N d) memory, gives the same bits on every platform,
 * and shares no code with the engines, so that they can be verified against it too.
 * @module
 */
import type { FloatTensor } from '../../formats/named-tensor.ts';
import { chunkCount, chunkOf, isVisible, TokenType, windowEnd } from '../../core/lifetime.ts';
import { exp, log } from '../../core/elementary.ts';
import { forEachTile, type HeadPairs, pairsOf } from './pairs.ts';
import { outputShapes } from './shapes.ts';
import { planOf } from './type-sums.ts';
import type { CaseParameters, OutputName, Tensors } from '../types.ts';

/** The truths; the backward ones are computed only if there is a dout. */
const FORWARD = ['out', 'lse'] as const;
const BACKWARD = ['dv', 'dq', 'dk', 'dm_rows', 'dw', 'dl', 'dg'] as const;
type Name = (typeof FORWARD)[number] | (typeof BACKWARD)[number];

/** Views of the results that belong to one KV head. */
type HeadResults = Record<Name, Float64Array>;

/**
 * out, lse and, given a dout, every gradient but dscores, in the order in which the algorithm computes them.
 *
 * @param types [B,G,Nc].
 * @param last [B,G,N].
 */
export function attentionTruths(
  parameters: CaseParameters, inputs: Tensors, types: Int32Array, last: Int32Array,
): Partial<Record<OutputName, FloatTensor>> {
  const { batch: B, kvHeads: G, tokens: N, chunk } = parameters;
  const shapes = outputShapes(parameters);
  const names: readonly Name[] = inputs.dout ? [...FORWARD, ...BACKWARD] : FORWARD;
  const results = Object.fromEntries(names.map((name): [Name, FloatTensor] => {
    const shape = shapes[name];
    return [name, { dtype: 'F64', shape, data: new Float64Array(shape.reduce((a, b) => a * b, 1)) }];
  }));
  const chunks = chunkCount(N, chunk);
  for (let head = 0; head < B * G; head++) {
    const views = Object.fromEntries(names.map((name) => {
      const { data } = results[name];
      const size = data.length / (B * G); // query heads of a group lie side by side
      return [name, data.subarray(head * size, (head + 1) * size)];
    })) as HeadResults;
    const own = types.subarray(head * chunks, (head + 1) * chunks);
    solveHead(pairsOf(parameters, inputs, head), parameters, own, last.subarray(head * N, (head + 1) * N), views);
  }
  return results;
}

function solveHead(
  pairs: HeadPairs, { window, chunk }: CaseParameters, types: Int32Array, last: Int32Array, results: HeadResults,
): void {
  const { tokens: N, headDim: d, scale, rule, q, k, v, dout } = pairs;
  const { out, lse, dq, dk, dv } = results;
  const addTypes = dout && typeGradient(types, N, window, chunk, results);
  const E = new Float64Array(N);
  const dM = new Float64Array(N);
  forEachTile(pairs, ({ h, first, rows, stride, S, P }) => {
    for (let i = first; i < first + rows; i++) {
      const at = (i - first) * stride;
      const row = h * N + i;
      const sees = (j: number): boolean => isVisible(i, j, last[j]);
      const max = maximum(S, at, i, sees);
      let Z = 0;
      for (let j = 0; j <= i; j++) if (sees(j)) Z += E[j] = exp(S[at + j] - max);
      for (let j = 0; j <= i; j++) if (sees(j)) axpy(E[j] / Z, v, j * d, out, row * d, d);
      lse[row] = max + log(Z);
      if (!dout) continue;
      let D = 0;
      for (let c = row * d; c < (row + 1) * d; c++) D += dout[c] * out[c];
      const n = rule === 'exact' ? lse[row] : causalLogSumExp(S, at, i);
      for (let j = 0; j <= i; j++) {
        const change = P[at + j] - D;
        dM[j] = exp(S[at + j] - n) * change;
        if (!sees(j)) continue;
        const A = E[j] / Z;
        const dS = scale * A * change;
        axpy(dS, k, j * d, dq, row * d, d);
        axpy(dS, q, row * d, dk, j * d, d);
        axpy(A, dout, row * d, dv, j * d, d);
      }
      addTypes!(i, dM);
    }
  });
}

function maximum(S: Float64Array, at: number, i: number, sees: (j: number) => boolean): number {
  let max = -Infinity;
  for (let j = 0; j <= i; j++) if (sees(j) && S[at + j] > max) max = S[at + j];
  return max;
}

/** log sum over all j <= i of exp(S), whether visible or not. */
function causalLogSumExp(S: Float64Array, at: number, i: number): number {
  const max = maximum(S, at, i, () => true);
  let Z = 0;
  for (let j = at; j <= at + i; j++) Z += exp(S[j] - max);
  return max + log(Z);
}

/** y += a x. */
function axpy(a: number, x: Float64Array, xAt: number, y: Float64Array, yAt: number, d: number): void {
  for (let c = 0; c < d; c++) y[yAt + c] = y[yAt + c] + a * x[xAt + c];
}

/**
 * Adds rows of dM to dm_rows and to the sums of §5. GLOBAL closes the LOCAL tokens before it, so what queries after it
 * would gain from those counts against it.
 */
function typeGradient(
  types: Int32Array, N: number, window: number, chunk: number,
  { dm_rows: rowSums, dg, dl, dw }: Pick<HeadResults, 'dm_rows' | 'dg' | 'dl' | 'dw'>,
): (i: number, dM: Float64Array) => void {
  const { own, closing, previousGlobal } = planOf(types, N, chunk);
  const add = (to: Float64Array, at: number, x: number): void => void (to[at] = to[at] + x);
  return (i, dM) => {
    const r = chunkOf(i, chunk);
    const p = previousGlobal[r];
    const oldest = p < 0 ? 0 : previousGlobal[p] + 1;
    let open = 0; // sum of row i over the LOCAL chunks since the last GLOBAL before c
    let total = 0;
    for (let c = 0; c <= r; c++) {
      let sum = 0;
      for (let j = c * chunk; j < (c + 1) * chunk && j <= i; j++) sum += dM[j];
      total += sum;
      add(dg, c, sum);
      if (i <= closing[c]) add(dl, c, sum);
      if (i <= windowEnd(c, chunk, window)) add(dw, c, sum);
      if (c < oldest) continue;
      if (c >= p && c < r) add(dg, c, -open);
      if (own[c] === TokenType.GLOBAL) open = 0;
      else if (own[c] === TokenType.LOCAL) open += sum;
    }
    add(rowSums, i, total);
  };
}
