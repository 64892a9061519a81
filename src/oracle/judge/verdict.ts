/**
 * What the reports on many cases say together.
 * @module
 */
import { expectReports } from '../cases/expected.ts';
import { causeOf, type DiagnosisName } from '../diagnose/diagnoses.ts';
import type { CaseReport } from '../types.ts';
import { FACTS } from './facts.ts';

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
/** Names of mistakes that have one detail in every case: another window elsewhere is another mistake. */
const ONE_DETAIL = [
  'window-other', 'local-other', 'lifetimes-other', 'rows-carried', 'ends-by-tile', 'types-moved', 'local-by-neighbour', 'integer-wraps', 'tile-skipped', 'key-lost',
  'offset', 'input-misread', 'intermediate-misread', 'local-in-block', 'terms-weighed', 'pairs-hidden', 'pairs-seen',
  'evicts-some', 'evicted-by-count', 'global-missed', 'closes-some', 'step-mask', 'slots-mixed',
  'dm-rows-other', 'dscores-other', 'dm-other', 'other-tensor',
];
/** The share of the cases with a detail that must have the same one. */
const AGREED = 0.7;
/** Names that say which heads are read or summed, which any case with several heads can refute. */
const EXACT = ['group-first', 'group-last', 'group-mean', 'group-modulo', 'gqa-modulo', 'kv-reversed', 'kv-first'];
/** The share of the failing cases that a headline must explain: of a mistake, and of a rounding, which many hide. */
const [MOST, HALF] = [0.75, 0.5];

/**
 * The diagnoses, those that explain the most failing cases first. One case alone often allows several. A name is no
 * headline if it explains less than three quarters of the failing cases (a rounding: half; which heads are read or
 * summed: all), or has other details in other cases: `unknown` stands first then, and the places that all have in
 * common say more. Failing cases do not count against a name if only NaN is found, or if fewer than 8 numbers are wrong
 * and none of them contradicts it, which is known of reports that verifyCase() of the same program made.
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
  const failing = reports.flatMap(({ diagnosis }) => (diagnosis ? [diagnosis] : []));
  /** The detail that most cases with one say, and how many cases have one. */
  const agreed = (name: string): { detail?: string; cases: number; of: number } => {
    const [most] = [...details.get(name) ?? []].sort(([, a], [, b]) => b - a);
    const of = failing.filter(({ candidates, details: own }) =>
      candidates.includes(name) && (own?.[name]?.length ?? 0) > 0).length;
    return most ? { detail: most[0], cases: most[1], of } : { cases: 0, of };
  };
  const detailOf = (name: string): { detail?: string } => {
    const { detail, cases } = agreed(name);
    return detail !== undefined && 2 * cases > counts.get(name)!.cases ? { detail } : {};
  };
  const sorted: Verdict[] = [...counts].map(([name, count]) => ({ name, ...count, ...detailOf(name) }))
    .sort((a, b) => b.cases - a.cases || b.first - a.first);
  /** Whether a name explains enough to be the headline: see verdictsOf(). */
  const leads = ({ name, cases }: Verdict): boolean => {
    if (VAGUE.includes(name)) return cases >= HALF * failing.length;
    const silent = failing.filter((each) => {
      const { few, refuted } = FACTS.get(each) ?? {};
      const tells = few ? refuted?.has(name as DiagnosisName) : each.name !== 'nan';
      return !tells && !each.candidates.includes(name);
    }).length;
    const detail = agreed(name);
    if (ONE_DETAIL.includes(name) && 2 * detail.of > cases && detail.cases < AGREED * detail.of) return false;
    const most = EXACT.includes(name) ? 1 : causeOf(name as DiagnosisName) === 'rounding' ? HALF : MOST;
    return cases >= most * (failing.length - silent);
  };
  // That errors are those of some rounding says less than which one, where that explains half of the cases, too.
  const named = sorted.findIndex((each) => !VAGUE.includes(each.name) && leads(each));
  if (sorted[0]?.name === 'imprecise' && named > 0) sorted.unshift(...sorted.splice(named, 1));
  // Of which heads count, another name may be true of all cases.
  if (EXACT.includes(sorted[0]?.name) && named > 0 && !leads(sorted[0])) sorted.unshift(...sorted.splice(named, 1));
  const [best] = sorted;
  if (!best || best.name === 'unknown' || leads(best)) return sorted;
  const first = counts.get('unknown')?.first ?? 0;
  return [{ name: 'unknown', cases: failing.length - best.cases, first }, ...sorted.filter(({ name }) => name !== 'unknown')];
}
