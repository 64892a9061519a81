import { capital, digits, shuffledNames, type Task } from './task.ts';

/** How many chains there are: the one that is asked about, and one that distracts. */
const CHAINS = 2;

/** A value that is passed on from name to name: whoever answers must follow the chain to its beginning. */
export const hops: Task = {
  help: 'a number that is passed on from name to name, --hops times, beside a second such chain',
  facts: (options) => CHAINS * (options.hops + 1),
  most: { hops: 11 }, // two chains of twelve names
  make(random, options) {
    const length = options.hops + 1;
    const names = shuffledNames(random);
    const chains = Array.from({ length: CHAINS }, (_, c) => names.slice(c * length, (c + 1) * length));
    const values = chains.map(() => digits(random, 3));
    const said = chains.map(([first, ...rest], c) => [
      `The number of ${first} is ${values[c]}. `,
      ...rest.map((name, n) => `${capital(name)} has the same number as ${chains[c][n]}. `),
    ]);
    // Each chain keeps its order, and the two are mixed.
    const facts: string[] = [];
    const needed: number[] = [];
    const told = chains.map(() => 0);
    while (told.some((count) => count < length)) {
      let c = random.below(CHAINS);
      if (told[c] === length) c = 1 - c;
      if (c === 0) needed.push(facts.length);
      facts.push(said[c][told[c]++]);
    }
    return { facts, ordered: true, needed, question: `The number of ${chains[0][length - 1]} is `, answer: values[0] };
  },
  isLine: (line) => /The number of [a-z]+ is \d+\.$/.test(line),
};
