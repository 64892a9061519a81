/**
 * Some terms of the sums dw, dl and dg multiplied by one number, which is fitted, as terms-hypotheses.ts does it for
 * sums over pairs elsewhere.
 * @module
 */
import { chunkEnd, TokenType } from '../../core/lifetime.ts';
import { rightPair } from './wrong-pairs.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { failingRows } from './moved-hypotheses.ts';
import { MOST_KEPT, type Scene } from './scene.ts';
import { oftenness, partsOf } from './terms-hypotheses.ts';

/** The fewest chunks that must fail before one number fitted to them says anything. */
const FEWEST = 6;

export const typeTermsHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if ((output !== 'dw' && output !== 'dl' && output !== 'dg') || scene.N > MOST_KEPT) return;
  const { N, chunks, parameters: { chunk: C, window: W } } = scene;
  const rows = failingRows(scene, 1);
  if (rows.length < FEWEST) return;
  const [truth, actual] = [scene.truth(output), scene.outputs[output].data];
  const dM = cells(scene);
  const inside = (head: number, c: number, i: number): boolean => output === 'dg' ? true
    : i <= (output === 'dw' ? chunkEnd(c, C) + W : scene.plan(head).closing[c]);
  const fitted = function* (words: string, part: (row: number) => number, beyond: boolean): Generator<Hypothesis> {
    const sums = new Map<number, number>();
    const of = (row: number): number => {
      let made = sums.get(row);
      if (made === undefined) sums.set(row, made = part(row));
      return made;
    };
    let [both, own] = [0, 0];
    for (const row of rows) {
      both += (actual[row] - truth[row]) * of(row);
      own += of(row) ** 2;
    }
    const more = both / own;
    if (!(own > 0) || !Number.isFinite(more) || Math.abs(more) < 1e-3) return;
    const factor = beyond ? more : 1 + more;
    const times = Math.abs(factor) < 1e-3 ? 'left out' : `times ${Number(factor.toPrecision(3))}`;
    yield {
      name: 'terms-weighed', detail: beyond ? `${words} beyond the end, too: ${times}` : `${words}: ${times}`,
      kind: `${words}${beyond ? ' beyond the end' : ''}: ${oftenness(factor)}`,
      predict: (row) => [truth[row] + more * of(row)],
    };
  };
  const column = (row: number, counts: (head: number, c: number, i: number, j: number) => boolean): number => {
    const [head, c] = [Math.floor(row / chunks), row % chunks];
    let total = 0;
    for (let j = c * C; j < Math.min((c + 1) * C, N); j++) {
      for (let i = j; i < N; i++) if (counts(head, c, i, j)) total += dM(head, i, j);
    }
    return total;
  };
  for (const { words, has } of partsOf(scene, output)) {
    for (const beyond of output === 'dg' ? [false] : [false, true]) {
      yield* fitted(words, (row) => column(row, (head, c, i, j) =>
        inside(head, c, i) !== beyond && has(head, i, j, head * scene.R * N + i)), beyond);
    }
  }
  if (output !== 'dg') {
    yield* fitted('rows', (row) => column(row, (head, c, i) => !inside(head, c, i)), true);
    return;
  }
  const negative = (row: number, wanted: (k: number, c: number) => boolean): number => {
    const [head, c] = [Math.floor(row / chunks), row % chunks];
    const { own, closing } = scene.plan(head);
    let total = 0;
    for (let k = c - 1; k >= 0 && own[k] !== TokenType.GLOBAL; k--) {
      if (own[k] !== TokenType.LOCAL || !wanted(k, c)) continue;
      for (let j = k * C; j < (k + 1) * C; j++) {
        for (let i = (c + 1) * C; i <= Math.min(closing[c], N - 1); i++) total -= dM(head, i, j);
      }
    }
    return total;
  };
  yield* fitted('the negative term of dg', (row) => negative(row, () => true), false);
  yield* fitted('the positive term of dg', (row) => column(row, () => true), false);
  yield* fitted('the nearest LOCAL in the negative term of dg', (row) => {
    let first = true;
    return negative(row, () => {
      const counts = first;
      first = false;
      return counts;
    });
  }, false);
};

/** dM, each pair computed once. */
function cells(scene: Scene): (head: number, i: number, j: number) => number {
  const at = rightPair(scene);
  const known = new Map<number, Float64Array>();
  return (head, i, j) => {
    let row = known.get(head * scene.N + j);
    if (!row) known.set(head * scene.N + j, row = new Float64Array(scene.N).fill(NaN));
    if (Number.isNaN(row[i])) row[i] = at(head, i, j);
    return row[i];
  };
}
