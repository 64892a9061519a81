/**
 * What the reports on many cases say together.
 * @module
 */
import { expectReports } from '../cases/expected.ts';
import type { CaseReport } from '../types.ts';

/** A diagnosis, and the evidence for it. */
export interface Verdict {
  readonly name: string;
  /** What most of them say beside it: which input, which terms, which factor. */
  readonly detail?: string;
  /** How many failing cases it explains; of a first `unknown`, how many the best of the names leaves unexplained. */
  readonly cases: number;
  /** How many failing cases name it first. */
  readonly first: number;
}

/** Names that say no mistake. */
const VAGUE = ['unknown', 'nan', 'imprecise', 'keys-by-row', 'one-key'];

/**
 * The diagnoses, those that explain the most failing cases first. One case alone often allows several. A name that
 * explains less than half of the failing cases is no headline: `unknown` stands first then, and the places that all
 * have in common say more.
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
  const details = new Map<string, Map<string, number>>();
  for (const { diagnosis } of reports) {
    for (const name of diagnosis?.candidates ?? []) {
      const { cases, first } = counts.get(name) ?? { cases: 0, first: 0 };
      counts.set(name, { cases: cases + 1, first: first + (diagnosis!.name === name ? 1 : 0) });
      const own = details.get(name) ?? new Map<string, number>();
      for (const detail of new Set(diagnosis!.details?.[name])) own.set(detail, (own.get(detail) ?? 0) + 1);
      details.set(name, own);
    }
  }
  const detailOf = (name: string): { detail?: string } => {
    const [most] = [...details.get(name) ?? []].sort(([, a], [, b]) => b - a);
    return most && 2 * most[1] > counts.get(name)!.cases ? { detail: most[0] } : {};
  };
  const sorted: Verdict[] = [...counts].map(([name, count]) => ({ name, ...count, ...detailOf(name) }))
    .sort((a, b) => b.cases - a.cases || b.first - a.first);
  const failing = reports.filter(({ diagnosis }) => diagnosis).length;
  // That errors are those of some rounding says less than which one, where that explains half of the cases, too.
  const named = sorted.findIndex(({ name, cases }) => !VAGUE.includes(name) && 2 * cases >= failing);
  if (sorted[0]?.name === 'imprecise' && named > 0) sorted.unshift(...sorted.splice(named, 1));
  const [best] = sorted;
  if (!best || best.name === 'unknown' || 2 * best.cases >= failing) return sorted;
  const first = counts.get('unknown')?.first ?? 0;
  return [{ name: 'unknown', cases: failing - best.cases, first }, ...sorted.filter(({ name }) => name !== 'unknown')];
}
