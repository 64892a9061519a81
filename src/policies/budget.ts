/**
 * What policies with a budget of entries share: how the budget is written, and what it comes to.
 * @module
 */
import { finite, record, wholeFrom } from '../core/arguments.ts';
import { fail } from '../core/described.ts';
import type { Budget } from '../core/mass.ts';

/** Entries that a KV head holds: K, or A + B n once n tokens are read, rounded. */
export type Entries = number | Budget;

/** A policy that is told by its budget alone. */
export interface Budgeted<Kind extends string> {
  readonly kind: Kind;
  readonly budget: Entries;
}

/** What help says of budgets. */
export const BUDGET_HELP = 'K entries may grow with the n tokens that were read: A+Bn, as in tova:20+0.1n';

const NUMBER = '-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?';

/** Reads '64' or '20+0.1n'; undefined where the text is neither. */
export function parseEntries(text: string): Entries | undefined {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  const grows = new RegExp(`^(${NUMBER})\\+(${NUMBER})n$`).exec(text);
  if (!grows) return undefined;
  const budget = { base: Number(grows[1]), perToken: Number(grows[2]) };
  return Number.isFinite(budget.base) && budget.perToken >= 0 && budget.perToken <= 1 ? budget : undefined;
}

/** The inverse of parseEntries(). */
export function formatEntries(entries: Entries): string {
  return typeof entries === 'number' ? String(entries) : `${entries.base}+${entries.perToken}n`;
}

/** Refuses what is no budget. */
export function expectEntries(name: string, entries: Entries): void {
  if (typeof entries !== 'object') return wholeFrom(0, 999_999_999)(name, entries);
  record({ base: finite })(name, entries);
  const { perToken } = entries;
  if (!(perToken >= 0 && perToken <= 1)) fail(`${name}.perToken`, perToken, 'a number from 0 to 1');
}

/** Reads 'kind:K'. */
export function parseBudgeted<Kind extends string>(kind: Kind, text: string): Budgeted<Kind> | undefined {
  const budget = text.startsWith(`${kind}:`) ? parseEntries(text.slice(kind.length + 1)) : undefined;
  return budget === undefined ? undefined : { kind, budget };
}

/** The inverse of parseBudgeted(). */
export const formatBudgeted = ({ kind, budget }: Budgeted<string>): string => `${kind}:${formatEntries(budget)}`;

/** Refuses fields that are none. */
export const expectBudgeted = (name: string, { budget }: Budgeted<string>): void => expectEntries(`${name}.budget`, budget);

/** As a rule has it. */
export const ruleBudget = (entries: Entries): Budget => (typeof entries === 'number' ? { base: entries, perToken: 0 } : entries);
