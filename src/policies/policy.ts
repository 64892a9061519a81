/**
 * What a policy is made of: one file beside this per policy, and one line in list.ts.
 * @module
 */
import type { LifetimeOptions, TokenType } from '../core/lifetime.ts';
import type { MassOptions } from '../core/mass.ts';

/** W and C of token types. */
export type Lifetimes = Pick<LifetimeOptions, 'window' | 'chunk'>;
/** What an engine must keep, but for the bound of a model that has a window of its own: by types, or by a budget. */
export type Rule = Lifetimes | Pick<MassOptions, 'mass'>;

/** What is said once about a policy; `P` is what one of its kind is told by. */
export interface PolicyKind<P extends { readonly kind: string }> {
  readonly name: P['kind'];
  /** How it is written, with letters for its numbers: 'window:W'. */
  readonly grammar: string;
  /** What it keeps, in a few words for --help. */
  readonly help: string;
  /** Whether a model's own scorers choose what is kept. It then depends on the text, and is measured. */
  readonly learned?: true;
  /** Reads a policy of this kind; undefined where the text is none. */
  parse(text: string): P | undefined;
  /** The inverse of parse(). */
  format(policy: P): string;
  /** Refuses fields that are none; `name` is what messages call the policy. */
  expect(name: string, policy: P): void;
  /** What an engine must keep for a model with these W and C. */
  rule(policy: P, model: Lifetimes): Rule;
  /** The type of the token at `position`, where types are a pattern that does not depend on the text. */
  type?(policy: P, position: number): TokenType;
  /** Entries that such a pattern leaves a head with once `tokens` are read, of which queries see the newest `whole`. */
  entries?(policy: P, tokens: number, whole: number): number;
}

/** The policies of a kind. */
export type PolicyOf<Kind> = Kind extends PolicyKind<infer P> ? P : never;
