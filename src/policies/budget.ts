/**
 * What policies with a budget of entries share: how the budget is written, read and checked.
 * @module
 */
import { finite, record, wholeFrom } from '../core/arguments.ts';
import { fail } from '../core/described.ts';
import type { Budget } from '../core/mass.ts';

/** The entries that a KV head holds: K, or A + B n, rounded, once n tokens have been read. */
export type Entries = number | Budget;

/** A policy that consists only of its budget. */
export interface Budgeted<Kind extends string> {
  readonly kind: Kind;
  readonly budget: Entries;
}

/** What --help says about budgets. */
export const BUDGET_HELP = 'K may grow with the n tokens read so far: A+Bn, as in tova:20+0.1n';

const NUMBER = '-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?';

/** Reads '64' or '20+0.1n'. Undefined if the text is neither. */
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

/** Refuses an invalid budget. */
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

/** How a policy that consists only of its budget is compared at equal memory. */
export const matchingBudgeted = (kind: string): { write(budget: Entries): string } =>
  ({ write: (budget) => formatBudgeted({ kind, budget }) });

/** Refuses invalid fields. */
export const expectBudgeted = (name: string, { budget }: Budgeted<string>): void => expectEntries(`${name}.budget`, budget);

/** The budget in the form that a rule has. */
export const ruleBudget = (entries: Entries): Budget => (typeof entries === 'number' ? { base: entries, perToken: 0 } : entries);
