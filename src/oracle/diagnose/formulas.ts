/**
 * Other formulas for an output as a whole, which leave nothing but roundings: sums over other rows, other tensors.
 * @module
 */
import { addedTensors } from './added-tensors.ts';
import { classSums } from './class-sums.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { rowSums } from './row-sums.ts';
import { scoreFormulas } from './score-formulas.ts';
import { swappedOperands } from './swapped-operands.ts';
import { typeHeads } from './type-heads.ts';
import { typeSums } from './type-sums.ts';

export const formulas: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const all = [typeSums, classSums, rowSums, typeHeads, scoreFormulas, addedTensors, swappedOperands];
  for (const each of all) yield* each(scene, output);
};
