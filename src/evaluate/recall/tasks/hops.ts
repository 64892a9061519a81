import { chainFacts, MOST_HOPS, mixedChains } from './chains.ts';
import { capital, type Task } from './task.ts';

/** A value that is passed on from name to name: whoever answers must follow the chain to its beginning. */
export const hops: Task = {
  help: 'a number that is passed on from name to name, --hops times, beside a second such chain',
  facts: chainFacts,
  most: { hops: MOST_HOPS },
  make(random, options) {
    const { facts, needed, chain, value } = mixedChains(
      random, options.hops, (name, before) => `${capital(name)} has the same number as ${before}. `,
    );
    return { facts, ordered: true, needed, question: `The number of ${chain.at(-1)!} is `, answer: value };
  },
  // The answers of `tracking` end in the same words, after the step before.
  isLine: (line) => /(?<!The number of [a-z]+ is that of [a-z]+\. )The number of [a-z]+ is \d+\.$/.test(line),
};
