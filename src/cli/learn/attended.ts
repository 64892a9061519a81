/**
 * Inputs for the exercises about attention.
 * @module
 */
import { type Attended, lifetime, mask } from './algorithm.ts';
import { numbers, randomTable, typeCases } from './step.ts';

/** Queries, keys and values for every sequence of types, and a gradient of the output. */
export function attendedCases(): (Attended & { dOut: number[][]; types: number[]; window: number })[] {
  return typeCases().map(({ types, window }, n) => {
    const random = numbers(n + 2);
    const [N, d] = [types.length, 1 + n % 3];
    const [q, k, v, dOut] = [0, 1, 2, 3].map(() => randomTable(random, N, d).map((row) => row.map((x) => 2 * x)));
    return { q, k, v, last: lifetime(types, window), dOut, types, window };
  });
}

/** The same, and sequences in which a hidden key has by far the largest score. */
export function forwardCases(): Attended[] {
  const all = attendedCases().map(({ q, k, v, last }) => ({ q, k, v, last }));
  const louder = all.filter(({ last }) => mask(last).at(-1)!.includes(0)).map(({ q, k, v, last }) => {
    const hidden = mask(last).at(-1)!.indexOf(0);
    const loud = k.map((row, j) => (j === hidden ? q.at(-1)!.map((x) => 1e4 * Math.sign(x)) : row));
    return { q, k: loud, v, last };
  });
  return [...all, ...louder];
}
