/**
 * Which cache policies `eval` and `recall test` compare.
 * @module
 */
import { Option } from 'commander';
import { ValueError } from '../core/errors.ts';
import { type KeptOf, matchedPolicies } from '../evaluate/match.ts';
import { formatPolicy, type Policy } from '../model/config/config.ts';
import type { Model } from '../model/model.ts';
import { checkPolicy } from '../model/policy.ts';
import { comparedPolicies } from './open.ts';
import { UsageError } from './errors.ts';
import { policies } from './options.ts';

/** Flags of policyOptions(). */
export interface PolicyFlags {
  readonly policy?: readonly Policy[];
  readonly match: boolean;
}

/** Patterns that --match adds at most. */
const MATCHED = 4;

/** --policy and --match. */
export function policyOptions(): Option[] {
  return [
    new Option('--policy <p...>', 'nats, full, window:W, streaming:S+W (default: all, with the model\'s W; with --match, nats and full)')
      .argParser(policies),
    new Option('--match', 'then windows and streaming that keep as much as nats did: in the mean, and at the end').default(false),
  ];
}

/** @throws {UsageError} If --match has no nats among --policy to match. */
export function checkPolicyFlags({ policy, match }: PolicyFlags): void {
  if (!match || !policy || policy.some(({ kind }) => kind === 'nats')) return;
  throw new UsageError('--match compares with learned types, and nats is not among the policies: add --policy nats');
}

/**
 * The policies to begin with.
 *
 * @throws {ValueError} If the model cannot do one, or has no learned types to match.
 */
export function chosenPolicies({ policy, match }: PolicyFlags, model: Model): readonly Policy[] {
  const compared = comparedPolicies(model);
  const chosen = policy ?? (match ? compared.filter(({ kind }) => kind === 'nats' || kind === 'full') : compared);
  for (const each of chosen) checkPolicy(each, model.config, model.weights);
  if (match && !chosen.some(({ kind }) => kind === 'nats')) {
    throw new ValueError('--match compares with learned types, and the model has none: pass --adapter, or a model with types of its own');
  }
  return chosen;
}

/** How many policies withMatched() measures at most. */
export function policyCount(chosen: readonly Policy[], match: boolean): number {
  return chosen.length + (match ? MATCHED : 0);
}

/** Measures policies one after the other and, with `match`, fixed patterns that keep what learned types kept. */
export async function withMatched<Result>(
  chosen: readonly Policy[], match: boolean, measure: (policy: Policy, n: number) => Promise<Result>,
  keptOf: (result: Result) => KeptOf,
): Promise<Result[]> {
  const all = [...chosen];
  const results: Result[] = [];
  for (let n = 0; n < all.length; n++) {
    const result = await measure(all[n], n);
    results.push(result);
    if (!match || all[n].kind !== 'nats') continue;
    const known = all.map(formatPolicy);
    all.push(...matchedPolicies(keptOf(result)).filter((one) => !known.includes(formatPolicy(one))));
  }
  return results;
}
