/**
 * Chooses the cache policies that `eval` and `recall test` compare.
 * @module
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CacheDtype } from '../core/cache.ts';
import { UnsupportedError, ValueError } from '../core/errors.ts';
import { type KeptOf, type MatchedBy, matchedPolicies, matchingKinds } from '../evaluate/match.ts';
import { formatPolicy, kindOf, type Policy } from '../policies/index.ts';
import type { Model } from '../model/model.ts';
import { checkPolicy } from '../model/policy.ts';
import { comparedPolicies } from './open.ts';
import { oneLine, UsageError } from './errors.ts';
import { cacheOption, policies, policyHelp } from './options.ts';

/** Flags of addPolicyOptions(). */
export interface PolicyFlags {
  readonly cache?: CacheDtype;
  readonly policy?: readonly Policy[];
  /** The kinds to match, or true for all of them. */
  readonly match: boolean | readonly string[];
}

const isLearned = (policy: Policy): boolean => kindOf(policy).learned === true;

/** In how many ways each kind is matched. */
const WAYS = 3;

/** Adds --policy, --match and --cache. */
export function addPolicyOptions(command: Command): void {
  command
    .option('--policy <p...>', 'what the cache keeps, of those below (default: nats and full, and a window and streaming ' +
      'with the model\'s W; with --match, nats and full)', policies)
    .addOption(new Option('--match [kind...]', 'also compare policies that keep as much as nats, in the mean, at the ' +
      `end, and both; of these kinds, or of all: ${matchingKinds().join(', ')}`).argParser(matchedKind).default(false, 'none'))
    .addOption(cacheOption())
    .addHelpText('after', policyHelp());
}

/** Adds one kind to those that commander has parsed before. */
function matchedKind(text: string, previous: boolean | readonly string[]): readonly string[] {
  const all: readonly string[] = matchingKinds();
  if (!all.includes(text)) throw new InvalidArgumentError(`It must be ${all.slice(0, -1).join(', ')} or ${all[all.length - 1]}.`);
  return [...(typeof previous === 'boolean' ? [] : previous.filter((kind) => kind !== text)), text];
}

const kindsOf = (match: boolean | readonly string[]): readonly string[] =>
  (match === true ? matchingKinds() : match === false ? [] : match);

/** @throws {UsageError} If there is --match, but no nats among --policy. */
export function checkPolicyFlags({ policy, match }: PolicyFlags): void {
  if (match === false || !policy || policy.some(isLearned)) return;
  throw new UsageError('--match compares with learned types, and nats is not among the policies: add --policy nats');
}

/**
 * The policies to compare, before --match adds others.
 *
 * @throws {ValueError} If the model does not support one of them, or has no learned types to match.
 */
export function chosenPolicies({ policy, match }: PolicyFlags, model: Model): readonly Policy[] {
  const compared = comparedPolicies(model);
  const matches = match !== false;
  const chosen = policy ?? (matches ? compared.filter((each) => isLearned(each) || each.kind === 'full') : compared);
  for (const each of chosen) checkPolicy(each, model.config, model.weights);
  if (matches && !chosen.some(isLearned)) {
    throw new ValueError('--match compares with learned types, and the model has none: pass --adapter, or a model with types of its own');
  }
  return chosen;
}

/** The largest number of policies that withMatched() measures. */
export function policyCount(chosen: readonly Policy[], match: PolicyFlags['match']): number {
  return chosen.length + WAYS * kindsOf(match).length;
}

/** What --match compares learned types with. */
export interface Matched<Result> {
  readonly kind: string;
  readonly by: MatchedBy;
  readonly policy?: string;
  readonly result?: Result;
  /** Why it was not measured. */
  readonly absent?: string;
}

/**
 * Measures policies one after another and, with `match`, those that keep as much as learned types.
 *
 * @returns The results in the order of measuring, each policy once, and what was matched.
 */
export async function withMatched<Result>(
  chosen: readonly Policy[], match: PolicyFlags['match'], measure: (policy: Policy, n: number) => Promise<Result>,
  keptOf: (result: Result) => KeptOf,
): Promise<{ results: Result[]; matched: Matched<Result>[] }> {
  const measured = new Map<string, Result>();
  const once = async (policy: Policy): Promise<Result> => {
    const name = formatPolicy(policy);
    if (!measured.has(name)) measured.set(name, await measure(policy, measured.size));
    return measured.get(name)!;
  };
  for (const policy of chosen) await once(policy);
  const matched: Matched<Result>[] = [];
  const learned = chosen.find(isLearned);
  const found = match === false || !learned ? [] : matchedPolicies(keptOf(await once(learned)), kindsOf(match));
  for (const { kind, by, policy, misfit } of found) {
    if (!policy) {
      matched.push({ kind, by, absent: misfit! });
      continue;
    }
    try {
      matched.push({ kind, by, policy: formatPolicy(policy), result: await once(policy) });
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
      matched.push({ kind, by, policy: formatPolicy(policy), absent: oneLine(error.message) });
    }
  }
  return { results: [...measured.values()], matched };
}

/** How tables say what is the same as for learned types. */
export const SAME: Readonly<Record<MatchedBy, string>> = { mean: 'mean', end: 'end', both: 'mean, end' };

/** A line for each matched policy that was not measured. */
export function absentText(matched: readonly Matched<unknown>[]): string {
  const lines = matched.filter(({ absent }) => absent !== undefined)
    .map(({ kind, by, policy = kind, absent }) => `not compared: ${policy}, same ${SAME[by].replace(',', ' and')}: ${absent}\n`);
  return lines.length === 0 ? '' : `\n${lines.join('')}`;
}
