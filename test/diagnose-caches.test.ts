/** Wrong caches of our own: rules of eviction, of closing, of what a step sees, and of what moves. */
import { describe, expect, it } from 'vitest';
import { smallSuite } from '../src/vectors.ts';
import { type CacheHooks, EVER, type Entry } from './mutants/hooks.ts';
import { mutant } from './mutants/mutant.ts';
import { run } from './mutants/kernel.ts';
import type { OracleCase } from '../src/oracle/types.ts';
import { judgeAll } from './support/judge.ts';
import { some } from './support/thorough.ts';

interface Step {
  readonly r: number;
  readonly begin: number;
  readonly next: number;
}

function stepOf({ parameters: { steps } }: OracleCase, token: number): Step {
  let begin = 0;
  for (const [r, T] of steps.entries()) {
    if (token < begin + T) return { r, begin, next: begin + T };
    begin += T;
  }
  throw new Error('no such token');
}

type Make = (each: OracleCase) => CacheHooks;
const dies = (rule: (entry: Entry, step: Step, head: number) => boolean): Make => (each) =>
  ({ dies: (entry, next) => rule(entry, stepOf(each, next - 1), 0) });
const closes = (rule: (end: number, step: Step) => boolean): Make => (each) => ({
  close: (open, end, begin) => {
    if (!rule(end, stepOf(each, begin))) return;
    for (const entry of open) if (entry.last === EVER) entry.last = entry.closedBy = end;
  },
});
const closedAt = (rule: (end: number, step: Step) => number): Make => (each) => ({
  close: (open, end, begin) => {
    for (const entry of open) if (entry.last === EVER) entry.last = entry.closedBy = rule(end, stepOf(each, begin));
  },
});
const sees = (rule: (i: number, entry: Entry, step: Step) => boolean): Make => (each) =>
  ({ visible: (i, entry, begin) => rule(i, entry, stepOf(each, begin)) });
const right = (i: number, { j, last }: Entry): boolean => j <= i && i <= last;
const serves = (rule: (entries: Entry[], begin: number, next: number) => Entry[]): Make => () => ({ before: rule });
/** Entries that die by a rule over all that is held. */
type Sweep = (entries: readonly Entry[], dead: (entry: Entry) => boolean, step: Step) => readonly Entry[];
const sweeps = (rule: Sweep): Make => (each) => {
  let gone = new Set<number>();
  return {
    before: (entries, begin, next) => {
      gone = new Set(rule(entries, ({ last }) => last < next, stepOf(each, begin)).map(({ j }) => j));
      return entries;
    },
    dies: ({ j }) => gone.has(j),
  };
};

const CACHES: readonly (readonly [name: string, detail: RegExp, make: Make])[] = [
  ['evicts-some', /^only steps r % 3 = 1 evict/, dies(({ last }, { r, next }) => last < next && r % 3 === 1)],
  ['evicts-some', /^only steps r % 2 = 0 evict/, dies(({ last }, { r, next }) => last < next && r % 2 === 0)],
  ['evicts-some', /^a step evicts one entry at most, the oldest/, sweeps((all, dead) => all.filter((each) => dead(each)).slice(0, 1))],
  ['evicts-some', /^a step evicts 2 entries at most, the newest/, sweeps((all, dead) => all.filter((each) => dead(each)).slice(-2))],
  ['evicts-some', /^only the oldest of what is held/, sweeps((all, dead) => {
    const first = all.findIndex((each) => !dead(each));
    return first < 0 ? all : all.slice(0, first);
  })],
  ['evicts-some', /^only whole pages of 4 positions/, sweeps((all, dead) => {
    const alive = new Set(all.filter((each) => !dead(each)).map(({ j }) => j >> 2));
    return all.filter(({ j }) => !alive.has(j >> 2));
  })],
  ['evicts-some', /^tokens of the step itself stay/, sweeps((all, dead, { begin }) => all.filter((each) => dead(each) && each.j < begin))],
  ['evicts-some', /^each leaves one step late/, dies(({ last }, { begin }) => last < begin)],
  ['global-missed', /^those that begin with the first token/, (each) => closes((end, { begin }) => end - each.parameters.chunk + 1 !== begin)(each)],
  ['global-missed', /^those of the first step/, closes((_, { r }) => r > 0)],
  ['global-missed', /^those of steps of several tokens/, closes((_, { begin, next }) => next - begin === 1)],
  ['local-other', /^at the first token of the step/, closedAt((_, { begin }) => begin)],
  ['local-other', /^at the first token of the next step/, closedAt((_, { next }) => next)],
  ['closes-some', /^those of its own step/, () => ({
    close: (open, end, begin) => {
      for (const entry of open) if (entry.last === EVER && entry.j >= begin) entry.last = entry.closedBy = end;
    },
  })],
  ['step-mask', /^those of earlier steps and itself/, sees((i, entry, { begin }) => right(i, entry) && (entry.j < begin || entry.j === i))],
  ['step-mask', /^those of its own step alone/, sees((i, entry, { begin }) => right(i, entry) && entry.j >= begin)],
  ['step-mask', /^what the last token of its step sees/, sees((_, { last }, { next }) => last >= next - 1)],
  ['step-mask', /^what the first token of its step sees/, sees((_, { j, last }, { begin }) => j <= begin && last >= begin)],
  ['tile-skipped', /^the last, partial page of 8 entries$/, () => ({
    before: (entries) => entries.filter((_, n) => n < entries.length - entries.length % 8),
  })],
  ['tile-skipped', /^all but the first page of 8 entries of earlier steps/, serves((entries, begin) =>
    entries.filter(({ j }, n) => j >= begin || n < 8))],
];

/** A third of the cases that have a cache of a few steps. */
const cases = (await smallSuite()).filter(({ parameters: { steps, tokens } }) => steps.length > 2 && tokens < 100)
  .filter((_, n) => n % 3 === 0);

describe('a wrong cache is told by its rule', () => {
  for (const [n, [name, detail, make]] of some(6, CACHES).entries()) {
    it(`${name} (${detail.source})`, { timeout: 60_000 }, async () => {
      const broken = { ...mutant(`cache-${n}`, name, 'unknown', {}), run: (each: OracleCase) => run(each, { cache: make(each) }) };
      const [judged] = await judgeAll([broken], cases);
      expect(judged.failing.length).toBeGreaterThan(0);
      expect(judged.name).toBe(name);
      expect(judged.detail).toMatch(detail);
    });
  }
});
