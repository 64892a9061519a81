import { digits, shuffledNames, type Task } from './task.ts';

/** One number to remember. */
export const passkey: Task = {
  help: 'one key of five digits',
  facts: () => 1,
  most: {},
  make(random) {
    shuffledNames(random); // drawn by pairs too, so that both kinds have the same filler
    const answer = digits(random, 5);
    random.below(1);
    return { facts: [`The pass key is ${answer}. `], needed: [0], question: 'The pass key is ', answer };
  },
  isLine: (line) => /The pass key is \d+\.$/.test(line),
};
