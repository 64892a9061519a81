/** The seventh set of broken kernels: see support/blind-set.ts. */
import { answersOf, LATER_ANSWERS, SEVENTH_ANSWERS } from './mutants/seventh-names.ts';
import { SEVENTH } from './mutants/seventh/index.ts';
import { describeBlindSet } from './support/blind-set.ts';

describeBlindSet({
  title: 'seventh', mutants: SEVENTH, answers: SEVENTH_ANSWERS, later: LATER_ANSWERS, answersOf, now: 'no false name',
});
