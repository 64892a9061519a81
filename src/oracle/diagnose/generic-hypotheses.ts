/**
 * Mistakes that any output may have: written to the wrong place, not written, or off by a factor.
 * @module
 */
import type { FloatDtype } from '../../formats/named-tensor.ts';
import { roundTo } from '../../formats/rounding.ts';
import type { DiagnosisName } from './diagnoses.ts';
import { type Hypotheses, type Hypothesis, rowWidth, TILES } from './hypothesis.ts';

/** Right numbers in wrong places, or not written at all. */
export const misplaced: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N, d } = scene;
  const truth = scene.truth(output);
  if (truth instanceof Int32Array || !['out', 'lse', 'dv', 'dq', 'dk', 'cache_out'].includes(output)) return;
  const width = rowWidth(output, d);
  const rowOf = (row: number): Float64Array => truth.slice(row * width, (row + 1) * width);
  const heads = scene.expected[output].shape[1];
  const by = (name: DiagnosisName, predict: (row: number) => ArrayLike<number>): Hypothesis => ({ name, predict });
  yield by('layout-heads', (row) => {
    const [b, rest] = [Math.floor(row / (heads * N)), row % (heads * N)];
    return rowOf((b * heads + rest % heads) * N + Math.floor(rest / heads));
  });
  if (width > 1) {
    yield by('layout-dims', (row) => {
      const [head, n] = [Math.floor(row / N), row % N];
      return Array.from({ length: d }, (_, c) => {
        const at = n * d + c;
        return truth[(head * N + at % N) * d + Math.floor(at / N)];
      });
    });
  }
  for (const tile of TILES) {
    for (const nothing of tile > N ? [0] : [0, NaN]) {
      yield by('tail-unwritten', (row) =>
        (row % N >= N - N % tile ? new Float64Array(width).fill(nothing) : rowOf(row)));
    }
  }
};

/** Wrong storage, sign or factor; and single keys too many or too few. */
export const genericHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { d } = scene;
  const truth = scene.truth(output);
  const actual = scene.outputs[output].data;
  if (truth instanceof Int32Array) return;
  const width = rowWidth(output, d);
  const rowOf = (row: number): Float64Array => truth.slice(row * width, (row + 1) * width);
  const by = (name: DiagnosisName, predict: (row: number) => ArrayLike<number>): Hypothesis => ({ name, predict });
  for (const [dtype, name] of [['F16', 'stored-f16'], ['BF16', 'stored-bf16']] as const satisfies readonly (readonly [FloatDtype, DiagnosisName])[]) {
    yield by(name, (row) => rowOf(row).map((x) => roundTo(x, dtype)));
  }
  yield by('sign', (row) => rowOf(row).map((x) => -x));
  let [both, own] = [0, 0];
  for (let n = 0; n < truth.length; n++) {
    if (!Number.isFinite(actual[n]) || !Number.isFinite(truth[n])) continue;
    both += actual[n] * truth[n];
    own += truth[n] * truth[n];
  }
  const factor = both / own;
  // The best factor always explains a little, so believe it only if it leaves next to nothing.
  let left = 0;
  for (let n = 0; n < truth.length; n++) if (Number.isFinite(truth[n])) left += (actual[n] - factor * truth[n]) ** 2;
  if (left < 1e-6 * own * (factor - 1) ** 2 && factor !== 0 && Math.abs(factor + 1) > 1e-4) {
    yield by('factor', (row) => rowOf(row).map((x) => factor * x));
  }
  if (output === 'out') yield* oneKey(scene);
};

/** Rows that see one key too many, or one too few. */
function* oneKey(scene: Parameters<Hypotheses>[0]): Generator<Hypothesis> {
  const { N, d } = scene;
  const actual = scene.outputs.out.data;
  yield {
    name: 'one-key',
    predict: (query) => {
      const given = Float64Array.from({ length: d }, (_, c) => actual[query * d + c]);
      const truth = scene.truth('out').slice(query * d, (query + 1) * d) as Float64Array;
      const [head, i] = [scene.headOf(query), query % N];
      const off = (x: ArrayLike<number>): number => given.reduce((sum, y, c) => sum + (y - x[c]) ** 2, 0);
      let [nearest, distance] = [truth, off(truth) / 16];
      for (let j = 0; j < N; j++) {
        const row = scene.row(query, { sees: (_, at, key) => (key === j) !== scene.sees(head, at, key) });
        if (row.keys.length === 0 || j > i + 1) continue;
        const m = Math.max(...row.S);
        const E = row.S.map((x) => Math.exp(x - m));
        const Z = E.reduce((a, b) => a + b, 0);
        const out = scene.weigh(row, E.map((x) => x / Z));
        if (off(out) < distance) [nearest, distance] = [out, off(out)];
      }
      return nearest;
    },
  };
}
