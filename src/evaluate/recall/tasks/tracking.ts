import { chainFacts, firstFact, MOST_HOPS, mixedChains } from './chains.ts';
import type { Task } from './task.ts';

const passedOn = (name: string, before: string): string => `The number of ${name} is that of ${before}. `;

/** As `hops`, but every step of the chain is to be told: each is a lookup of its own, and no step needs two at once. */
export const tracking: Task = {
  help: 'as hops, but the answer tells the chain step by step, back to the number',
  facts: chainFacts,
  most: { hops: MOST_HOPS },
  make(random, options) {
    const { facts, needed, chain, value } = mixedChains(random, options.hops, passedOn);
    const steps = chain.map((name, n) => n === 0 ? firstFact(name, value) : passedOn(name, chain[n - 1])).reverse();
    const question = `The number of ${chain.at(-1)!} is`;
    return { facts, ordered: true, needed, question, answer: steps.join('').slice(question.length, -'. '.length) };
  },
  isLine: (line) => /The number of [a-z]+ is(?: that of ([a-z]+)\. The number of \1 is)+ \d+\.$/.test(line),
};
