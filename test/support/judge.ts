/**
 * What `natsearch verify` says about broken kernels, and the table for the pages about it.
 * @module
 */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { diagnose } from '../../src/oracle/diagnose/diagnose.ts';
import { commonWords } from '../../src/oracle/judge/common.ts';
import { type HeadBudgets, headBudgets, problemOf } from '../../src/oracle/judge/budget.ts';
import { verifyCase } from '../../src/oracle/judge/verify.ts';
import {
  type CaseReport, type ClaimedDtype, DIAGNOSES, type OracleCase, smallSuite, verdictsOf,
} from '../../src/vectors.ts';
import type { Mutant } from '../mutants/mutant.ts';

/** The verdict on one broken kernel. */
export interface Judged {
  readonly id: string;
  readonly what: string;
  readonly wanted: readonly string[];
  readonly failing: readonly CaseReport[];
  readonly cases: number;
  readonly name: string;
  readonly detail: string | undefined;
  /** What the failing cases have in common. */
  readonly common: readonly string[];
  /** How many failing cases the name explains. */
  readonly explains: number;
  readonly right: boolean;
  /** Whether most failing cases, or the summary of all, say where it fails, for a mutant that says what to say. */
  readonly located: boolean;
}

/** With NATS_MUTANTS=all, every kernel of a set is judged, and its page written with --update; else a share is. */
export const WHOLE: boolean = process.env['NATS_MUTANTS'] === 'all';

/** Every third kernel, or all. */
export function shareOf(mutants: readonly Mutant[]): readonly Mutant[] {
  return mutants.filter((_, n) => WHOLE || n % 3 === 0);
}

/** Expects a page to be what is judged here, or to have the rows of the share that is. */
export async function expectPage(name: string, text: string): Promise<void> {
  if (WHOLE) return expect(text).toMatchFileSnapshot(`../docs/${name}`);
  const rows = text.split('\n').filter((line) => /^\| .* \| \d+ \| .* \| \d+ \| /.test(line));
  expect(rows.length).toBeGreaterThan(0);
  expect(readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8').split('\n')).toEqual(expect.arrayContaining(rows));
}

/** The cases that version 2 of the suite added. */
const ADDED = /^(pair-\d+|one-sign-\w+|window-(34|70))$/;

/** The same over the 61 cases of version 1 of the suite: they suffice for two sets, and take half the time. */
export async function judgeFirst(mutants: readonly Mutant[]): Promise<Judged[]> {
  return judgeAll(mutants, (await smallSuite()).filter(({ name }) => !ADDED.test(name)));
}

/** Budgets by case, as many sets are judged. */
const known = new Map<string, readonly HeadBudgets[]>();

/** Runs each over the small suite. The verdict is the name that explains most of its failing cases. */
export async function judgeAll(mutants: readonly Mutant[], cases?: readonly OracleCase[]): Promise<Judged[]> {
  const suite = cases ?? await smallSuite();
  const budgetsOf = (each: OracleCase, dtype: ClaimedDtype): readonly HeadBudgets[] => {
    const { batch, kvHeads } = each.parameters;
    const key = `${each.name} ${dtype} ${suite.length}`;
    const made = known.get(key)
      ?? Array.from({ length: batch * kvHeads }, (_, head) => headBudgets(problemOf(each, head), dtype));
    known.set(key, made);
    return made;
  };
  return mutants.map(({ id, what, named, where, dtype, run }) => {
    const reports = suite.map((each) => {
      return verifyCase(each, run(each), { dtype, diagnose, budgets: budgetsOf(each, dtype) });
    });
    const failing = reports.filter(({ pass }) => !pass);
    const [verdict] = verdictsOf(failing);
    const wanted = typeof named === 'string' ? [named] : named;
    const name = verdict?.name ?? 'none';
    return {
      id, what, wanted, failing, name, detail: verdict?.detail, cases: suite.length, explains: verdict?.cases ?? 0,
      common: common(suite, reports),
      right: wanted.includes(name as never),
      located: where !== undefined && failing.length > 0 && says(where, suite, reports),
    };
  });
}

function common(suite: readonly OracleCase[], reports: readonly CaseReport[]): readonly string[] {
  return commonWords(reports.map((report, n) => ({ report, parameters: suite[n].parameters })));
}

/** Whether most failing cases, or the summary of all, say it. */
function says(where: RegExp, suite: readonly OracleCase[], reports: readonly CaseReport[]): boolean {
  const failing = reports.filter(({ pass }) => !pass);
  const words = ({ diagnosis }: CaseReport): string => [diagnosis!.words, ...diagnosis!.where ?? []].join('; ');
  // That an output is right everywhere is no place.
  const places = common(suite, reports).filter((line) => !line.endsWith('in every case'));
  return where.test(places.join('; ')) || failing.filter((report) => where.test(words(report))).length * 2 > failing.length;
}

/** The same with what the failing cases have in common, for mutants of which a place may be the right answer. */
export function placesOf(judged: readonly Judged[]): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const said = (name: string): string => (name in DIAGNOSES ? DIAGNOSES[name as keyof typeof DIAGNOSES] : name);
  return [
    `| mistake | cases that fail, of ${judged[0].cases} | looks like | explains | in common | right |`,
    '|---|---|---|---|---|---|',
    ...judged.map(({ what, failing, name, explains, common, right, located }) => {
      const verdict = right ? 'named' : located ? 'located' : '**no**';
      const where = common.slice(0, 2).map((line) => line.replace(/ \(.*/, '')).join('; ');
      return `| ${cell(what)} | ${failing.length} | ${cell(said(name))} | ${explains} | ${cell(where)} | ${verdict} |`;
    }), '',
  ].join('\n');
}

/** A Markdown table with a row for each. */
export function pageOf(judged: readonly Judged[]): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const said = (name: string): string => (name in DIAGNOSES ? DIAGNOSES[name as keyof typeof DIAGNOSES] : name);
  return [
    `| mistake | cases that fail, of ${judged[0].cases} | verdict: looks like | explains | right |`,
    '|---|---|---|---|---|',
    ...judged.map(({ what, failing, name, explains, right, wanted }) => {
      const verdict = right ? 'yes' : `**no**: ${wanted.map(said).join(', or ')}`;
      return `| ${cell(what)} | ${failing.length} | ${cell(said(name))} | ${explains} | ${cell(verdict)} |`;
    }), '',
  ].join('\n');
}

/** For example "5 of 5 are caught, 4 are named right". */
export function countsOf(judged: readonly Judged[]): string {
  const caught = judged.filter(({ failing }) => failing.length > 0).length;
  return `${caught} of ${judged.length} are caught, ${judged.filter(({ right }) => right).length} are named right`;
}
