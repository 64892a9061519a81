/**
 * Broken implementations: every one must be caught, and nine of ten named. docs/mutants.md is what this test prints;
 * `npx vitest run test/mutants.test.ts --update` writes it again.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { type HeadBudgets, headBudgets, problemOf } from '../src/oracle/budget.ts';
import {
  type CaseReport, type ClaimedDtype, DIAGNOSES, type OracleCase, smallSuite, verdictsOf, verifyCase,
} from '../src/vectors.ts';
import { MUTANTS } from './mutants/index.ts';

interface Judged {
  readonly id: string;
  readonly what: string;
  readonly wanted: readonly string[];
  readonly failing: readonly CaseReport[];
  readonly name: string;
  /** Failing cases that the name explains. */
  readonly explains: number;
}

const judged: Judged[] = [];
let suite: OracleCase[] = [];

beforeAll(async () => {
  suite = await smallSuite();
  const known = new Map<string, readonly HeadBudgets[]>();
  const budgetsOf = (each: OracleCase, dtype: ClaimedDtype): readonly HeadBudgets[] => {
    const { batch, kvHeads } = each.parameters;
    const key = `${each.name} ${dtype}`;
    const made = known.get(key)
      ?? Array.from({ length: batch * kvHeads }, (_, head) => headBudgets(problemOf(each, head), dtype));
    known.set(key, made);
    return made;
  };
  for (const { id, what, named, dtype, run } of MUTANTS) {
    const reports = suite.map((each) => verifyCase(each, run(each), { dtype, budgets: budgetsOf(each, dtype) }));
    const failing = reports.filter(({ pass }) => !pass);
    const [verdict] = verdictsOf(failing);
    const wanted = typeof named === 'string' ? [named] : named;
    judged.push({ id, what, wanted, failing, name: verdict?.name ?? 'none', explains: verdict?.cases ?? 0 });
  }
}, 300_000);

const right = ({ name, wanted }: Judged): boolean => wanted.includes(name);

function page(): string {
  const rows = judged.map((each) => {
    const { what, failing, name, explains } = each;
    const said = (name in DIAGNOSES ? DIAGNOSES[name as keyof typeof DIAGNOSES] : name).replaceAll('|', '\\|');
    return `| ${what.replaceAll('|', '\\|')} | ${failing.length} | ${said} | ${explains} | ${right(each) ? 'yes' : '**no**'} |`;
  });
  const named = judged.filter(right).length;
  return [
    '# Broken on purpose', '',
    '`natsearch verify` is only worth its word if it catches what is wrong. Each row is an implementation in float32',
    'with one mistake in it (`test/mutants`), run over the small suite of `natsearch vectors`.', '',
    `**${judged.filter(({ failing }) => failing.length > 0).length} of ${judged.length} are caught, ${named} are named right.**`, '',
    'Named right means: the first line under `Likeliest`, the name that explains most of the failing cases, is that of the',
    'mistake. The diagnosis of each single case sees only that case\'s outputs, and often several names explain them equally',
    'well; together the cases decide. Some mistakes have no name: the right verdict on them is that it is none of the known.', '',
    'When the diagnosis first met these implementations, 110 were caught and 106 named. What was missed led to the case',
    '`forgets`, and to more ways of making three of the mistakes: so the second number says how well the mistakes are told',
    'apart, not how many of the mistakes of tomorrow have a name.',
    '',
    `| mistake | cases that fail, of ${suite.length} | verdict: looks like | explains | right |`,
    '|---|---|---|---|---|', ...rows, '',
    'Written by `npx vitest run test/mutants.test.ts --update`; the test fails when this page is out of date.', '',
  ].join('\n');
}

describe('the mutants', () => {
  it('are at least forty', () => {
    expect(MUTANTS.length).toBeGreaterThanOrEqual(40);
    expect(new Set(MUTANTS.map(({ id }) => id)).size).toBe(MUTANTS.length);
  });

  it('are caught, every one', () => {
    expect(judged.filter(({ failing }) => failing.length === 0).map(({ id }) => id)).toEqual([]);
  });

  it('are named rightly, nine of ten', () => {
    const wrong = judged.filter((each) => !right(each)).map(({ id, name, wanted }) => `${id}: ${name}, not ${wanted.join(' or ')}`);
    expect(wrong.length / judged.length, wrong.join('\n')).toBeLessThanOrEqual(0.1);
  });

  it('stand in docs/mutants.md as they are judged here', async () => {
    await expect(page()).toMatchFileSnapshot('../docs/mutants.md');
  });
});
