/**
 * A mistake as a hypothesis: what an implementation that makes it would hand in.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import type { Scene, Sees } from './scene.ts';
import type { OutputName } from '../types.ts';

/** One way to make a mistake. */
export interface Hypothesis {
  readonly name: DiagnosisName;
  /** Row `row` of the output in question: the numbers along d of out, dq, dk, dv, 3 of dscores, else one. */
  readonly predict: (row: number) => ArrayLike<number>;
  /** What its queries see, if that is what is wrong. */
  readonly sees?: Sees;
}

/** Every way the oracle knows to get one output wrong, the likelier first. */
export type Hypotheses = (scene: Scene, output: OutputName) => Iterable<Hypothesis>;

/** Numbers in a row of an output. */
export function rowWidth(output: OutputName, headDim: number): number {
  if (output === 'dscores') return 3;
  return ['out', 'dv', 'dq', 'dk', 'cache_out'].includes(output) ? headDim : 1;
}

/** Sizes of tiles that kernels have. */
export const TILES = [16, 32, 64, 128, 8] as const;
