/**
 * What the mutants of the eleventh set are made of.
 * @module
 */
import type { OracleCase } from '../../../src/oracle/types.ts';
import type { Head, Hooks, RowOf, Weights } from '../hooks.ts';
import type { Ninth } from '../ninth/parts.ts';
import { online } from '../right.ts';
import { headOf, visibleOf } from '../seventh/parts.ts';

export type Eleventh = Ninth;

/** Both gradients of the keys' side. */
export const DKV = ['dk', 'dv'] as const;

/** All KV heads of a case, by b G + g. */
export const headsOf = (each: OracleCase): readonly Head[] =>
  Array.from({ length: each.parameters.batch * each.parameters.kvHeads }, (_, head) => headOf(each, head));

/** Tells `attend` which row it is at, b H N + h N + i, as long as it attends to the rows of training. */
export function attending(attend: (row: RowOf, sees: (j: number) => boolean, at: number) => Weights): Hooks {
  let at = -1;
  return { attend: (row, sees) => attend(row, sees, ++at) };
}

/** The softmax of each split of 32 keys on its own, over the keys that the row sees. */
export function splitsOf(row: RowOf, sees: (j: number) => boolean): Weights[] {
  const seen = visibleOf(row, sees);
  const splits = new Set(seen.keys.map((j) => Math.floor(j / 32)));
  return [...splits].map((s) => online(visibleOf(seen, (j) => Math.floor(j / 32) === s)));
}
