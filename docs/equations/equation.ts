/**
 * What an equation of the chapter has.
 * @module
 */
import type { Definitions } from '../mathematics.ts';

/** One equation, or a few that belong together. */
export interface Equation extends Definitions {
  readonly id: string;
  /** Section of the chapter. */
  readonly section: number;
  readonly title: string;
  /** Meanings of symbols where they differ from those of glossary.ts. */
  readonly symbols?: Readonly<Record<string, string>>;
  /** The file that computes it, from the repository's root. */
  readonly file: string;
  /** The export of that file that computes it. */
  readonly function: string;
  /** The first and last line of the code to show (at most 15 lines), each identified by text that it contains. */
  readonly excerpt?: readonly [from: string, to: string];
}
