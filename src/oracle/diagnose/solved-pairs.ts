/**
 * Rules for the pairs of query and key that count too often or not at all, solved for: the numbers of a few wrong rows
 * say which sets of terms, times one factor, make up what is wrong with them, and of the rules that choose such sets
 * those are kept that are true of all other rows, too. If rows are right where a rule says otherwise, a property of
 * rows that tells them apart is looked for.
 *
 * What is wrong with a row is linear in how often its terms count: of dq, dk, dv and dM, that is so as it stands; of
 * out a, the sum of w_j (v_j - a) over the terms that count once more is a - truth; of lse, that of w_j is
 * exp(lse' - lse) - 1.
 * @module
 */
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { PairRows, type Wrong } from './pair-rows.ts';
import { type PairRule, placeRules, type PlaceRule, relations } from './pair-places.ts';
import { type Form, formsOf, maskedRow, type Term, termsOf } from './pair-terms.ts';
import { MOST_KEPT, type Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

const SOLVED: readonly OutputName[] = ['out', 'lse', 'cache_out', 'dv', 'dq', 'dk', 'dm_rows'];
/** Fewer wrong numbers than this are explained by one of so many rules. */
const FEWEST = 8;
/** Rows by which sets are found, and rows by which rules are checked. */
const [SEARCHED, CHECKED] = [4, 40];
/** The share of what is wrong with a row that a set may leave. */
const LEFT = 0.02;
/** A part of the weights of a row that is 0. */
const NOTHING = 1e-7;
/** The most rules that are told. */
const TOLD = 250;

interface Found {
  /** What it makes of some rows, by which rules that choose the same terms are known. */
  readonly made: readonly number[];
  readonly place: PlaceRule;
  readonly relation: PairRule;
  readonly limit: PlaceRule;
  readonly cost: number;
  readonly whole: boolean;
  readonly factor: number;
}

type Candidate = Omit<Found, 'limit' | 'made'>;

export const solvedPairs: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (!SOLVED.includes(output) || scene.N > MOST_KEPT || scene.N < 4) return;
  if (scene.failing.reduce((count, level) => count + Number(level > 0), 0) < FEWEST) return;
  const rules = rulesOf(scene, output);
  for (const form of formsOf(scene, output)) {
    for (const alike of sameOf(new Solver(scene, form, rules).solve())) yield hypothesisOf(scene, output, form, alike);
  }
};

/** Rules for what a row is a sum over, for pairs, and for rows. */
interface Rules {
  readonly places: readonly PlaceRule[];
  readonly relations: readonly PairRule[];
  readonly limits: readonly PlaceRule[];
}

function rulesOf(scene: Scene, output: OutputName): Rules {
  const stepped = output === 'cache_out' && scene.parameters.steps.length > 1;
  const byKey = output === 'dk' || output === 'dv';
  const [keys, queries] = [[...placeRules(scene, 'key', stepped)], [...placeRules(scene, 'query', stepped)]];
  const all = [...relations(scene, byKey || output === 'dm_rows', stepped)];
  return byKey ? { places: queries, relations: all, limits: keys } : { places: keys, relations: all, limits: queries };
}

class Solver {
  readonly #scene: Scene;
  readonly #form: Form;
  readonly #rows: PairRows;
  readonly #rules: Rules;

  constructor(scene: Scene, form: Form, rules: Rules) {
    this.#scene = scene;
    this.#form = form;
    this.#rows = new PairRows(scene, form);
    this.#rules = rules;
  }

  solve(): readonly Found[] {
    const { N } = this.#scene;
    const { failing } = this.#rows;
    const of = (rows: readonly number[]): readonly Wrong[] => rows
      .filter((_, n) => n % Math.ceil(rows.length / CHECKED) === 0)
      .map((row) => this.#rows.wrong(row)).filter((each): each is Wrong => each !== undefined);
    const searched = this.#rows.clearest(SEARCHED);
    if (searched.length < 2) return [];
    const candidates = this.#candidates(searched);
    if (candidates.length === 0) return [];
    const heads = new Set(failing.map((row) => Math.floor(row / N)));
    const fails = new Set(failing);
    const rows = [...heads].flatMap((head) => Array.from({ length: N }, (_, n) => head * N + n));
    const [bad, good] = [of(failing), of(rows.filter((row) => !fails.has(row)))];
    const found: Found[] = [];
    for (const each of candidates) {
      // All terms times one number have other names.
      if (each.whole && this.#check(each, bad, good)?.limit.words === '') return [];
    }
    for (const each of candidates) {
      const checked = this.#check(each, bad, good);
      if (checked) found.push({ ...each, ...checked, cost: each.cost + Number(checked.limit.words !== '') });
    }
    return found.sort((a, b) => a.cost - b.cost).slice(0, TOLD);
  }

  /** Rules whose terms, times one factor, are what is wrong with each of some rows. */
  #candidates(rows: readonly Wrong[]): Candidate[] {
    const all = rows.map((wrong) => ({ wrong, ...this.#rows.terms(wrong.row) }));
    if (all.some(({ terms }) => terms.length === 0)) return [];
    const own = this.#rows.byKey ? (term: Term): number => term.i : (term: Term): number => term.j;
    type Has<T> = (rule: T, head: number, term: Term) => boolean;
    const bits = <T>(rules: readonly T[], has: Has<T>): Bits<T>[] => rules.map((rule, n) => ({
      rule, n, sets: all.map(({ wrong: { row }, terms }) =>
        Uint8Array.from(terms, (term) => Number(has(rule, this.#rows.headOf(row), term)))),
    })).filter(({ sets }) => sets.every((set) => set.includes(1)));
    const places = bits(this.#rules.places, (rule, head, term) => rule.has(head, own(term)));
    const pairs = bits(this.#rules.relations, ({ has }, head, { i, j, query }) => has(head, i, j, query));
    const found: Candidate[] = [];
    for (const relation of pairs) {
      const chosen = all.map(({ sums }, n) => {
        const at = [...relation.sets[n].keys()].filter((t) => relation.sets[n][t] === 1);
        return { at: Uint16Array.from(at), sums: sums.map((terms) => Float64Array.from(at, (t) => terms[t])) };
      });
      for (const place of places) {
        const factor = factorOf(all, chosen, place.sets);
        if (factor === undefined) continue;
        const cost = Number(place.n > 0) + Number(relation.n > 0) + Number(Math.abs(factor) !== 1);
        found.push({ place: place.rule, relation: relation.rule, factor, cost, whole: place.n + relation.n === 0 });
      }
    }
    return found;
  }

  /** The rows to which a rule must be limited, if it is then true of all. */
  #check(
    { place, relation, factor }: Candidate, bad: readonly Wrong[], good: readonly Wrong[],
  ): Pick<Found, 'limit' | 'made'> | undefined {
    const { N } = this.#scene;
    /** How far what is wrong is from what the rule makes, and the size of that. */
    const makes = ({ row }: Wrong): readonly number[] | undefined => {
      const { terms, sums } = this.#rows.terms(row);
      const head = this.#rows.headOf(row);
      const made = sums.map(() => 0);
      let Z = 1;
      terms.forEach((term, n) => {
        if (!place.has(head, this.#rows.byKey ? term.i : term.j)) return;
        if (!relation.has(head, term.i, term.j, term.query)) return;
        sums.forEach((all, which) => (made[which] = made[which] + factor * all[n]));
        Z += factor * (this.#form.weight?.(term) ?? 0);
      });
      return Z > NOTHING ? made : undefined;
    };
    const all: number[] = [];
    for (const each of bad) {
      const made = makes(each);
      if (!made) return undefined; // nothing is left of the row, of which anything may be said
      all.push(...made);
      const most = 2 * LEFT * Math.hypot(...each.off) + 8 * each.noise;
      if (made.some((x, n) => Math.abs(x - each.off[n]) > most)) return undefined;
    }
    const refuting = good.filter((each) => {
      const made = makes(each);
      return !made || made.some((x, n) =>
        Math.abs(x - each.off[n]) > 0.5 * Math.abs(x) && Math.abs(x) > 64 * each.noise);
    });
    const in_ = (limit: PlaceRule, { row }: Wrong): boolean => limit.has(this.#rows.headOf(row), row % N);
    const limits = this.#rules.limits.filter((limit) => bad.every((each) => in_(limit, each)));
    const one = limits.find((limit) => !refuting.some((each) => in_(limit, each)));
    if (one) return { limit: one, made: all };
    for (const [n, a] of limits.entries()) {
      const left = refuting.filter((each) => in_(a, each));
      if (left.length === refuting.length) continue;
      const b = limits.slice(n + 1).find((limit) => !left.some((each) => in_(limit, each)));
      if (b) return { limit: { words: `${a.words} and ${b.words}`, has: (head, at) => a.has(head, at) && b.has(head, at) }, made: all };
    }
    return undefined;
  }
}

/** Rules that choose the same terms, in groups. */
function sameOf(found: readonly Found[]): readonly (readonly Found[])[] {
  const groups: Found[][] = [];
  for (const each of found) {
    const group = groups.find(([first]) =>
      each.made.every((x, n) => Math.abs(x - first.made[n]) <= 1e-9 * (Math.abs(x) + 1e-9)));
    if (group) group.push(each);
    else groups.push([each]);
  }
  return groups;
}

/** A rule, its number, and the terms of some rows that it chooses. */
interface Bits<T> {
  readonly rule: T;
  readonly n: number;
  readonly sets: readonly Uint8Array[];
}

/** The factor by which the terms at some places, of those chosen, are what is wrong with each row. */
function factorOf(
  all: readonly { readonly wrong: Wrong }[],
  chosen: readonly { readonly at: Uint16Array; readonly sums: readonly Float64Array[] }[],
  places: readonly Uint8Array[],
): number | undefined {
  let factor = NaN;
  for (let n = 0; n < all.length; n++) {
    const { off, noise } = all[n].wrong;
    const { at, sums: [x, y] } = chosen[n];
    const place = places[n];
    let [a, b] = [0, 0];
    for (let t = 0; t < at.length; t++) {
      if (place[at[t]] === 0) continue;
      a += x[t];
      if (y) b += y[t];
    }
    const [p, q = 0] = off;
    const squares = a * a + b * b;
    if (squares === 0) return undefined;
    if (n === 0) factor = simple((a * p + b * q) / squares);
    const most = LEFT * Math.hypot(p, q) + 4 * noise;
    if (Math.abs(p - factor * a) > most || Math.abs(q - factor * b) > most) return undefined;
  }
  return Math.abs(factor) < 1e-3 ? undefined : factor;
}

/** The simple number that a factor is near to. */
function simple(factor: number): number {
  for (const each of [-1, 1, 2, 3, -0.5, 0.5, -2]) if (Math.abs(factor - each) < 0.02) return each;
  return factor;
}

function hypothesisOf(scene: Scene, output: OutputName, form: Form, found: readonly Found[]): Hypothesis {
  const [first] = found;
  const byKey = output === 'dk' || output === 'dv';
  const { N } = scene;
  // The rows are the same in all cases only if what limits them is.
  const all = [...found, ...found.map((each) => ({ ...each, limit: FAILING }))].map((each) => {
    const pairs = wordsOf(each, byKey);
    return [pairs, `${form.words(pairs)}${form.times(each.factor)}`] as const;
  });
  const words = all.map(([, text]) => text);
  const has = (head: number, { i, j, query }: Term): boolean => first.relation.has(head, i, j, query)
    && first.place.has(head, byKey ? i : j) && first.limit.has(head, byKey ? j : i);
  const width = output === 'lse' || output === 'dm_rows' ? 1 : scene.d;
  const mask = form.mask && (first.factor === form.mask) && (output === 'out' || output === 'lse');
  const truth = scene.truth(output) as Float64Array;
  const also = [...new Set(words)];
  if (mask) {
    const hides = form.mask === -1;
    const sees = (head: number, i: number, j: number): boolean => {
      const chosen = form.domain(scene, head, i, j) && has(head, { i, j, query: i });
      return chosen ? !hides : scene.sees(head, i, j);
    };
    const detail = wordsOf(first, byKey);
    return {
      name: hides ? 'pairs-hidden' : 'pairs-seen', ofRule: true, detail, also: [...new Set(all.map(([pairs]) => pairs))], sees,
      predict: (query) => maskedRow(scene, output, query, sees),
    };
  }
  return {
    name: form.name, ofRule: true, detail: words[0], also,
    predict: (row) => {
      const head = byKey || output === 'dm_rows' ? Math.floor(row / N) : scene.headOf(row);
      const terms = termsOf(scene, form, row).filter((term) => has(head, term));
      return form.made(row, terms, first.factor, truth.subarray(row * width, (row + 1) * width));
    },
  };
}

const ALL: PlaceRule = { words: '', has: () => true };
const FAILING: PlaceRule = { words: 'where it fails', has: () => true };

/** "odd keys of the query's own tile of 16, for queries from 32". */
function wordsOf({ place, relation, limit }: Pick<Found, 'place' | 'relation' | 'limit'>, byKey: boolean): string {
  if (limit === FAILING) return `${wordsOf({ place, relation, limit: ALL }, byKey)}, where it fails`;
  const [key, query] = byKey ? [limit.words, place.words] : [place.words, limit.words];
  if (key === '' && relation.words === '') return query === '' ? 'all pairs' : query;
  const own = `keys ${relation.words}`.replace(/^keys in (?=tiles)/, '').replace(/^keys on the diagonal$/, 'the pairs on the diagonal');
  const keys = key === '' ? own : relation.words === '' ? key : `${key}, those ${relation.words}`;
  return query === '' ? keys : `${keys}, for ${query}`;
}
