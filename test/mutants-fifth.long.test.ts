/**
 * The fifth set of broken kernels, by someone who had not seen the diagnosis. Its page records the first meeting. Every
 * fifth kernel is judged, which takes a minute or two; with NATS_MUTANTS=all each one is.
 */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { DIAGNOSES } from '../src/vectors.ts';
import { FIFTH_NAMES, LATER_NAMES } from './mutants/fifth-names.ts';
import { FIFTH } from './mutants/fifth/index.ts';
import type { Mutant } from './mutants/mutant.ts';
import { type Judged, judgeAll, WHOLE } from './support/judge.ts';

/** Counts whole pages of 4 tokens in cache_bytes, which its budget allows: up to whole blocks of 64 and one more. */
const RIGHT = ['bytes-of-pages'];
/** How many were named, or had their place told, at the first meeting. */
const FIRST = 77;

let judged: Judged[] = [];
const namesOf = (id: string): Mutant['named'] => [...FIFTH_NAMES[id] ?? [], ...LATER_NAMES[id] ?? []];
const CHOSEN = FIFTH.filter(({ id }, n) => WHOLE || n % 5 === 0 || RIGHT.includes(id));
const NAMED = CHOSEN.map((each) => ({ ...each, named: namesOf(each.id) }));
beforeAll(async () => (judged = await judgeAll(NAMED)), 3_600_000);

const page = readFileSync(new URL('../docs/mutants-fifth.md', import.meta.url), 'utf8');
const rowOf = (what: string): string | undefined =>
  page.split('\n').find((line) => line.startsWith(`| ${what.replaceAll('|', '\\|')} |`));

describe('the fifth set of mutants', () => {
  it('is caught, every one that is wrong', () => {
    expect(judged.filter(({ failing }) => failing.length === 0).map(({ id }) => id)).toEqual(RIGHT);
  });

  it('has names that exist, for mutants that exist', () => {
    const names = Object.values(FIFTH_NAMES).flat() as string[];
    expect(names.filter((name) => !Object.hasOwn(DIAGNOSES, name))).toEqual([]);
    const ids = FIFTH.map(({ id }) => id);
    expect(Object.keys(FIFTH_NAMES).filter((id) => !ids.includes(id))).toEqual([]);
  });

  it('is named no worse than at the first meeting', () => {
    const before = CHOSEN.filter(({ what }) => rowOf(what)?.endsWith('| named |'));
    expect(before.length).toBeGreaterThan(0);
    expect(judged.filter(({ right }) => right).length).toBeGreaterThanOrEqual(before.length);
  });

  it('has a page with every one, and the counts of the first meeting', () => {
    expect(FIFTH.filter(({ what }) => rowOf(what) === undefined).map(({ id }) => id)).toEqual([]);
    expect(page.match(/\| (named|located) \|$/gm)).toHaveLength(FIRST);
  });
});
