/**
 * What the mutants of the ninth set are made of.
 * @module
 */
import type { OracleCase, OutputName, Tensors } from '../../../src/oracle/types.ts';
import type { Truth } from '../eighth/parts.ts';
import type { Head, Hooks } from '../hooks.ts';
import { run } from '../kernel.ts';
import type { Mutant } from '../mutant.ts';
import { rightLast } from '../right.ts';
import { mixed } from '../seventh/parts.ts';

export interface Ninth extends Mutant {
  /** 1 to 15, as in the list of kinds in README.md. */
  readonly kind: number;
  readonly truth: Truth;
}

type Make<T> = T | ((each: OracleCase) => T);
const made = (hooks: Make<Hooks>, each: OracleCase): Hooks => (typeof hooks === 'function' ? hooks(each) : hooks);

/** Right names are left open: this set is written before any diagnosis is known. */
export const broken = (
  kind: number, id: string, what: string, truth: Truth, make: (each: OracleCase) => Tensors,
): Ninth => ({ id, what, named: [], dtype: 'f32', kind, truth, run: make });
export const hooked = (kind: number, id: string, what: string, truth: Truth, hooks: Make<Hooks>): Ninth =>
  broken(kind, id, what, truth, (each) => run(each, made(hooks, each)));
/** The kernel with `hooks` for the outputs of the truth, and the right one for the others. */
export const partly = (kind: number, id: string, what: string, truth: Truth, hooks: Make<Hooks>): Ninth =>
  broken(kind, id, what, truth, (each) => mixed(truth.tensors, run(each, made(hooks, each)), run(each)));

export const CACHE = ['cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes'] as const;
/** What a wrong softmax reaches if the backward has D from its output, but an lse of its own that is right. */
export const BY_OUT: readonly OutputName[] = ['dq', 'dk', 'dm_rows', 'dw', 'dl', 'dg', 'dscores'];

const bounds = new WeakMap<Head, Map<string, number>>();
/** The least or the largest last(j) of a tile of 16 keys. */
export function boundOf(head: Head, tile: number, which: 'min' | 'max'): number {
  let known = bounds.get(head);
  if (!known) bounds.set(head, known = new Map());
  const found = known.get(which + tile);
  if (found !== undefined) return found;
  const lasts: number[] = [];
  for (let j = 16 * tile; j < Math.min(16 * tile + 16, head.p.tokens); j++) lasts.push(rightLast(head, j));
  const bound = Math[which](...lasts);
  known.set(which + tile, bound);
  return bound;
}

/** Counts the pairs that `again` names twice in the products of the backward. */
export function countedTwice(again: (i: number, j: number, N: number) => boolean): Hooks {
  let factor = 1;
  return {
    backVisible: (i, j, last, { p }) => {
      factor = again(i, j, p.tokens) ? 2 : 1;
      return j <= i && i <= last;
    },
    dS: (A, P, D) => Math.fround(factor * Math.fround(A * Math.fround(P - D))),
    storeA: (A) => factor * A,
  };
}
