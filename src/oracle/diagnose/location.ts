/**
 * Says where an output fails: in which batches, heads, rows, tokens and components, whether or not a mistake is known.
 *
 * A fact is a property that everything that fails has and not everything else, such as "odd query heads". It is exact
 * if whatever has the property fails.
 * @module
 */
import { AXES, type Axis } from '../judge/outputs.ts';
import { type Fact, factsOf, wordsFor } from './axis-facts.ts';
import { stepFacts } from './cache-steps.ts';
import type { DiagnosisName } from './diagnoses.ts';
import { type HeadFact, keyFacts, rowFacts } from './row-facts.ts';
import type { Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** What holds of all that fails in a case. */
export interface Facts {
  /** Facts that are true of all that fails and not of the rest, with the share of what has them that fails. */
  readonly holds: ReadonlyMap<string, number>;
  /** Facts that are not true of all that fails. */
  readonly denied: ReadonlySet<string>;
  /** Whether so few numbers are wrong that a mistake may well not be told by them. */
  readonly few?: boolean;
  /** Of a case with few wrong numbers, the names that some number contradicts. */
  readonly refuted?: ReadonlySet<DiagnosisName>;
}
interface Weighed {
  readonly holds: Map<string, number>;
  readonly denied: Set<string>;
}

/** Where an output fails. */
export interface Location {
  /** In words, the most telling first: "only in odd query heads". Empty if failures are everywhere. */
  readonly where: readonly string[];
  /** Every fact that is true, for comparison with those of other cases. */
  readonly facts: readonly string[];
  /** What facts() gives of the diagnosis. */
  readonly weighed: Facts;
  /** How much fails: "in 2 of 4 query heads and 31 of 40 rows". */
  readonly spread: string;
  /** Whether an element lies in a batch and head in which something fails. */
  readonly inHead: (at: number) => boolean;
  /** Whether an element lies in rows of which all fail; undefined if no property describes them. */
  readonly inRows: ((at: number) => boolean) | undefined;
  /** Whether a component lies in a part of d of which all fail; undefined if no property describes it. */
  readonly inComponents: ((c: number) => boolean) | undefined;
  /** Whether something fails in every head, and in every row of them. */
  readonly everyHead: boolean;
  readonly everyRow: boolean;
  /** Whether something fails in the row of an element: in the same head, and query, key or chunk. */
  readonly inFailing: (at: number) => boolean;
}

/** What fewer failures than this have in common may be chance, unless nothing else has it. */
const MANY = 4;

/** A fact about the type of a token, which is always said. */
const OF_TYPE = /^of (?:GLOBAL|LOCAL|WINDOW) tokens$/;

interface Found {
  readonly text: string;
  readonly has: (n: number) => boolean;
  readonly exact: boolean;
  /** How many positions have it. */
  readonly having: number;
}

/** Where `failing` is 1. @param skip Elements that are not compared. */
export function locate(scene: Scene, output: OutputName, failing: Uint8Array, skip: ReadonlySet<number>): Location {
  const { shape } = scene.expected[output];
  const axes = AXES[output];
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const on = (axis: number, at: number): number => Math.floor(at / strides[axis]) % shape[axis];
  const fails = shape.map((size) => new Uint8Array(size));
  const headAxes = axes.flatMap((axis, n) => (axis === 'batch' || axis === 'head' || axis === 'kvHead' ? [n] : []));
  const headOf = (at: number): number => headAxes.reduce((sum, axis) => sum * shape[axis] + on(axis, at), 0);
  const heads = new Set<number>();
  failing.forEach((bad, at) => {
    if (!bad) return;
    fails.forEach((axis, n) => (axis[on(n, at)] = 1));
    heads.add(headOf(at));
  });
  const compared = shape.map((size) => new Uint8Array(size));
  failing.forEach((_, at) => {
    if (skip.has(at) || !heads.has(headOf(at))) return;
    compared.forEach((axis, n) => (axis[on(n, at)] = 1));
  });
  const [where, facts]: [string[], string[]] = [[], []];
  const weighed = { holds: new Map<string, number>(), denied: new Set<string>() };
  let inRows: Location['inRows'];
  let inComponents: Location['inComponents'];
  const spread: string[] = [];
  let described = false;
  axes.forEach((axis, n) => {
    const size = shape[n];
    if (size === undefined || size < 2) return;
    const count = fails[n].reduce((a, b) => a + b, 0);
    spread.push(`${count} of ${size} ${wordsFor(axis, chunkedAt(scene, axis, size))[1]}`);
    const own = headAxes.includes(n) ? new Uint8Array(size).fill(1) : compared[n];
    const found = matching(factsOf(scene, axis, size), fails[n], own, weighed);
    facts.push(...found.map(({ text }) => text));
    const best = bestOf(found, count);
    if (!best) return;
    where.push(`only ${best.text}`);
    if (best.exact && axis === 'other') inComponents = best.has;
    if (!best.exact || headAxes.includes(n) || axis === 'other') return;
    described = true;
    inRows ??= (at) => best.has(on(n, at));
  });
  const rowAxis = Math.max(axes.indexOf('key'), axes.indexOf('query'));
  const batch = axes.indexOf('batch');
  const headAxis = Math.max(axes.indexOf('head'), axes.indexOf('kvHead'));
  const size = shape[rowAxis] ?? 0;
  const kvOf = (at: number): number => (axes[headAxis] === 'head' ? Math.floor(headOf(at) / scene.R) : headOf(at));
  const placeOf = (at: number): number => kvOf(at) * size + on(rowAxis, at);
  if (rowAxis >= 0 && headAxis >= 0 && batch >= 0 && output !== 'mask') {
    const [bad, all] = [new Uint8Array(scene.heads * size), new Uint8Array(scene.heads * size)];
    failing.forEach((level, at) => {
      if (skip.has(at) || !heads.has(headOf(at))) return;
      all[placeOf(at)] = 1;
      if (level > 0) bad[placeOf(at)] = 1;
    });
    const chunked = chunkedAt(scene, axes[rowAxis], size);
    const made: Iterable<HeadFact> = axes[rowAxis] === 'query' ? rowFacts(scene) : keyFacts(scene, chunked);
    const flat = function* (): Generator<Fact> {
      const all = output.startsWith('cache') ? [...made, ...stepFacts(scene, axes[rowAxis] === 'query')] : made;
      for (const { text, has } of all) yield { text, has: (n) => has(Math.floor(n / size), n % size) };
    };
    const found = matching(flat(), bad, all, weighed);
    const typed = found.filter(({ text }) => OF_TYPE.test(text)).map(({ text }) => text);
    facts.unshift(...typed);
    facts.push(...found.map(({ text }) => text).filter((text) => !facts.includes(text)));
    const best = bestOf(found, bad.reduce((a, b) => a + b, 0));
    where.push(...typed.map((text) => `only ${text}`));
    // What the axes say exactly needs no more words, unless lifetimes say it too.
    if (best && !typed.includes(best.text) && (!described || (best.exact && best.text.startsWith('of')))) where.push(`only ${best.text}`);
    if (best?.exact) inRows ??= (at) => best.has(placeOf(at));
  } else if (output === 'mask') {
    const found = ofKeys(scene, failing, weighed);
    facts.push(...found);
    where.push(...found.slice(0, 1).map((text) => `only ${text}`));
  }
  const width = axes.includes('other') ? shape.slice(axes.indexOf('other')).reduce((a, b) => a * b, 1) : 1;
  const rows = new Set<number>();
  failing.forEach((bad, at) => bad && rows.add(Math.floor(at / width)));
  const allHeads = headAxes.reduce((product, axis) => product * shape[axis], 1);
  return {
    everyHead: heads.size === allHeads, everyRow: rows.size === failing.length / width,
    where, facts, weighed, spread: spread.length > 0 ? `in ${spread.join(', ')}` : 'in its only number', inRows, inComponents,
    inHead: (at) => heads.has(headOf(at)), inFailing: (at) => rows.has(Math.floor(at / width)),
  };
}

const chunkedAt = (scene: Scene, axis: Axis, size: number): boolean =>
  axis === 'key' && size === scene.chunks && scene.parameters.chunk > 1;

/** The exact fact that comes first; of several failures, else the one that the fewest others have too. */
function bestOf(found: readonly Found[], count: number): Found | undefined {
  const exact = found.find((each) => each.exact);
  if (exact || count < MANY) return exact;
  return found.reduce<Found | undefined>((a, b) => (a && a.having <= b.having ? a : b), undefined);
}

/** The facts that are true of all that fail, and not of all that is compared. */
function matching(facts: Iterable<Fact>, fails: Uint8Array, compared: Uint8Array, { holds, denied }: Weighed): Found[] {
  const all = Array.from(fails.keys()).filter((n) => compared[n] || fails[n]);
  const bad = all.filter((n) => fails[n]);
  if (bad.length === 0) return [];
  const found: Found[] = [];
  for (const fact of facts) {
    if (!bad.every(fact.has)) {
      denied.add(fact.text);
      continue;
    }
    const having = all.filter(fact.has).length;
    if (having === all.length) continue;
    holds.set(fact.text, bad.length / having);
    found.push({ ...fact, exact: having === bad.length, having });
  }
  return found;
}

/** The same for the keys of a mask [B,G,N,N]. */
function ofKeys(scene: Scene, failing: Uint8Array, weighed: Weighed): readonly string[] {
  const { N } = scene;
  const [bad, all] = [new Uint8Array(scene.heads * N), new Uint8Array(scene.heads * N)];
  failing.forEach((level, at) => {
    if (level > 0) bad[Math.floor(at / (N * N)) * N + at % N] = 1;
  });
  for (let first = 0; first < bad.length; first += N) {
    if (bad.subarray(first, first + N).some((x) => x > 0)) all.fill(1, first, first + N);
  }
  const flat = function* (): Generator<Fact> {
    for (const { text, has } of keyFacts(scene, false)) yield { text, has: (n) => has(Math.floor(n / N), n % N) };
  };
  return matching(flat(), bad, all, weighed).sort((a, b) => a.having - b.having).map(({ text }) => text);
}
