/**
 * What a recall task is: facts to hide in filler, a question at the end, and its answer.
 * @module
 */
import type { Generator } from '../../../core/random.ts';

/** The numbers that a task may depend on. */
export interface TaskOptions {
  /** How many names have a fact. */
  readonly pairs: number;
  /** How many times a value is passed on before it is asked for. */
  readonly hops: number;
  /** The wordings that may be used, by number. */
  readonly templates: readonly number[];
}

/** The facts of one document, and the question about them. */
export interface Scene {
  /** Sentences to hide, each with the space after it. */
  readonly facts: readonly string[];
  /** Whether the facts must stay in this order. Default: any order. */
  readonly ordered?: boolean;
  /** The indices of the facts without which nobody can answer. */
  readonly needed: readonly number[];
  /** The last words of the prompt, up to where the answer begins. */
  readonly question: string;
  readonly answer: string;
}

/** A kind of document. Its file name is its name. */
export interface Task {
  /** For --help and the documentation. */
  readonly help: string;
  /** How many facts a document has, for the room that they need. */
  facts(options: TaskOptions): number;
  /** The most names or hops that there are words for. */
  readonly most: Partial<Record<'pairs' | 'hops', number>>;
  make(random: Generator, options: TaskOptions): Scene;
  /** Whether a line of training text is of this task, by which its file is recognised. */
  isLine(line: string): boolean;
}

/** How many different names there are. */
export const NAME_COUNT = 25;

const NAMES = [
  'amber', 'birch', 'cedar', 'delta', 'ember', 'fjord', 'grove', 'heron', 'ivory', 'jade', 'koala', 'lotus', 'maple',
  'nickel', 'olive', 'pearl', 'quartz', 'raven', 'slate', 'topaz', 'umber', 'violet', 'willow', 'yarrow', 'zinc',
] as const satisfies { length: typeof NAME_COUNT };

/** All names, shuffled. */
export const shuffledNames = (random: Generator): string[] => shuffled(random, NAMES);

/** A copy in random order (Fisher and Yates). */
export function shuffled<T>(random: Generator, all: readonly T[]): T[] {
  const list = [...all];
  for (let n = list.length - 1; n > 0; n--) {
    const other = random.below(n + 1);
    [list[n], list[other]] = [list[other], list[n]];
  }
  return list;
}

/** A number of so many digits, which may begin with 0. */
export const digits = (random: Generator, count: number): string =>
  Array.from({ length: count }, () => random.below(10)).join('');

/** With its first letter upper case. */
export const capital = (text: string): string => `${text[0].toUpperCase()}${text.slice(1)}`;
