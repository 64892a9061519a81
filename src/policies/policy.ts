/**
 * The parts of a policy. Each policy is one file beside this and one line in list.ts.
 * @module
 */
import type { LifetimeOptions, TokenType } from '../core/lifetime.ts';
import type { MassOptions } from '../core/mass.ts';
import type { Entries } from './budget.ts';

/** W and C of token types, and the second window if there is one. */
export type Lifetimes = Pick<LifetimeOptions, 'window' | 'localWindow' | 'chunk'>;
/** What an engine must keep, by types or by a budget. The reach of a model with a window of its own is added to it. */
export type Rule = Lifetimes | Pick<MassOptions, 'mass'>;

/** How a kind of policy takes part in comparisons at equal memory. */
export interface Matching {
  /** The policy of this kind that holds so many entries, or where the kind cannot grow, another that it is part of. */
  write(entries: Entries): string;
  /** The entries that it holds however small its budget is. Default: 0. */
  readonly least?: number;
}

/** A kind of policy. `P` holds the settings of one policy of this kind. */
export interface PolicyKind<P extends { readonly kind: string }> {
  readonly name: P['kind'];
  /** How it is written, with letters for its numbers: 'window:W'. */
  readonly grammar: string;
  /** What it keeps, in a few words for --help. */
  readonly help: string;
  /** Set if a model's own scorers choose what is kept. How much that is depends on the text, and has to be measured. */
  readonly learned?: true;
  /** Set if the model's scorers rank what is kept, without giving it types. */
  readonly ranks?: true;
  /** Reads a policy of this kind. Undefined if the text is not one. */
  parse(text: string): P | undefined;
  /** The inverse of parse(). */
  format(policy: P): string;
  /** Refuses invalid fields. `name` is what error messages call the policy. */
  expect(name: string, policy: P): void;
  /** What an engine must keep for a model with these W and C. */
  rule(policy: P, model: Lifetimes): Rule;
  /** The type of the token at `position`, if types are a pattern that does not depend on the text. */
  type?(policy: P, position: number): TokenType;
  /** The entries that a head holds under such a pattern once `tokens` are read, if queries see the newest `whole`. */
  entries?(policy: P, tokens: number, whole: number): number;
  /** Absent if policies of this kind are not compared with learned types at equal memory. */
  readonly matching?: Matching;
}

/** The type of the policies of a kind. */
export type PolicyOf<Kind> = Kind extends PolicyKind<infer P> ? P : never;
