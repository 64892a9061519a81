/**
 * What an exercise of `natsearch learn` is. Everything is about one KV head with one query head, so that answers are
 * plain lists and tables of numbers.
 * @module
 */

/** A number, a list, a table, or an object of these, as JSON has them. Infinity is written as null. */
export type Value = number | readonly Value[] | { readonly [name: string]: Value };

/** The arguments of one call, by name, in the order of the parameters. */
export type Arguments = Readonly<Record<string, Value>>;

/** A wrong answer that people often give. */
export interface Mistake {
  /** What it computes, as the end of the sentence "You compute ...". */
  readonly what: string;
  /** What to think about. */
  readonly think: string;
  compute(given: never): Value;
}

/** An exercise. */
export interface Step {
  /** The name on the command line, and of the function in the file, where Python writes - as _. */
  readonly name: string;
  readonly title: string;
  /** The page of docs/chapters/ that teaches it. */
  readonly chapter: string;
  /** What to write. */
  readonly task: string;
  /** Names of parameters, with their types in TypeScript. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly returns: string;
  readonly hints: readonly string[];
  /** The calls that are graded, small ones first. */
  cases(): readonly Arguments[];
  solve(given: never): Value;
  readonly mistakes: readonly Mistake[];
}

/** Keeps the types of a step's own arguments together. */
export function step<Given extends object, Result extends Value>(all: Omit<Step, 'cases' | 'solve' | 'mistakes'> & {
  cases(): readonly Given[];
  solve(given: Given): Result;
  mistakes: readonly { what: string; think: string; compute(given: Given): Value }[];
}): Step {
  return all as unknown as Step;
}

/** GLOBAL, LOCAL and WINDOW. */
export const G = 0;
export const L = 1;
export const W = 2;

/** The running example of docs/algorithm.md. */
export const EXAMPLE: readonly number[] = [G, L, L, W, G, L, W, W];

/** Sequences of types that show every rule: the example, one token, all of one type, mixtures, other beginnings. */
export function typeCases(): { types: number[]; window: number }[] {
  const random = numbers(1);
  const drawn = Array.from({ length: 8 }, (_, n) => {
    const types = Array.from({ length: 3 + n }, () => Math.floor(3 * (random() + 1) / 2));
    return { types: [G, ...types.slice(1)], window: n % 5 };
  });
  return [
    { types: [G], window: 2 }, { types: [...EXAMPLE], window: 2 }, { types: [G, W, W, W], window: 0 },
    { types: [G, L, L, L], window: 1 }, { types: [G, G, G], window: 1 }, { types: [G, W, W, W, W], window: 9 },
    ...drawn,
    { types: [L, W, G, L], window: 1 }, { types: [W, L, G, G, W], window: 1 },
  ];
}

/** Numbers in -1..1 that look random, the same ones every time. */
export function numbers(seed: number): () => number {
  let n = 1000 * seed;
  return () => {
    const x = Math.sin(++n * 12.9898) * 43758.5453;
    return 2 * (x - Math.floor(x)) - 1;
  };
}

/** A table of such numbers. */
export const randomTable = (random: () => number, rows: number, columns: number): number[][] =>
  Array.from({ length: rows }, () => Array.from({ length: columns }, random));
