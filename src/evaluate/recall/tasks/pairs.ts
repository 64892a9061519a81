import { digits, NAME_COUNT, shuffledNames, type Task } from './task.ts';

/** Several names with their numbers, one of which is asked for. */
export const pairs: Task = {
  help: 'several names, each with a key of three digits, one of which is asked for',
  facts: (options) => options.pairs,
  most: { pairs: NAME_COUNT },
  make(random, options) {
    const all = shuffledNames(random).slice(0, options.pairs).map((name) => ({ name, answer: digits(random, 3) }));
    const asked = random.below(all.length);
    const { name, answer } = all[asked];
    return {
      facts: all.map((one) => `The key of ${one.name} is ${one.answer}. `), needed: [asked],
      question: `The key of ${name} is `, answer,
    };
  },
  isLine: (line) => /The key of [a-z]+ is \d+\.$/.test(line),
};
