/**
 * Finds budgets that keep as much as was measured of another policy, by counting what a budget keeps of any text.
 * @module
 */
import { type Budget, budgetAfter } from '../core/mass.ts';
import type { Entries } from '../policies/budget.ts';

/** How many sequences there are of each length, in tokens. */
export type Lengths = ReadonlyMap<number, number>;

/** What one KV head keeps, summed over sequences. */
export interface Kept {
  /** Visible pairs: query i sees the entries held after step i - 1, and its own. */
  readonly pairs: number;
  /** Entries held after the last token. */
  readonly end: number;
}

const ruleOf = (entries: Entries): { budget: Budget } =>
  ({ budget: typeof entries === 'number' ? { base: entries, perToken: 0 } : entries });

/** What a head keeps that holds k(i) entries after step i, but no fewer than `least` if there are so many. */
export function keptUnder(entries: Entries, lengths: Lengths, least = 0): Kept {
  const rule = ruleOf(entries);
  const longest = Math.max(...lengths.keys());
  let [pairs, end, seen, held] = [0, 0, 0, 0];
  for (let i = 0; i < longest; i++) {
    seen += held + 1;
    held = Math.min(i + 1, Math.max(least, budgetAfter(rule, i)));
    const count = lengths.get(i + 1) ?? 0;
    pairs += count * seen;
    end += count * held;
  }
  return { pairs, end };
}

/** The fixed budget that is nearest in `what`, the smaller one of two. */
export function fixedBudget(what: keyof Kept, wanted: Kept, lengths: Lengths): number {
  const off = (k: number): number => keptUnder(k, lengths)[what] - wanted[what];
  let [low, high] = [0, Math.max(...lengths.keys())];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (off(middle) < 0) low = middle + 1;
    else high = middle;
  }
  return low > 0 && -off(low - 1) <= Math.abs(off(low)) ? low - 1 : low;
}

/** More bisections than a number has bits. */
const BISECTIONS = 60;
/** The most decimals of a base. */
const DECIMALS = 6;

/**
 * The budget A + B n that holds `wanted.end` entries at the end and whose pairs are nearest, with as few decimals as do
 * as well, to a 20th of an entry per query. B lies in 0..1, so the pairs may be far off.
 */
export function growingBudget(wanted: Kept, lengths: Lengths, least = 0): Entries {
  const off = (entries: Entries): number => keptUnder(entries, lengths, least).pairs - wanted.pairs;
  const at = (perToken: number): Budget => ({ base: baseFor(perToken, wanted.end, lengths, least), perToken });
  // With the same end, a budget that grows faster held less before.
  let [low, high] = [0, 1];
  let best = at(0);
  const consider = (budget: Budget): number => {
    const much = off(budget);
    if (Math.abs(much) < Math.abs(off(best))) best = budget;
    return much;
  };
  consider(at(1));
  for (let n = 0; n < BISECTIONS; n++) {
    const middle = (low + high) / 2;
    if (consider(at(middle)) > 0) low = middle;
    else high = middle;
  }
  const { end } = keptUnder(best, lengths, least);
  const slack = Math.abs(off(best)) + tokensOf(lengths) / 20;
  const more = Math.ceil(Math.log10(Math.max(...lengths.keys()))); // B is multiplied by n
  for (let decimals = 0; decimals < DECIMALS; decimals++) {
    const { base, perToken } = at(Number(best.perToken.toFixed(decimals + more)));
    const short = { base: Number(base.toFixed(decimals)), perToken };
    if (keptUnder(short, lengths, least).end === end && Math.abs(off(short)) <= slack) return constantOr(short);
  }
  return constantOr({ ...best, base: Number(best.base.toFixed(DECIMALS)) });
}

/** A budget that does not grow, as a number. */
const constantOr = (budget: Budget): Entries => (budget.perToken === 0 ? Math.max(0, Math.round(budget.base)) : budget);

/** The A for which A + B n is `end`, summed over the ends of the sequences. */
function baseFor(perToken: number, end: number, lengths: Lengths, least: number): number {
  const held = (base: number): number => {
    let sum = 0;
    for (const [n, count] of lengths) sum += count * Math.min(n, Math.max(least, base + perToken * n));
    return sum;
  };
  const longest = Math.max(...lengths.keys());
  let [low, high] = [-longest, longest];
  for (let n = 0; n < BISECTIONS; n++) {
    const middle = (low + high) / 2;
    if (held(middle) < end) low = middle;
    else high = middle;
  }
  return high;
}

/** The tokens of all sequences. */
export function tokensOf(lengths: Lengths): number {
  let sum = 0;
  for (const [n, count] of lengths) sum += n * count;
  return sum;
}
