/**
 * What failing cases have in common and passing ones do not: where in the tensors they fail, and which parameters they
 * share.
 * @module
 */
import { FACTS } from './facts.ts';
import { verdictsOf } from './verdict.ts';
import type { CaseParameters, CaseReport } from '../types.ts';

/** A report, and the parameters of its case. */
export interface Judged {
  readonly report: CaseReport;
  readonly parameters: CaseParameters;
}

/** A property that failing cases share. */
export interface Common {
  /** "W > 32", or "in odd query heads". */
  readonly text: string;
  /** How many failing cases have it. */
  readonly failing: number;
  /** How many cases have it; for a place, how many fail. */
  readonly of: number;
}

type Condition = readonly [text: string, holds: (p: CaseParameters) => boolean];
/** The largest first, as the last that still holds tells most. */
const SIZES = [256, 128, 64, 32, 16];
/** The share of the failing cases that have a place in common; and the same where no name explains them. */
const MOST = 0.9;
const MOST_OF_UNKNOWN = 0.75;
/** The same of a place that no failing case denies: the others are too small to tell, or have no other places. */
const UNDENIED = 0.4;
/** How unlikely it must be that failing cases have a parameter in common by chance, if most that have it pass. */
const CHANCE = 0.005;
/** How many places of each kind are said. */
const KINDS: readonly (readonly [kind: RegExp, most: number])[] = [
  [/^of [A-Z]+ tokens$/, 1],
  [/head|batch/, 2], [/component/, 1], [/\bsteps?\b/, 1], [/^of |that |with |chunk|beyond W|up to W/, 2], [/./, 2],
];
const powerOfTwo = (x: number): boolean => Number.isInteger(Math.log2(x));

const CONDITIONS: readonly Condition[] = [
  ['B > 1', (p) => p.batch > 1],
  ['G > 1', (p) => p.kvHeads > 1],
  ['B G > 1', (p) => p.batch * p.kvHeads > 1],
  ['H > G', (p) => p.queryHeads > p.kvHeads],
  ['G > 1 and H > G', (p) => p.kvHeads > 1 && p.queryHeads > p.kvHeads],
  ['H > 2 G', (p) => p.queryHeads > 2 * p.kvHeads],
  ['C > 1', (p) => p.chunk > 1],
  ['C > 8', (p) => p.chunk > 8],
  ['C is no power of two', (p) => !powerOfTwo(p.chunk)],
  ['W < C', (p) => p.window < p.chunk],
  ['W is not 0', (p) => p.window > 0],
  ['steps take in several tokens', (p) => p.steps.some((size) => size > 1)],
  ['N % C != 0', (p) => p.tokens % p.chunk > 0],
  ...SIZES.map((n): Condition => [`N > ${n}`, (p) => p.tokens > n]),
  ...SIZES.slice(1).toReversed().map((n): Condition => [`N % ${n} != 0`, (p) => p.tokens % n > 0]),
  ...SIZES.map((n): Condition => [`W > ${n}`, (p) => p.window > n]),
  ...SIZES.map((n): Condition => [`N > W > ${n}`, (p) => p.window > n && p.tokens > p.window]),
  ['W < N', (p) => p.window < p.tokens],
  ...[64, 32, 16, 8].map((n): Condition => [`d > ${n}`, (p) => p.headDim > n]),
  ['d % 8 = 0', (p) => p.headDim % 8 === 0],
  ['d % 8 != 0', (p) => p.headDim % 8 > 0],
  ['d % 4 = 0', (p) => p.headDim % 4 === 0],
  ['d % 4 != 0', (p) => p.headDim % 4 > 0],
  ['d is no power of two', (p) => !powerOfTwo(p.headDim)],
  ['the scale is no power of two', (p) => !powerOfTwo(p.scale)],
  ['the scale is not 1 / sqrt(d)', (p) => Math.abs(p.scale * Math.sqrt(p.headDim) - 1) > 1e-6],
  ['tau != 1', (p) => p.temperature !== 1],
  ['there is a price', (p) => p.price > 0],
  ['the rule is exact', (p) => p.rule === 'exact'],
  ['the rule is bounded', (p) => p.rule === 'bounded'],
];

/**
 * The parameters that every failing case has and some passing case has not, those that fewest passing cases have first;
 * and the places that nine of ten failing cases have in common, or three of four where no name is the headline.
 */
export function commonOf(
  judged: readonly Judged[],
): { readonly cases: readonly Common[]; readonly places: readonly Common[] } {
  const failing = judged.filter(({ report }) => !report.pass && report.diagnosis?.cause !== 'unusable');
  if (failing.length === 0) return { cases: [], places: [] };
  const cases = CONDITIONS.flatMap(([text, holds]): Common[] => {
    if (!failing.every(({ parameters }) => holds(parameters))) return [];
    const having = judged.filter(({ parameters }) => holds(parameters));
    if (having.length === judged.length) return [];
    const chance = (having.length / judged.length) ** failing.length;
    if (2 * failing.length < having.length && chance > CHANCE) return [];
    return [{ text, failing: failing.length, of: having.length }];
  }).filter(({ text }, _, all) => text !== 'B G > 1' || !all.some((each) => /^[BG] > 1$/.test(each.text)))
    .sort((a, b) => a.of - b.of);
  const counts = new Map<string, { n: number; precise: number; denied: number }>();
  for (const { report } of failing) {
    const { facts = [] } = report.diagnosis!;
    const { holds, denied } = FACTS.get(report.diagnosis!)
      ?? { holds: new Map(facts.map((text) => [text, 1])), denied: [] };
    const at = (text: string): { n: number; precise: number; denied: number } => {
      const made = counts.get(text) ?? { n: 0, precise: 0, denied: 0 };
      counts.set(text, made);
      return made;
    };
    for (const [text, share] of holds) {
      const own = at(text);
      own.n++;
      own.precise += share;
    }
    for (const text of denied) at(text).denied++;
  }
  const all = failing.length;
  const most = verdictsOf(failing.map(({ report }) => report))[0]?.name === 'unknown' ? MOST_OF_UNKNOWN : MOST;
  const telling = [...counts]
    .filter(([, { n, denied }]) => n >= most * all || (denied === 0 && n > 1 && n >= UNDENIED * all))
    .sort(([, a], [, b]) => b.precise - a.precise || b.n - a.n);
  const said = KINDS.map(() => 0);
  const places: Common[] = [];
  for (const [text, { n }] of telling) {
    const kind = KINDS.findIndex(([words]) => words.test(text));
    if (said[kind]++ < KINDS[kind][1]) places.push({ text, failing: n, of: all });
  }
  return { cases: cases.slice(0, 3), places: places.slice(0, 6) };
}

/** The same, as lines of text. */
export function commonWords(judged: readonly Judged[]): readonly string[] {
  const { cases, places } = commonOf(judged);
  const wrong = new Set(judged.flatMap(({ report }) => report.tensors.filter(({ status }) => status === 'fail').map(({ name }) => name)));
  const right = new Set(judged.flatMap(({ report }) => report.tensors.filter(({ status }) => status === 'pass').map(({ name }) => name)));
  const never = [...right].filter((name) => !wrong.has(name));
  return [
    ...cases.map(({ text, failing, of }) => `fails only where ${text} (${failing === of ? 'in every such case' : `${failing} of ${of} such cases`})`),
    ...places.map(({ text, failing, of }) => `fails only ${text} (${failing === of ? 'in every failing case' : `${failing} of ${of} failing cases`})`),
    ...wrong.size > 0 && never.length > 0 ? [`fails only in ${[...wrong].join(', ')}; ${never.join(', ')} ${never.length > 1 ? 'pass' : 'passes'} in every case`] : [],
  ];
}
