/** The kernel that the mutants break is right when nothing is broken; all of the held-out mistakes are caught. */
import { beforeAll, expect, it } from 'vitest';
import { type HeadBudgets, headBudgets, problemOf } from '../src/oracle/judge/budget.ts';
import { verifyCase as judge } from '../src/oracle/judge/verify.ts';
import { type ClaimedDtype, DIAGNOSES, type OracleCase, smallSuite, type Tensors, verifyCase } from '../src/vectors.ts';
import { HELD_OUT } from './mutants/held-out/index.ts';
import { narrow } from './mutants/held-out/parts.ts';
import { MUTANTS } from './mutants/index.ts';
import { run } from './mutants/kernel.ts';
import { cases } from './support/thorough.ts';

let suite: OracleCase[] = [];
const known = new Map<string, readonly HeadBudgets[]>();

function passes(each: OracleCase, outputs: Tensors, dtype: ClaimedDtype): boolean {
  const { batch, kvHeads } = each.parameters;
  const key = `${each.name} ${dtype}`;
  const budgets = known.get(key)
    ?? Array.from({ length: batch * kvHeads }, (_, head) => headBudgets(problemOf(each, head), dtype));
  known.set(key, budgets);
  return judge(each, outputs, { dtype, budgets }).pass;
}

beforeAll(async () => {
  suite = await smallSuite();
});

it('passes every case of the small suite', () => {
  const failing: string[] = [];
  for (const each of suite) {
    const { pass, diagnosis } = verifyCase(each, run(each), { dtype: 'f32' });
    if (!pass) failing.push(`${each.name}: ${diagnosis!.words}`);
  }
  expect(failing).toEqual([]);
}, 60_000);

it.each([['f16', 'F16'], ['bf16', 'BF16']] as const)('passes as %s if it stores that', (dtype, stored) => {
  const failing = suite.filter((each) => !passes(each, narrow(each, {}, stored), dtype));
  expect(failing.map(({ name }) => name)).toEqual([]);
}, 60_000);

it('fails in some case with each held-out mistake', () => {
  const some = HELD_OUT.filter((_, n) => n % cases(3, 1) === 0);
  const uncaught = some.filter((mutant) => suite.every((each) => passes(each, mutant.run(each), mutant.dtype)));
  expect(uncaught.map(({ id }) => id)).toEqual([]);
}, 120_000);

it('has mistakes with distinct ids, and names that exist', () => {
  const all = [...MUTANTS, ...HELD_OUT];
  expect(HELD_OUT.length).toBeGreaterThanOrEqual(50);
  expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
  const names = all.flatMap(({ named }) => named);
  expect(names.filter((name) => !Object.hasOwn(DIAGNOSES, name))).toEqual([]);
});
