/**
 * Whether lifetimes explain what is wrong with a few rows, told fast.
 * @module
 */
import { isInteger } from '../judge/compare.ts';
import { PairRows, type Wrong } from './pair-rows.ts';
import { formsOf } from './pair-terms.ts';
import type { Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** last(j) of token j of KV head b G + g. */
export type Last = (head: number, j: number) => number;

/** The share of what is wrong with a row that may be left. */
const LEFT = 0.02;
/** The rows that are looked at. */
const ROWS = 4;
/** Fewer wrong numbers than this are explained by one of so many formulas. */
const FEWEST = 4;

/** Tells of lifetimes whether they may explain the output; undefined if that cannot be told. */
export function differencesOf(scene: Scene, output: OutputName): ((last: Last) => boolean) | undefined {
  const { N, failing } = scene;
  const wrong = [...failing.keys()].filter((at) => failing[at] > 0);
  if (wrong.length < FEWEST) return undefined;
  const actual = scene.outputs[output].data;
  if (output === 'last') {
    const heads = [...new Set(wrong.map((at) => Math.floor(at / N)))];
    const first = wrong.slice(0, 4);
    const same = (last: Last, at: number): boolean =>
      Math.min(last(Math.floor(at / N), at % N), N - 1) === Math.min(actual[at], N - 1);
    return (last) => first.every((at) => same(last, at)) && heads.every((head) => {
      for (let at = head * N; at < head * N + N; at++) if (!same(last, at)) return false;
      return true;
    });
  }
  if (output === 'mask') {
    const rows = [...new Set(wrong.map((at) => Math.floor(at / N)))];
    const some = rows.filter((_, n) => n % Math.ceil(rows.length / ROWS) === 0);
    return (last) => some.every((row) => {
      const [head, i] = [Math.floor(row / N), row % N];
      for (let j = 0; j <= i; j++) if (Number(i <= last(head, j)) !== actual[row * N + j]) return false;
      return true;
    });
  }
  if (isInteger(scene.expected[output]) || !['out', 'lse', 'dv', 'dq', 'dk'].includes(output)) return undefined;
  const forms = [...formsOf(scene, output)];
  const [seen, hidden] = ['visible', 'hidden'].map((pairs) => new PairRows(scene, forms.find(({ kind }) => kind === pairs)!));
  const rows = seen.clearest(ROWS);
  if (rows.length < 2) return undefined;
  return (last) => {
    let changed = false;
    for (const each of rows) {
      const head = seen.headOf(each.row);
      const most = LEFT * Math.hypot(...each.off) + 4 * each.noise;
      const made = each.off.map(() => 0);
      add(seen, each, made, (i, j) => i > last(head, j), -1);
      add(hidden, each, made, (i, j) => i <= last(head, j), 1);
      if (made.some((x, n) => Math.abs(x - each.off[n]) > most)) return false;
      changed ||= made.some((x) => x !== 0);
    }
    return changed;
  };
}

function add(rows: PairRows, { row }: Wrong, made: number[], has: (i: number, j: number) => boolean, by: number): void {
  const { terms, sums: [x, y] } = rows.terms(row);
  for (let n = 0; n < terms.length; n++) {
    const { i, j } = terms[n];
    if (!has(i, j)) continue;
    made[0] = made[0] + by * x[n];
    if (y) made[1] = made[1] + by * y[n];
  }
}
