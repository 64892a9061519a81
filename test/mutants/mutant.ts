/**
 * The definition of a mutant.
 * @module
 */
import type { DiagnosisName } from '../../src/oracle/diagnose/diagnoses.ts';
import type { ClaimedDtype, OracleCase, Tensors } from '../../src/oracle/types.ts';
import type { Hooks } from './hooks.ts';
import { run } from './kernel.ts';

/** A kernel with one mistake in it. */
export interface Mutant {
  readonly id: string;
  /** The mistake, in words. */
  readonly what: string;
  /** The name, or names, of a right diagnosis. */
  readonly named: DiagnosisName | readonly DiagnosisName[];
  /** What a right report says about where it fails, if that counts as an answer. */
  readonly where?: RegExp;
  readonly dtype: ClaimedDtype;
  run(oracleCase: OracleCase): Tensors;
}

/** The kernel with `hooks`. */
export function mutant(id: string, what: string, named: Mutant['named'], hooks: Hooks): Mutant {
  return { id, what, named, dtype: 'f32', run: (oracleCase) => run(oracleCase, hooks) };
}
