/**
 * What the mutants of the tenth set are made of.
 * @module
 */
import type { OracleCase } from '../../../src/oracle/types.ts';
import type { Hooks } from '../hooks.ts';
import type { Ninth } from '../ninth/parts.ts';

export type Tenth = Ninth;

/** The tensor of a case as numbers, or none. */
export const numbers = (each: OracleCase, name: string): ArrayLike<number> =>
  (each.inputs[name]?.data ?? []) as ArrayLike<number>;

/** Tells `D` of each row which row it is, b H N + h N + i, before any pair of it. */
export function byRow(hooks: (row: () => number) => Hooks): Hooks {
  let row = -1;
  return {
    D: (right) => {
      row++;
      return right;
    },
    ...hooks(() => row),
  };
}
