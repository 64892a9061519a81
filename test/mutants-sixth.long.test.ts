/**
 * The sixth set of broken kernels, by an author who knew neither the diagnosis nor its names. Its page records the
 * first meeting. Every fifth kernel is judged, which takes about two minutes; with NATS_MUTANTS=all, each one is.
 */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { DIAGNOSES } from '../src/vectors.ts';
import { answersOf, LATER_ANSWERS, SIXTH_ANSWERS } from './mutants/sixth-names.ts';
import { SIXTH } from './mutants/sixth/index.ts';
import { gradeOf } from './support/grade.ts';
import { type Judged, judgeAll } from './support/judge.ts';

let judged: Judged[] = [];
const whole = process.env['NATS_MUTANTS'] === 'all';
const CHOSEN = SIXTH.filter((_, n) => whole || n % 5 === 0);
beforeAll(async () => {
  judged = await judgeAll(CHOSEN.map((each) => ({ ...each, where: SIXTH_ANSWERS[each.id].places })));
}, 3_600_000);

const page = readFileSync(new URL('../docs/mutants-sixth.md', import.meta.url), 'utf8');
const rowOf = (what: string): string | undefined =>
  page.split('\n').find((line) => line.startsWith(`| ${what.replaceAll('|', '\\|')} |`));
const countOf = (grade: string): number => page.match(new RegExp(String.raw`\| ${grade} \|$`, 'gm'))?.length ?? 0;
const told = (row: string): number => Number(new RegExp(String.raw`^\| ${row}[^|]*\| \**(\d+)`, 'm').exec(page)?.[1]);

describe('the sixth set of mutants', () => {
  it('is caught, every one', () => {
    expect(judged.filter(({ failing }) => failing.length === 0)).toEqual([]);
  });

  it('has answers for every mutant, of names that exist', () => {
    expect(Object.keys(SIXTH_ANSWERS)).toEqual(SIXTH.map(({ id }) => id));
    expect(Object.keys(LATER_ANSWERS).filter((id) => !Object.hasOwn(SIXTH_ANSWERS, id))).toEqual([]);
    const names = SIXTH.flatMap(({ id }) => answersOf(id).names.map((name) => String([name].flat()[0])));
    expect(names.filter((name) => !Object.hasOwn(DIAGNOSES, name))).toEqual([]);
  });

  it('is named or located, every one since what failed at the first meeting was mended', () => {
    expect(judged.length).toBeGreaterThan(0);
    const grades = judged.map((each) => `${each.id} is ${gradeOf(each, answersOf(each.id))}, as ${each.name}`);
    expect(grades.filter((text) => !/ is (named|located),/.test(text))).toEqual([]);
  });

  it('has a page with every one, and the counts of the first meeting', () => {
    expect(SIXTH.filter(({ what }) => rowOf(what) === undefined).map(({ id }) => id)).toEqual([]);
    expect(countOf('named')).toBe(told('named:'));
    expect(countOf('located')).toBe(told('located:'));
    expect(countOf(String.raw`outputs`)).toBe(told('outputs alone:'));
    expect(countOf(String.raw`\*\*no\*\*`)).toBe(told('no:'));
  });
});
