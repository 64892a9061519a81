/**
 * The eighth set of broken kernels, of given kinds, by an author who knew neither the diagnosis nor its names. Its page
 * records the first meeting. Every fifth kernel is judged, which takes about two minutes; with NATS_MUTANTS=all, each
 * one is.
 */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { DIAGNOSES } from '../src/vectors.ts';
import { answersOf, EIGHTH_ANSWERS, LATER_ANSWERS } from './mutants/eighth-names.ts';
import { EIGHTH } from './mutants/eighth/index.ts';
import { gradeOf } from './support/grade.ts';
import { type Judged, judgeAll } from './support/judge.ts';

let judged: Judged[] = [];
const whole = process.env['NATS_MUTANTS'] === 'all';
const CHOSEN = EIGHTH.filter((_, n) => whole || n % 5 === 0);
beforeAll(async () => {
  judged = await judgeAll(CHOSEN.map((each) => ({ ...each, where: EIGHTH_ANSWERS[each.id].places })));
}, 3_600_000);

const page = readFileSync(new URL('../docs/mutants-eighth.md', import.meta.url), 'utf8');
const rowOf = (what: string): string | undefined =>
  page.split('\n').find((line) => line.startsWith(`| ${what.replaceAll('|', '\\|')} |`));
const countOf = (grade: string): number => page.match(new RegExp(String.raw`\| ${grade} \|$`, 'gm'))?.length ?? 0;
const told = (row: string): number => Number(new RegExp(String.raw`^\| ${row}[^|]*\| \**(\d+)`, 'm').exec(page)?.[1]);

describe('the eighth set of mutants', () => {
  it('is caught, every one but that whose bytes the budget allows', () => {
    const missed = judged.filter(({ failing }) => failing.length === 0).map(({ id }) => id);
    expect(missed.filter((id) => id !== 'bytes-before-eviction')).toEqual([]);
  });

  it('has answers for every mutant, of names that exist', () => {
    expect(Object.keys(EIGHTH_ANSWERS).toSorted()).toEqual(EIGHTH.map(({ id }) => id).toSorted());
    expect(Object.keys(LATER_ANSWERS).filter((id) => !Object.hasOwn(EIGHTH_ANSWERS, id))).toEqual([]);
    const names = EIGHTH.flatMap(({ id }) => answersOf(id).names.map((name) => String([name].flat()[0])));
    expect(names.filter((name) => !Object.hasOwn(DIAGNOSES, name))).toEqual([]);
  });

  it('is named or located, each that was so at the first meeting', () => {
    const good = (id: string): boolean =>
      ['named', 'located'].includes(gradeOf(judged.find((each) => each.id === id)!, answersOf(id)));
    const before = CHOSEN.filter(({ what }) => /\| (named|located) \|$/.test(rowOf(what) ?? ''));
    expect(before.length).toBeGreaterThan(0);
    expect(before.filter(({ id }) => !good(id)).map(({ id }) => id)).toEqual([]);
  });

  it('has a page with every one, and the counts of the first meeting', () => {
    expect(EIGHTH.filter(({ what }) => rowOf(what) === undefined).map(({ id }) => id)).toEqual([]);
    expect(countOf('named')).toBe(told('named:'));
    expect(countOf('located')).toBe(told('located:'));
    expect(countOf(String.raw`outputs`)).toBe(told('outputs alone:'));
    expect(countOf(String.raw`\*\*no\*\*`)).toBe(told('no:'));
  });
});
