/** The eighth set of broken kernels, of given kinds: see support/blind-set.ts. */
import { answersOf, EIGHTH_ANSWERS, LATER_ANSWERS } from './mutants/eighth-names.ts';
import { EIGHTH } from './mutants/eighth/index.ts';
import { describeBlindSet } from './support/blind-set.ts';

describeBlindSet({
  title: 'eighth', mutants: EIGHTH, answers: EIGHTH_ANSWERS, later: LATER_ANSWERS, answersOf, now: 'no worse',
  allowed: ['bytes-before-eviction'], // of cache_bytes, whose budget allows whole blocks
});
