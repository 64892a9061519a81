/**
 * The parts of the kernel as they are right, which mutants call with changes.
 * @module
 */
import type { CaseParameters } from '../../src/oracle/types.ts';
import { EVER, GLOBAL, type Head, LOCAL, type RowOf, type ScoreGradient, type Sums, type Weights } from './hooks.ts';

const f = Math.fround;

export const softmax = (z: readonly number[]): number[] => {
  const e = z.map((x) => f(Math.exp(f(x - Math.max(...z)))));
  const Z = e.reduce((a, b) => f(a + b), 0);
  return e.map((x) => f(x / Z));
};

export const chunkEnd = (c: number, p: CaseParameters): number => (c + 1) * p.chunk - 1;
export const chunkOf = (j: number, p: CaseParameters): number => Math.floor(j / p.chunk);

/** The end of the first GLOBAL chunk after c, or EVER. */
export function closer({ own, p }: Head, c: number, closes = (type: number): boolean => type === GLOBAL): number {
  for (let n = c + 1; n < own.length; n++) if (closes(own[n])) return chunkEnd(n, p);
  return EVER;
}

/** §5's e(c), which is within the sequence. */
export const closing = (head: Head, c: number): number => Math.min(closer(head, c), head.p.tokens - 1);

export function rightLast(head: Head, j: number): number {
  const { p, own } = head;
  const c = chunkOf(j, p);
  return own[c] === GLOBAL ? EVER : own[c] === LOCAL ? closer(head, c) : chunkEnd(c, p) + p.window;
}

/** Tiles of keys with a running maximum. */
export function online({ S, keys, value, d }: RowOf, tile = 16): Weights {
  let [m, Z] = [-Infinity, 0];
  const o = new Float32Array(d);
  for (let at = 0; at < keys.length;) {
    let end = at;
    while (end < keys.length && Math.floor(keys[end] / tile) === Math.floor(keys[at] / tile)) end++;
    const top = Math.max(m, ...S.slice(at, end));
    const alpha = f(Math.exp(f(m - top)));
    Z = f(Z * alpha);
    for (let c = 0; c < d; c++) o[c] = f(o[c] * alpha);
    for (let n = at; n < end; n++) {
      const e = f(Math.exp(f(S[n] - top)));
      Z = f(Z + e);
      for (let c = 0; c < d; c++) o[c] = f(o[c] + f(e * value(n, c)));
    }
    [m, at] = [top, end];
  }
  return { o, m, Z, lse: f(m + f(Math.log(Z))) };
}

export const rightDw = ({ head, c, column }: Sums): number => column(c, 0, chunkEnd(c, head.p) + head.p.window);
export const rightDl = ({ head, c, column }: Sums): number => column(c, 0, closing(head, c));
/** The cost of ending the LOCAL chunks before c. */
export const ending = ({ head, c, column }: Sums, to: number = closing(head, c)): number => {
  let sum = 0;
  for (let n = c - 1; n >= 0 && head.own[n] !== GLOBAL; n--) {
    if (head.own[n] === LOCAL) sum = f(sum + column(n, (c + 1) * head.p.chunk, to));
  }
  return sum;
};
export const allRows = ({ c, head, column }: Sums): number => column(c, 0, head.p.tokens - 1);
export const rightDg = (sums: Sums): number => f(allRows(sums) - ending(sums));
export function rightScores({ y, dt, price, tau, forced }: ScoreGradient): number[] {
  if (forced) return [0, 0, 0];
  const all = dt.map((x, n) => f(x + price[n]));
  const mean = y.reduce((sum, x, n) => f(sum + f(x * all[n])), 0);
  return y.map((x, n) => f(f(x * f(all[n] - mean)) / tau));
}
