/**
 * Chooses the cache policies that `eval` and `recall test` compare.
 * @module
 */
import type { Command } from 'commander';
import { ValueError } from '../core/errors.ts';
import { type KeptOf, matchedPolicies } from '../evaluate/match.ts';
import { formatPolicy, kindOf, type Policy } from '../policies/index.ts';
import type { Model } from '../model/model.ts';
import { checkPolicy } from '../model/policy.ts';
import { comparedPolicies } from './open.ts';
import { UsageError } from './errors.ts';
import { policies, policyHelp } from './options.ts';

/** Flags of policyOptions(). */
export interface PolicyFlags {
  readonly policy?: readonly Policy[];
  readonly match: boolean;
}

const isLearned = (policy: Policy): boolean => kindOf(policy).learned === true;

/** The largest number of patterns that --match adds. */
const MATCHED = 4;

/** Adds --policy and --match. */
export function addPolicyOptions(command: Command): void {
  command
    .option('--policy <p...>', 'what the cache keeps, of those below (default: nats and full, and a window and streaming ' +
      'with the model\'s W; with --match, nats and full)', policies)
    .option('--match', 'also compare windows and streaming that keep as much as nats, in the mean and at the end', false)
    .addHelpText('after', policyHelp());
}

/** @throws {UsageError} If there is --match, but no nats among --policy. */
export function checkPolicyFlags({ policy, match }: PolicyFlags): void {
  if (!match || !policy || policy.some(isLearned)) return;
  throw new UsageError('--match compares with learned types, and nats is not among the policies: add --policy nats');
}

/**
 * The policies to compare, before --match adds others.
 *
 * @throws {ValueError} If the model does not support one of them, or has no learned types to match.
 */
export function chosenPolicies({ policy, match }: PolicyFlags, model: Model): readonly Policy[] {
  const compared = comparedPolicies(model);
  const chosen = policy ?? (match ? compared.filter((each) => isLearned(each) || each.kind === 'full') : compared);
  for (const each of chosen) checkPolicy(each, model.config, model.weights);
  if (match && !chosen.some(isLearned)) {
    throw new ValueError('--match compares with learned types, and the model has none: pass --adapter, or a model with types of its own');
  }
  return chosen;
}

/** The largest number of policies that withMatched() measures. */
export function policyCount(chosen: readonly Policy[], match: boolean): number {
  return chosen.length + (match ? MATCHED : 0);
}

/** Measures policies one after another and, with `match`, fixed patterns that keep as much as learned types. */
export async function withMatched<Result>(
  chosen: readonly Policy[], match: boolean, measure: (policy: Policy, n: number) => Promise<Result>,
  keptOf: (result: Result) => KeptOf,
): Promise<Result[]> {
  const all = [...chosen];
  const results: Result[] = [];
  for (let n = 0; n < all.length; n++) {
    const result = await measure(all[n], n);
    results.push(result);
    if (!match || !isLearned(all[n])) continue;
    const known = all.map(formatPolicy);
    all.push(...matchedPolicies(keptOf(result)).filter((one) => !known.includes(formatPolicy(one))));
  }
  return results;
}
