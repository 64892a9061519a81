/**
 * Numbers that are passed on from name to name, in two chains whose facts are mixed.
 * @module
 */
import type { Generator } from '../../../core/random.ts';
import { digits, shuffledNames, type TaskOptions } from './task.ts';

/** How many chains there are: the one that is asked about, and one that distracts. */
const CHAINS = 2;

/** The most hops that there are names for: two chains of twelve. */
export const MOST_HOPS = 11;

/** How many facts a document with chains has. */
export const chainFacts = ({ hops }: TaskOptions): number => CHAINS * (hops + 1);

/** The fact that a name has a number, with a space after it. */
export const firstFact = (name: string, value: string): string => `The number of ${name} is ${value}. `;

/**
 * The facts of the chains, each of which keeps its order; which of them are of the first chain; and that chain itself.
 * `passedOn` words the fact that a name has the number of the name before it.
 */
export function mixedChains(random: Generator, hops: number, passedOn: (name: string, before: string) => string): {
  facts: string[]; needed: number[]; chain: string[]; value: string;
} {
  const length = hops + 1;
  const names = shuffledNames(random);
  const chains = Array.from({ length: CHAINS }, (_, c) => names.slice(c * length, (c + 1) * length));
  const values = chains.map(() => digits(random, 3));
  const said = chains.map(([first, ...rest], c) => [
    firstFact(first, values[c]), ...rest.map((name, n) => passedOn(name, chains[c][n])),
  ]);
  const facts: string[] = [];
  const needed: number[] = [];
  const told = chains.map(() => 0);
  while (told.some((count) => count < length)) {
    let c = random.below(CHAINS);
    if (told[c] === length) c = 1 - c;
    if (c === 0) needed.push(facts.length);
    facts.push(said[c][told[c]++]);
  }
  return { facts, needed, chain: chains[0], value: values[0] };
}
