/** The ninth set of broken kernels, of the kinds of the eighth: see support/blind-set.ts. */
import { answersOf, LATER_ANSWERS, NINTH_ANSWERS } from './mutants/ninth-names.ts';
import { NINTH } from './mutants/ninth/index.ts';
import { describeBlindSet } from './support/blind-set.ts';

describeBlindSet({
  title: 'ninth', mutants: NINTH, answers: NINTH_ANSWERS, later: LATER_ANSWERS, answersOf, now: 'no false name',
});
