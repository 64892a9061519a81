/**
 * What probes of the diagnosis share: a small case, outputs of which a kernel gets some wrong, and what is said.
 * @module
 */
import {
  type CaseReport, type ClaimedDtype, type OracleCase, type OutputName, type Recipe, type Tensors, verifyCase,
} from '../../src/vectors.ts';
import type { Hooks } from '../mutants/hooks.ts';
import { run } from '../mutants/kernel.ts';
import { type At, edited } from '../mutants/third/parts.ts';

/** Tokens. */
export const N = 20;
/** Numbers of a head. */
export const D = 4;

/** Two query heads to each of two KV heads. No tile of 8 tokens is the last whole one. */
export const SMALL: Recipe = {
  name: 'probe', why: 'diagnosis', queryHeads: 4, kvHeads: 2, tokens: N, headDim: D, window: 3,
  types: { pattern: ['GWWLWLWWGWLWWWLGWWWL', 'GLWWLWWGWWLWWWWG'] },
};

const f = Math.fround;

/** The outputs in `names` of a kernel with these hooks, the others of one that is right. */
export function only(each: OracleCase, names: readonly OutputName[], hooks: Hooks): Tensors {
  const wrong = run(each, hooks);
  return { ...run(each), ...Object.fromEntries(names.map((name) => [name, wrong[name]])) } as Tensors;
}

/** One output of a right kernel, each number changed: `at(h, i)` is that of the same channel in another row. */
export function changed(
  each: OracleCase, name: OutputName,
  change: (x: number, place: At, at: (h: number, i: number, b?: number) => number) => number,
): Tensors {
  return edited(run(each), [name], (x, place, { data, shape: [, heads, rows] }) => {
    const width = data.length / (each.parameters.batch * heads * rows);
    return f(change(x, place, (h, i, b = place.b) => data[((b * heads + h) * rows + i) * width + place.c]));
  });
}

export const judge = (each: OracleCase, outputs: Tensors, dtype: ClaimedDtype = 'f32'): CaseReport =>
  verifyCase(each, outputs, { dtype });

/** The name of a diagnosis, and its details. */
export const said = ({ diagnosis }: CaseReport): readonly [name: string, details: readonly string[]] =>
  [diagnosis!.name, diagnosis!.details?.[diagnosis!.name] ?? []];
