/**
 * What the reports on many cases say together.
 * @module
 */
import { expectReports } from '../cases/expected.ts';
import type { CaseReport } from '../types.ts';

/** A diagnosis, and the evidence for it. */
export interface Verdict {
  readonly name: string;
  /** How many failing cases it explains. */
  readonly cases: number;
  /** How many failing cases name it first. */
  readonly first: number;
}

/**
 * The diagnoses, those that explain the most failing cases first. One case alone often allows several.
 *
 * @param reports What verifyCase returned; reports that pass are ignored.
 * @example
 * ```ts
 * import { caseOf, makeCase, SUITES, verdictsOf, verifyCase } from 'neural-attention-search/vectors';
 * const reports = [];
 * for (const recipe of SUITES.small.slice(0, 5)) {
 *   const each = await makeCase(recipe);
 *   const parameters = { ...each.parameters, window: each.parameters.window + 1 }; // a kernel with a longer window
 *   const { expected } = await caseOf({ ...each, parameters });
 *   reports.push(verifyCase(each, expected, { tensors: ['forward'] }));
 * }
 * console.log(verdictsOf(reports)[0]!.name); // window-long
 * ```
 */
export function verdictsOf(reports: readonly CaseReport[]): readonly Verdict[] {
  expectReports('reports', reports);
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
