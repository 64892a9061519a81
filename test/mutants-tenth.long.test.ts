/** The tenth set of broken kernels, of the kinds of the eighth: see support/blind-set.ts. */
import { answersOf, LATER_ANSWERS, TENTH_ANSWERS } from './mutants/tenth-names.ts';
import { TENTH } from './mutants/tenth/index.ts';
import { describeBlindSet } from './support/blind-set.ts';

describeBlindSet({
  title: 'tenth', mutants: TENTH, answers: TENTH_ANSWERS, later: LATER_ANSWERS, answersOf, now: 'no worse',
});
