/** The sixth set of broken kernels: see support/blind-set.ts. */
import { answersOf, LATER_ANSWERS, SIXTH_ANSWERS } from './mutants/sixth-names.ts';
import { SIXTH } from './mutants/sixth/index.ts';
import { describeBlindSet } from './support/blind-set.ts';

describeBlindSet({
  title: 'sixth', mutants: SIXTH, answers: SIXTH_ANSWERS, later: LATER_ANSWERS, answersOf, now: 'named or located',
});
