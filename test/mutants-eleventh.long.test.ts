/** The eleventh set of broken kernels, of the kinds of the eighth: see support/blind-set.ts. */
import { answersOf, ELEVENTH_ANSWERS, LATER_ANSWERS } from './mutants/eleventh-names.ts';
import { ELEVENTH } from './mutants/eleventh/index.ts';
import { describeBlindSet } from './support/blind-set.ts';

describeBlindSet({
  title: 'eleventh', mutants: ELEVENTH, answers: ELEVENTH_ANSWERS, later: LATER_ANSWERS, answersOf, now: 'no worse',
  allowed: ['bytes-in-blocks'], // of cache_bytes, whose budget allows whole blocks
});
