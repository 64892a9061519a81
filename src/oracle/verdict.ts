/**
 * What many cases say together.
 * @module
 */
import type { CaseReport } from './types.ts';

/** A name, and how much speaks for it. */
export interface Verdict {
  readonly name: string;
  /** Failing cases that it explains. */
  readonly cases: number;
  /** Failing cases of which it is the first name. */
  readonly first: number;
}

/** Names by the number of failing cases that each explains, the best first. One case alone often has several. */
export function verdictsOf(reports: readonly CaseReport[]): readonly Verdict[] {
  const counts = new Map<string, { cases: number; first: number }>();
  for (const { diagnosis } of reports) {
    for (const name of diagnosis?.candidates ?? []) {
      const { cases, first } = counts.get(name) ?? { cases: 0, first: 0 };
      counts.set(name, { cases: cases + 1, first: first + (diagnosis!.name === name ? 1 : 0) });
    }
  }
  return [...counts].map(([name, count]) => ({ name, ...count }))
    .sort((a, b) => b.cases - a.cases || b.first - a.first);
}
