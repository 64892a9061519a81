/** Every recall task asks what a reader of the document can answer, and of nobody else: solvers read the prompts. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { recallDifference, type RecallDocument, recallDocuments, recallText, ValueError } from '../src/index.ts';
import { TASKS, TEMPLATES } from '../src/evaluate/recall/tasks/index.ts';
import { ask, tell } from '../src/evaluate/recall/tasks/templates.ts';
import { cases } from './support/thorough.ts';

const settings = fc.record({
  documents: fc.integer({ min: 1, max: 3 }), length: fc.integer({ min: 1500, max: 2500 }),
  pairs: fc.integer({ min: 1, max: 8 }), hops: fc.integer({ min: 1, max: 4 }), seed: fc.nat(1e6),
});

type Check = (document: RecallDocument, pairs: number, hops: number) => void;

/** Draws documents of a kind, and hands each to `check`. */
function each(kind: keyof typeof TASKS, check: Check): void {
  fc.assert(fc.property(settings, (options) => {
    for (const document of recallDocuments({ kind, ...options })) check(document, options.pairs, options.hops);
  }), { numRuns: cases(20, 200) });
}

/** What comes before the question. */
const before = ({ prompt }: RecallDocument, question: string): string =>
  prompt.slice(0, prompt.length - question.length);

/** The wording of a question, the name in it, and the facts in that wording. */
function readNeedles(document: RecallDocument): { asked: string; question: string; facts: Map<string, string> } {
  const found = TEMPLATES.flatMap((template) => {
    const [head, tail] = ask(template, '\0').split('\0');
    const start = document.prompt.lastIndexOf(head);
    const name = document.prompt.slice(start + head.length, document.prompt.length - tail.length);
    return start >= 0 && document.prompt.endsWith(tail) && /^[a-z]+$/.test(name) ? [{ template, name }] : [];
  });
  expect(found).toHaveLength(1);
  const [{ template, name }] = found;
  const question = ask(template, name);
  const pattern = tell(template, '(\0)', '(\0)').replace(/[.?]/g, '\\$&').trim();
  const [first] = tell(template, 'NAME', 'VALUE').match(/NAME|VALUE/)!;
  const facts = new Map<string, string>();
  for (const [, a, b] of before(document, question).matchAll(new RegExp(pattern.replaceAll('\0', '[a-z0-9]+'), 'g'))) {
    facts.set(...(first === 'NAME' ? [a, b] : [b, a]) as [string, string]);
  }
  return { asked: name, question, facts };
}

describe('recallDocuments()', () => {
  it('of kind needle tells one fact, and asks for it in other words', () => {
    each('needle', (document) => {
      const { asked, question, facts } = readNeedles(document);
      expect([...facts]).toEqual([[asked, document.answer.trim()]]);
      expect(before(document, question)).not.toContain(question);
      expect(document.prompt.slice(-document.distance)).toContain(document.answer.trim());
    });
  });

  it('of kind multikey tells as many facts as there are pairs, and asks for one of them', () => {
    each('multikey', (document, pairs) => {
      const { asked, facts } = readNeedles(document);
      expect(facts.size).toBe(pairs);
      expect(facts.get(asked)).toBe(document.answer.trim());
    });
  });

  it('uses only the wordings that are named, so that others can be held out', () => {
    const wording = ({ prompt }: RecallDocument): number => TEMPLATES.findIndex((template) => {
      const [head, tail] = ask(template, '\0').split('\0');
      return prompt.includes(head) && prompt.endsWith(tail);
    });
    const questions = (templates?: number[]): Set<number> => new Set(
      recallDocuments({ kind: 'needle', documents: 200, length: 200, ...(templates && { templates }) }).map(wording),
    );
    expect([...questions([1, 4])].sort()).toEqual([1, 4]);
    expect(questions().size).toBe(TEMPLATES.length);
    expect(() => questions([])).toThrow(/there are no templates: name some from 0 to 9/);
    expect(() => questions([10])).toThrow(ValueError);
  });

  it('of kind hops passes a number on, in an order in which each name is known when it is mentioned', () => {
    each('hops', (document, _, hops) => {
      const numbers = new Map<string, string>();
      let told = 0;
      const asked = /The number of ([a-z]+) is $/.exec(document.prompt)![1];
      for (const [, name, number, heir, from] of before(document, '').matchAll(
        /The number of ([a-z]+) is (\d+)\. |([A-Z][a-z]+) has the same number as ([a-z]+)\. /g,
      )) {
        if (number !== undefined) numbers.set(name, number);
        else {
          expect(numbers.has(from)).toBe(true);
          numbers.set(heir.toLowerCase(), numbers.get(from)!);
        }
        told++;
      }
      expect(told).toBe(2 * (hops + 1));
      expect(numbers.get(asked)).toBe(document.answer);
    });
  });

  it('of kind tracking has the chain for its answer, from the last name back to the number', () => {
    each('tracking', (document, _, hops) => {
      const facts = new Map<string, string>();
      const [, asked] = /The number of ([a-z]+) is$/.exec(document.prompt)!;
      const pattern = /The number of ([a-z]+) is (?:that of )?([a-z]+|\d+)\. /g;
      for (const [, name, from] of document.prompt.matchAll(pattern)) {
        expect(facts.has(name)).toBe(false);
        expect(/^\d{3}$/.test(from) || facts.has(from)).toBe(true); // each name is known when it is mentioned
        facts.set(name, from);
      }
      expect(facts.size).toBe(2 * (hops + 1));
      const told: string[] = [];
      let at = asked;
      for (; facts.has(at); at = facts.get(at)!) {
        told.push(`The number of ${at} is ${facts.has(facts.get(at)!) ? 'that of ' : ''}${facts.get(at)!}`);
      }
      expect(told).toHaveLength(hops + 1);
      expect(`The number of ${asked} is${document.answer}`).toBe(told.join('. '));
      // The first fact that is needed is the one with the number.
      expect(document.prompt.slice(-document.distance)).toMatch(new RegExp(`^${told.at(-1)!}\\. `));
    });
  });

  it('of kind tracking gives the same documents for the same seed, with room for the longest chains', () => {
    const make = (seed: number, documents = 3) =>
      recallDocuments({ kind: 'tracking', documents, length: 1500, hops: 11, seed });
    expect(make(5)).toEqual(make(5, 4).slice(0, 3));
    expect(make(5)).not.toEqual(make(6));
    for (const { prompt } of make(5)) expect(prompt.length).toBeLessThanOrEqual(1501);
  });

  it('of kind common calls one name most often, and asks for it', () => {
    each('common', (document, pairs) => {
      const calls = new Map<string, number>();
      for (const [, name] of document.prompt.matchAll(/([A-Z][a-z]+) was called\. /g)) {
        calls.set(name, (calls.get(name) ?? 0) + 1);
      }
      const [[most, times], ...others] = [...calls].sort((a, b) => b[1] - a[1]);
      expect(` ${most.toLowerCase()}`).toBe(document.answer);
      expect(others).toHaveLength(pairs - 1);
      for (const [, count] of others) expect(count).toBeLessThanOrEqual(times / 3);
    });
  });

  it('refuses more names than there are words for, and documents without room', () => {
    const make = (changes: object) => () => recallDocuments({ kind: 'hops', documents: 1, length: 2000, ...changes });
    expect(make({ hops: 12 })).toThrow(/hops is 12: there are names for at most 11/);
    expect(make({ length: 300 })).toThrow(/no room for 6 facts: make it 420 or more/);
    expect(make({ kind: 'common', pairs: 26 })).toThrow(/pairs is 26: there are names for at most 25/);
  });

  it('gives text whose every line shows which task it is of, and no other, but for needle and multikey', () => {
    for (const kind of Object.keys(TASKS) as (keyof typeof TASKS)[]) {
      const lines = recallText(recallDocuments({ kind, documents: 40, length: 1200 })).trimEnd().split('\n');
      const others = Object.keys(TASKS).filter((other) => TASKS[other as typeof kind].isLine !== TASKS[kind].isLine);
      for (const line of lines) {
        expect(TASKS[kind].isLine(line)).toBe(true);
        for (const other of others) expect(TASKS[other as typeof kind].isLine(line)).toBe(false);
      }
    }
  });
});

describe('recallDifference()', () => {
  it('is the mean of the paired differences in points, with its standard error', () => {
    const [a, b] = [[true, true, false, true, false], [false, true, true, true, false]];
    expect(recallDifference(a, b)).toEqual({ points: 0, standardError: 100 * Math.sqrt(2 / 20) });
    expect(recallDifference(a, a)).toEqual({ points: 0, standardError: 0 });
    expect(recallDifference([true], [false])).toEqual({ points: 100, standardError: null });
  });

  it('agrees with the spread of the difference over random sets of questions', () => {
    // 2,000 sets of 50 questions: the mean of the squared errors is the variance over sets.
    let [seed, squares, variances] = [1, 0, 0];
    const random = (): number => (seed = (seed * 48271) % 2147483647) / 2147483647;
    for (let set = 0; set < 2000; set++) {
      const hits = Array.from({ length: 50 }, () => {
        const hard = random();
        return [random() > hard, random() > 0.5 * hard] as const;
      });
      const { points, standardError } = recallDifference(hits.map(([a]) => a), hits.map(([, b]) => b));
      squares += (points - -25) ** 2; // 1/2 and 3/4 of the questions are right
      variances += standardError! ** 2;
    }
    expect(variances / squares).toBeGreaterThan(0.9);
    expect(variances / squares).toBeLessThan(1.1);
  });

  it('refuses answers to other questions', () => {
    expect(() => recallDifference([true], [true, false])).toThrow(/1 answers cannot be compared with 2/);
    expect(() => recallDifference([], [])).toThrow(ValueError);
  });
});
