/**
 * What a policy is made of: one file beside this per policy, and one line in list.ts.
 * @module
 */
import type { LifetimeOptions } from '../core/engine.ts';
import type { TokenType } from '../core/lifetime.ts';

/** What an engine must keep, but for the bound of a model that has a window of its own. */
export type Rule = Pick<LifetimeOptions, 'window' | 'chunk'>;

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
  rule(policy: P, model: Rule): Rule;
  /** The type of the token at `position`, where the policy is a pattern that does not depend on the text. */
  type?(policy: P, position: number): TokenType;
  /**
   * Entries that a head holds once `tokens` are read, where a query sees `whole` tokens before it at most. Not
   * asked of what is learned.
   */
  entries(policy: P, tokens: number, whole: number): number;
}

/** The policies of a kind. */
export type PolicyOf<Kind> = Kind extends PolicyKind<infer P> ? P : never;
