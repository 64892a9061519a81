/**
 * What the mutants of the eighth set are made of.
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import type { OracleCase, OutputName, Tensors } from '../../../src/oracle/types.ts';
import type { Hooks, RowOf, Sums, Weights } from '../hooks.ts';
import { run } from '../kernel.ts';
import type { Mutant } from '../mutant.ts';
import { online, rightDg, rightDl, rightDw } from '../right.ts';
import { f, mixed, visibleOf } from '../seventh/parts.ts';
import { expanded } from '../sixth/expanded.ts';

/** What is true of a mutant. It was written down before any diagnosis was run. */
export interface Truth {
  readonly cause: string;
  /** The outputs that may be wrong, in some case. */
  readonly tensors: readonly OutputName[];
  /** Heads, batches, rows, keys, tiles, types, components. */
  readonly where: string;
  /** The condition on parameters. */
  readonly cases: string;
}

export interface Eighth extends Mutant {
  /** 1 to 15, as in the list of kinds in README.md. */
  readonly kind: number;
  readonly truth: Truth;
}

type Make<T> = T | ((each: OracleCase) => T);
const made = (hooks: Make<Hooks>, each: OracleCase): Hooks => (typeof hooks === 'function' ? hooks(each) : hooks);

export const broken = (
  kind: number, id: string, what: string, truth: Truth, make: (each: OracleCase) => Tensors,
): Eighth => ({ id, what, named: 'unknown', dtype: 'f32', kind, truth, run: make });
export const hooked = (kind: number, id: string, what: string, truth: Truth, hooks: Make<Hooks>): Eighth =>
  broken(kind, id, what, truth, (each) => run(each, made(hooks, each)));
/** The kernel with `hooks` for the outputs of the truth, and the right one for the others. */
export const partly = (kind: number, id: string, what: string, truth: Truth, hooks: Make<Hooks>): Eighth =>
  broken(kind, id, what, truth, (each) => mixed(truth.tensors, run(each, made(hooks, each)), run(each)));

export const CACHE = ['cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes'] as const;
/** The case with another window, which everything reads. */
export const windowed = (each: OracleCase, window: (W: number, N: number) => number): OracleCase => {
  const { parameters: p } = each;
  return { ...each, parameters: { ...p, window: window(p.window, p.tokens) } };
};
export const tile = (n: number, size = 16): number => Math.floor(n / size);

/** The right softmax over the visible keys of a row, and those that `again` names once more. */
export function twice(row: RowOf, sees: (j: number) => boolean, again: (j: number) => boolean): Weights {
  const seen = visibleOf(row, sees);
  const at = [...seen.keys.keys()].flatMap((n) => (again(seen.keys[n]) ? [n, n] : [n]));
  return online({
    ...seen, keys: at.map((n) => seen.keys[n]), S: at.map((n) => seen.S[n]), value: (n, c) => seen.value(at[n], c),
  });
}

/**
 * The case's outputs with gradients of the types `names` made from dM of other query heads.
 *
 * @param heads The query heads of a sequence whose dM is summed for KV head g.
 */
export function resummed(each: OracleCase, names: readonly string[], heads: (g: number) => readonly number[]): Tensors {
  const { queryHeads: H, kvHeads: G, tokens: N, chunk: C } = each.parameters;
  const cells: Sums['cell'][] = [];
  expanded(each, { dw: ({ head, cell }) => { cells[head.head] = cell; return 0; } });
  if (cells.length === 0) return run(each);
  const cellOf = (head: number): Sums['cell'] => {
    const own = heads(head % G).map((h) => cells[Math.floor(head / G) * H + h]);
    return (i, j) => own.reduce((sum, cell) => f(sum + cell(i, j)), 0);
  };
  const of = (sums: Sums): Sums => {
    const cell = cellOf(sums.head.head);
    const column = (c: number, from: number, to: number): number => {
      let sum = 0;
      for (let j = c * C; j < Math.min((c + 1) * C, N); j++) {
        for (let i = Math.max(j, from); i <= Math.min(to, N - 1); i++) sum = f(sum + cell(i, j));
      }
      return sum;
    };
    return { ...sums, cell, column };
  };
  const result = run(each, {
    ...(names.includes('dw') && { dw: (sums) => rightDw(of(sums)) }),
    ...(names.includes('dl') && { dl: (sums) => rightDl(of(sums)) }),
    ...(names.includes('dg') && { dg: (sums) => rightDg(of(sums)) }),
  });
  if (!names.includes('dm_rows')) return result;
  const data = new Float64Array(result.dm_rows.data.length).map((_, n) => {
    const cell = cellOf(Math.floor(n / N));
    let sum = 0;
    for (let j = 0; j <= n % N; j++) sum = f(sum + cell(n % N, j));
    return sum;
  });
  return { ...result, dm_rows: { ...result.dm_rows, data } as NamedTensor };
}
