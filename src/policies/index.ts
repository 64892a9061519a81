/**
 * Policies for what a cache keeps: reading and writing them by name, and looking up their kinds in the list.
 * @module
 */
import { type Expected, oneOf, of, record } from '../core/arguments.ts';
import { ValueError } from '../core/errors.ts';
import { budgetAfter } from '../core/mass.ts';
import * as list from './list.ts';
import type { PolicyKind, PolicyOf } from './policy.ts';

/**
 * What a cache keeps: what learned types say, a pattern (§8), or a budget filled by scores (§11). parsePolicy() reads
 * one from text.
 */
export type Policy = PolicyOf<(typeof list)[keyof typeof list]>;

let kinds: readonly PolicyKind<Policy>[] | undefined;

/** All kinds, in the order of their names. Every decoded token asks, so they are read from the module once. */
export function policyKinds(): readonly PolicyKind<Policy>[] {
  return kinds ??= Object.values(list) as readonly PolicyKind<Policy>[];
}

/** The kind of a policy, from the list. */
export function kindOf({ kind }: Pick<Policy, 'kind'>): PolicyKind<Policy> {
  return policyKinds().find(({ name }) => name === kind)!;
}

/** Whether policies of this kind give every token a type, so that models can be trained with them. */
export function givesTypes(kind: PolicyKind<Policy>): boolean {
  return kind.learned === true || kind.type !== undefined;
}

/**
 * The entries that a head holds once `tokens` have been read, if a query sees at most `whole` tokens before it. This is
 * exact for a pattern of types, and an upper bound for a budget or learned types.
 */
export function entriesUnder(policy: Policy, tokens: number, whole: number): number {
  const kind = kindOf(policy);
  const most = Math.min(tokens, whole);
  if (kind.entries) return kind.entries(policy, tokens, whole);
  const rule = kind.rule(policy, { window: 0, chunk: 1 });
  return 'mass' in rule ? Math.min(most, Math.max(budgetAfter(rule.mass, tokens - 1), rule.mass.first ?? 0)) : most;
}

/** How the kinds that pass are written, such as 'full, window:W or streaming:S+W'. */
export function grammars(pass: (kind: PolicyKind<Policy>) => boolean = () => true): string {
  const all = policyKinds().filter(pass).map(({ grammar }) => grammar);
  return all.length < 2 ? all.join() : `${all.slice(0, -1).join(', ')} or ${all[all.length - 1]}`;
}

/**
 * Reads 'nats', 'full', 'window:W', 'streaming:S+W', 'h2o:H+R', 'tova:K' or any other policy of the list.
 *
 * @throws {ValueError} If the text is not a policy.
 * @example
 * ```ts
 * import { parsePolicy } from 'neural-attention-search';
 * console.log(parsePolicy('streaming:4+32')); // {"kind":"streaming","sink":4,"window":32}
 * ```
 */
export function parsePolicy(text: string): Policy {
  of('string')('the policy', text);
  for (const kind of policyKinds()) {
    const found = kind.parse(text);
    if (found) return found;
  }
  const given = JSON.stringify(text.slice(0, 100)).slice(1, -1);
  const meant = policyKinds().find(({ name }) => name === text.split(':')[0]);
  if (meant) throw new ValueError(`the policy '${given}' cannot be read: it is written ${meant.grammar}, with numbers for the letters`);
  throw new ValueError(`the policy '${given}' is not known: use ${grammars()}, with numbers for the letters`);
}

/** Refuses anything but a policy. */
export const expectPolicy: Expected = (name, policy) => {
  record({ kind: oneOf(...policyKinds().map((kind) => kind.name)) })(name, policy);
  kindOf(policy as Policy).expect(name, policy as Policy);
};

/**
 * The inverse of parsePolicy.
 *
 * @example
 * ```ts
 * import { formatPolicy } from 'neural-attention-search';
 * console.log(formatPolicy({ kind: 'window', window: 64 })); // window:64
 * ```
 */
export function formatPolicy(policy: Policy): string {
  expectPolicy('the policy', policy);
  return kindOf(policy).format(policy);
}
