/**
 * Hypotheses: what an implementation that makes a certain mistake would output.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import type { Scene, Sees } from './scene.ts';
import type { OutputName } from '../types.ts';

/** One way to make a mistake. */
export interface Hypothesis {
  readonly name: DiagnosisName;
  /** Row `row` of the output in question: d numbers of out, dq, dk and dv, 3 of dscores, else 1. */
  readonly predict: (row: number) => ArrayLike<number>;
  /** The mask, if that is what is wrong. */
  readonly sees?: Sees;
  /** What to add to the name, such as the factor. */
  readonly detail?: string;
  /** Other true words for the detail, such as what of the case a factor is. */
  readonly also?: readonly string[];
  /** The detail without its fitted number, which another case may have otherwise. */
  readonly kind?: string;
}

/** A mask that an implementation may have instead of §2's, with `last` if lifetimes describe it. */
export interface WrongLifetime {
  readonly name: DiagnosisName;
  readonly sees: Sees;
  /** last(j) of KV head b G + g. */
  readonly last?: (head: number, j: number) => number;
  readonly detail?: string;
}

/** Every way the oracle knows to get one output wrong, the most likely first. */
export type Hypotheses = (scene: Scene, output: OutputName) => Iterable<Hypothesis>;

/** How many numbers a row of an output has. */
export function rowWidth(output: OutputName, headDim: number): number {
  if (output === 'dscores') return 3;
  return ['out', 'dv', 'dq', 'dk', 'cache_out'].includes(output) ? headDim : 1;
}

/** The sizes of tiles that kernels use. */
export const TILES = [16, 32, 64, 128, 8] as const;
