import { capital, NAME_COUNT, shuffled, shuffledNames, type Task } from './task.ts';

/** How often the name that is asked for occurs, and how often each of the others does. */
const OFTEN = 6;
const SELDOM = 2;

/** Names that are called out, one of them more often than the others: every call counts. */
export const common: Task = {
  help: 'names that are called out, --pairs of them, one far more often than the others',
  facts: ({ pairs }) => OFTEN + SELDOM * (pairs - 1),
  most: { pairs: NAME_COUNT },
  make(random, { pairs }) {
    const [first, ...others] = shuffledNames(random).slice(0, pairs);
    const calls = [...Array<string>(OFTEN).fill(first), ...others.flatMap((name) => Array<string>(SELDOM).fill(name))];
    const order = shuffled(random, calls);
    return {
      facts: order.map((name) => `${capital(name)} was called. `), ordered: true,
      needed: order.flatMap((name, n) => (name === first ? [n] : [])),
      question: 'The name that was called most often is', answer: ` ${first}`,
    };
  },
  isLine: (line) => /The name that was called most often is [a-z]+\.$/.test(line),
};
