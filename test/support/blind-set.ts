/**
 * The tests of a set of broken kernels whose author knew neither the diagnosis nor its names. Its page records the
 * first meeting. Every fifth kernel is judged, which takes a minute; with NATS_MUTANTS=all, each one is.
 * @module
 */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { DIAGNOSES } from '../../src/vectors.ts';
import type { Mutant } from '../mutants/mutant.ts';
import type { Answers } from '../mutants/sixth-names.ts';
import { gradeOf } from './grade.ts';
import { type Judged, judgeAll, WHOLE } from './judge.ts';

/** A set, and what is true of it. */
export interface BlindSet {
  /** As in "the sixth set of mutants" and docs/mutants-sixth.md. */
  readonly title: string;
  readonly mutants: readonly Mutant[];
  /** The answers that were put down before any verdict was seen. */
  readonly answers: Readonly<Record<string, Answers>>;
  /** Names that reports have learned since. */
  readonly later: Readonly<Partial<Record<string, Answers['names']>>>;
  readonly answersOf: (id: string) => Answers;
  /** Kernels that the budgets allow: no case may fail. */
  readonly allowed?: readonly string[];
  /** What must be so now, besides that none is worse than at the first meeting. */
  readonly now: 'named or located' | 'no false name' | 'no worse';
}

/** Declares the tests. */
export function describeBlindSet({ title, mutants, answers, later, answersOf, allowed = [], now }: BlindSet): void {
  const chosen = mutants.filter(({ id }, n) => WHOLE || n % 5 === 0 || allowed.includes(id));
  const page = readFileSync(new URL(`../../docs/mutants-${title}.md`, import.meta.url), 'utf8');
  const rowOf = (what: string): string | undefined =>
    page.split('\n').find((line) => line.startsWith(`| ${what.replaceAll('|', '\\|')} |`));
  const countOf = (grade: string): number => page.match(new RegExp(String.raw`\| ${grade} \|$`, 'gm'))?.length ?? 0;
  const told = (row: string): number => Number(new RegExp(String.raw`^\| ${row}[^|]*\| \**(\d+)`, 'm').exec(page)?.[1]);
  let judged: Judged[] = [];

  describe(`the ${title} set of mutants`, () => {
    beforeAll(async () => {
      judged = await judgeAll(chosen.map((each) => ({ ...each, where: answers[each.id].places })));
    }, 3_600_000);

    it('is caught, every one that is wrong', () => {
      expect(judged.length).toBeGreaterThan(0);
      expect(judged.filter(({ failing }) => failing.length === 0).map(({ id }) => id)).toEqual(allowed);
    });

    it('has answers for every mutant, of names that exist', () => {
      expect(Object.keys(answers).toSorted()).toEqual(mutants.map(({ id }) => id).toSorted());
      expect(Object.keys(later).filter((id) => !Object.hasOwn(answers, id))).toEqual([]);
      const names = mutants.flatMap(({ id }) => answersOf(id).names.map((name) => String([name].flat()[0])));
      expect(names.filter((name) => !Object.hasOwn(DIAGNOSES, name))).toEqual([]);
    });

    it('is named or located, each that was so at the first meeting', () => {
      const good = (id: string): boolean =>
        ['named', 'located'].includes(gradeOf(judged.find((each) => each.id === id)!, answersOf(id)));
      const before = chosen.filter(({ what }) => /\| (named|located) \|$/.test(rowOf(what) ?? ''));
      expect(before.length).toBeGreaterThan(0);
      expect(before.filter(({ id }) => !good(id)).map(({ id }) => id)).toEqual([]);
    });

    if (now !== 'no worse') {
      it(`is as the page says since: ${now}`, () => {
        const wrong = now === 'named or located' ? / is (outputs|no),/ : / is no,/;
        const grades = judged.map((each) => `${each.id} is ${gradeOf(each, answersOf(each.id))}, as ${each.name}`);
        expect(grades.filter((text) => wrong.test(text))).toEqual([]);
      });
    }

    it('has a page with every one, and the counts of the first meeting', () => {
      expect(mutants.filter(({ what }) => rowOf(what) === undefined).map(({ id }) => id)).toEqual([]);
      expect(countOf('named')).toBe(told('named:'));
      expect(countOf('located')).toBe(told('located:'));
      expect(countOf('outputs')).toBe(told('outputs alone:'));
      expect(countOf(String.raw`\*\*no\*\*`)).toBe(told('no:'));
    });
  });
}
