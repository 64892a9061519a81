/**
 * Says what is wrong with someone's outputs, by comparing the first that fails with what each known mistake would have
 * made of it.
 *
 * A hypothesis is plausible if, over a sample of rows, it leaves less than a quarter of the deviation from the truth
 * unexplained (as the root of the sum of squares; for integers, nothing at all). Those believed are the plausible one
 * that leaves the least, and every other that leaves at most twice as much. If none explains all rows, those in the
 * heads that fail are looked at alone, then the rows that fail. A rounding whose order of summation is unknown is
 * believed if its errors have the sizes of those found over many rows (Sample.likeness).
 * @module
 */
import { backwardHypotheses } from './backward-hypotheses.ts';
import { cacheHypotheses } from './cache-hypotheses.ts';
import { failingOf, isInteger } from '../judge/compare.ts';
import { componentHypotheses } from './component-hypotheses.ts';
import { causeOf, DIAGNOSES, type DiagnosisName } from './diagnoses.ts';
import { forwardHypotheses } from './forward-hypotheses.ts';
import { factors, genericHypotheses, misplaced, oneKey, unwritten, wholeTerms } from './generic-hypotheses.ts';
import { type Hypotheses, type Hypothesis, mayHoldIn, type PartKind } from './hypothesis.ts';
import { expHypotheses } from './exp-hypotheses.ts';
import { foreignKeys, headReads, headSums } from './head-reads.ts';
import { inputHypotheses } from './input-hypotheses.ts';
import { integerHypotheses } from './integer-hypotheses.ts';
import { lseHypotheses } from './lse-hypotheses.ts';
import { movedHypotheses } from './moved-hypotheses.ts';
import { fittedHypotheses, termsHypotheses } from './terms-hypotheses.ts';
import { locate } from './location.ts';
import { Sample } from './sample.ts';
import { wrongLifetimes } from './wrong-lifetimes.ts';
import { rowSumHypotheses } from './wrong-pairs.ts';
import { pairMap } from '../judge/error-map.ts';
import { divergenceOf } from '../judge/outputs.ts';
import { holdsInBoth } from './consistency.ts';
import { pairRules } from './pair-rules.ts';
import { slopeTerms } from './slope-terms.ts';
import { solvedTerms } from './solved-terms.ts';
import { storageHypotheses } from './storage-hypotheses.ts';
import { Scene, type Sees } from './scene.ts';
import { partWeights } from './part-weights.ts';
import { rowWeights } from './row-weights.ts';
import { formulas } from './formulas.ts';
import { typeTermsHypotheses } from './type-terms.ts';
import { choiceHypotheses, scoreHypotheses } from './score-hypotheses.ts';
import { typeGradientHypotheses, typeInputHypotheses } from './type-hypotheses.ts';
import type { Diagnosis, Divergence, OutputName, TensorReport } from '../types.ts';
import type { Diagnose } from '../judge/verify.ts';
import { FACTS } from '../judge/facts.ts';
import { causeAt, wordsOf } from './wording.ts';

/** Hypotheses that are tried together. */
interface Pool {
  readonly known: () => Iterable<Hypothesis>;
  /** Whether they must explain nearly everything, of more than a few numbers, because they are fitted or many. */
  readonly tight?: boolean;
  /** Whether what they leave is but the rounding of sums. */
  readonly exact?: boolean;
  /** How many of the parts they are held against beside the whole. Default: all. */
  readonly parts?: number;
}

/** The share of the deviation that a plausible hypothesis may leave unexplained. */
const PLAUSIBLE = 0.25;
/** The same for one that is held only against the heads, or the rows, in which something fails. */
const PLAUSIBLE_IN_PART = 0.1;
/** The same where only a few numbers are off. */
const PLAUSIBLE_OF_FEW = 0.02;
/** The same where fewer numbers than FEW are off. */
const CERTAIN = 1e-3;
/** The share from which on another explanation is looked for, and how much less that one must leave. */
const LOOSE = 0.02;
const CLOSER = 0.1;
/** The outputs that are 0 only if nothing is written. */
const ATTENTION: readonly OutputName[] = ['out', 'lse', 'dv', 'dq', 'dk', 'cache_out'];
/** What says the name before it in other words. */
const SOLVED = ['window-other', 'local-other', 'pairs-hidden', 'pairs-seen', 'kv-other', 'group-other', 'elements-moved', 'evicts-some'];
/** Fewer numbers than this, in a part of an output, are explained by too many mistakes. */
const FEW = 8;

/** Hypotheses to believe, and the share of the deviation that the best of them leaves. */
interface Best {
  /** A new array, to which others are added. */
  readonly believed: Hypothesis[];
  readonly least: number;
}
const nothingFound = (): Best => ({ believed: [], least: Infinity });

const lifeHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N } = scene;
  if (output === 'mask') {
    const lost = scene.failing.findIndex((level) => level > 0) % N;
    const sees: Sees = (head, i, j) => scene.sees(head, i, j) && (j !== lost || i === j);
    yield { name: 'key-lost', sees, detail: `key ${lost}`, predict: (n) => [sees(Math.floor(n / (N * N)), Math.floor(n / N) % N, n % N) ? 1 : 0] };
  }
  for (const { name, sees, last, detail, also } of wrongLifetimes(scene)) {
    const more = { ...(detail !== undefined && { detail }), ...(also && { also }) };
    if (output === 'mask') {
      yield { name, sees, ...more, predict: (n) =>
        [sees(Math.floor(n / (N * N)), Math.floor(n / N) % N, n % N) ? 1 : 0] };
    } else if (last) yield { name, sees, ...more, predict: (n) => [last(Math.floor(n / N), n % N)] };
  }
};

const lseAndForward: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  yield* lseHypotheses(scene, output);
  yield* forwardHypotheses(scene, output);
};

const KNOWN: Readonly<Record<OutputName, Hypotheses>> = {
  types: choiceHypotheses, last: lifeHypotheses, mask: lifeHypotheses, out: forwardHypotheses, lse: lseAndForward,
  dv: backwardHypotheses, dq: backwardHypotheses, dk: backwardHypotheses, dm_rows: rowSumHypotheses,
  dw: typeGradientHypotheses, dl: typeGradientHypotheses, dg: typeGradientHypotheses, dscores: scoreHypotheses,
  cache_closed_by: cacheHypotheses, cache_evicted_at: cacheHypotheses, cache_live: cacheHypotheses,
  cache_out: cacheHypotheses, cache_bytes: cacheHypotheses,
};

/** Names the most likely mistake behind the first failing output, and says where it fails. */
export const diagnose: Diagnose = (oracleCase, outputs, reports, dtype) => {
  const report = reports.find(({ status }) => status === 'fail');
  if (!report) return { diagnosis: unusable(reports) };
  const output = report.name as OutputName;
  const failing = failingOf(report) ?? new Uint8Array(oracleCase.expected[output].data.length);
  const scene = new Scene(oracleCase, outputs, dtype, failing);
  const divergence = divergenceOf(oracleCase.expected, outputs, reports)!;
  const skip = new Set(oracleCase.notCompared[output] ?? []);
  const place = locate(scene, output, failing, skip);
  const first = report.first!;
  const { inHead, inRows, inFailing } = place;
  const samples = [new Sample(scene, output, { skip, first })];
  // Of whole numbers and of NaN, those that fail alone say too little: whatever changes them explains them.
  const finite = failing.every((level) => level < 10);
  const alone = finite && !isInteger(scene.expected[output]) && !place.everyRow;
  type Part = readonly [kind: PartKind, has: (at: number) => boolean];
  const parts: Part[] = [
    ...(place.everyHead ? [] : [['heads', inHead] as const]),
    ...(inRows && finite ? [['rows', (at: number) => inHead(at) && inRows(at)] as const] : []),
    ...(alone ? [['failing', inFailing] as const] : []),
  ];
  // Where a part of the components fails, the others are left out.
  const { inComponents } = place;
  const whole = parts.length;
  if (inComponents && finite && ATTENTION.includes(output)) parts.push(['components', inHead]);
  const within = (n: number): ((at: number) => boolean) | undefined => parts[n - 1]?.[1];
  const sampleOf = (n: number): Sample => (samples[n] ??= new Sample(scene, output, {
    skip: n > whole ? new Set([...skip, ...[...failing.keys()].filter((at) => !inComponents!(at % scene.d))]) : skip,
    first, ...(n > 0 && { within: within(n)! }),
  }));
  const known = (): Iterable<Hypothesis> => {
    const nothing = [...unwritten(scene, output)];
    const all = [...KNOWN[output](scene, output), ...misplaced(scene, output)];
    // dM and dscores may vanish by a mistake.
    return ATTENTION.includes(output) ? [...nothing, ...all] : [...all, ...nothing];
  };
  const pools: readonly Pool[] = [
    { known },
    { known: () => genericHypotheses(scene, output) },
    { known: () => [...movedHypotheses(scene, output), ...storageHypotheses(scene, output)], tight: true },
    { known: () => headReads(scene, output), tight: true, parts: 0 },
    { known: () => foreignKeys(scene, output), tight: true, parts: 0 },
    { known: () => headSums(scene, output), tight: true, parts: 0 },
    { known: () => inputHypotheses(scene, output), tight: true, parts: 1 },
    { known: () => formulas(scene, output), tight: true, exact: true, parts: 1 },
    { known: () => typeInputHypotheses(scene, output), tight: true, parts: 1 },
    { known: () => componentHypotheses(scene, output), tight: true, parts: 0 },
    { known: () => rowWeights(scene, output), tight: true, exact: true, parts: 1 },
    { known: () => (output === 'mask' ? [] : pairRules(scene, output)), tight: true, parts: 1 },
    { known: () => oneKey(scene, output) },
    { known: () => fittedHypotheses(scene, output), tight: true },
    { known: () => termsHypotheses(scene, output), tight: true },
    { known: () => solvedTerms(scene, output), tight: true, parts: 1 },
    { known: () => partWeights(scene, output), tight: true, exact: true, parts: 0 },
    { known: () => typeTermsHypotheses(scene, output), tight: true },
    { known: () => slopeTerms(scene, output), tight: true, parts: 1 },
    { known: () => expHypotheses(scene, output), tight: true, parts: 0 },
    { known: () => integerHypotheses(scene, output), parts: 0 },
  ];
  const inPart = (n: number, all: readonly Hypothesis[]): readonly Hypothesis[] =>
    (n === 0 ? all : all.filter(({ name }) => mayHoldIn(name, parts[n - 1][0])));
  const consistent = (n: number, { least, believed: all }: Best): Best =>
    ({ least, believed: all.filter((each) => holdsInBoth(scene, output, each, within(n))) });
  const { believed, n: foundIn } = firstOf(pools.flatMap(({ known: pool, tight, exact, parts: most }) => {
    let made: readonly Hypothesis[] | undefined; // each keeps what it computes
    return Array.from({ length: Math.min(most ?? Infinity, parts.length) + 1 }, (_, n) => ({ n, make: (): Best => {
      const sample = sampleOf(n);
      if ((n > 0 || tight) && sample.size < FEW) {
        if (pool !== known || !ATTENTION.includes(output)) return nothingFound();
        const nothing = best(sample, unwritten(scene, output), PLAUSIBLE_OF_FEW);
        if (nothing.believed.length > 0 || !finite || sample.off < 2) return nothing;
        return consistent(n, best(sample, inPart(n, made ??= [...pool()]), CERTAIN));
      }
      made ??= [...pool()];
      const few = sample.off < FEW || exact;
      const plausible = few ? PLAUSIBLE_OF_FEW : n > 0 || tight ? PLAUSIBLE_IN_PART : PLAUSIBLE;
      return consistent(n, best(sample, inPart(n, made), plausible));
    } }));
  }));
  // What is true of one case by chance is not of all: the solved pairs, or heads, are what the cases have in common.
  const somewhere = place.where.length > 0 && believed.some(({ name }) => causeOf(name) === 'mask');
  const solved = output === 'mask' || somewhere ? pairRules
    : believed.some(({ name }) => /^(gqa|kv)-/.test(name) && name !== 'kv-other') ? headReads
      : believed.some(({ name }) => /^group-(first|last)$/.test(name)) ? headSums
        : believed.some(({ name }) => name === 'batch-mixed') ? inputHypotheses : undefined;
  if (solved) believed.push(...best(sampleOf(0), solved(scene, output), PLAUSIBLE_IN_PART).believed);
  if (believed.length > 0 && believed[0].name !== 'factor') {
    believed.push(...best(sampleOf(foundIn), factors(scene, output, within(foundIn)), PLAUSIBLE_IN_PART).believed);
  }
  believed.push(...believed.length > 0 ? wholeTerms(scene, output, believed[0])
    : alike(sampleOf(Math.min(1, parts.length)), known()));
  const name = believed[0]?.name ?? (!isInteger(scene.expected[output]) && sampleOf(Math.min(1, parts.length)).hasNaN() ? 'nan' : 'unknown');
  const [only] = place.where;
  for (const [n, each] of believed.entries()) {
    if (each.name === 'zeros-in-part' && only !== undefined) believed[n] = { ...each, detail: only.replace('only ', '') };
  }
  const candidates = [...new Set([name, ...believed.map((each) => each.name)])];
  const { words, key } = wordsOf(scene, output, divergence, believed[0]?.sees);
  const said = (each: DiagnosisName): string => {
    const all = believed.filter((hypothesis) => hypothesis.name === each)
      .flatMap(({ detail, also = [] }) => (detail === undefined ? [] : [detail, ...also]));
    return `${DIAGNOSES[each]}${all.length > 0 ? ` (${[...new Set(all)].slice(0, 3).join(', or ')})` : ''}`;
  };
  const also = candidates.slice(1).filter((each) => !SOLVED.includes(each)).slice(0, 2).map(said);
  const like = name === 'unknown' ? 'Looks like nothing that the oracle knows'
    : `Looks like: ${said(name)}${also.length > 0 ? ` (or: ${also.join('; or: ')})` : ''}`;
  const found: Divergence = { ...divergence, ...(key !== undefined && divergence.key === undefined && { key }) };
  const { where, facts, spread } = place;
  const details: Record<string, string[]> = {};
  for (const { name: each, detail, also = [], kind } of believed) {
    if (detail !== undefined) (details[each] ??= []).push(...also, detail, ...kind === undefined ? [] : [kind]);
  }
  const { parameters: { kvHeads }, N } = scene;
  const sees = believed[0]?.sees;
  const head = (found.batch ?? 0) * kvHeads + (found.kvHead ?? Math.floor((found.head ?? 0) / scene.R));
  const pairs = sees && !isInteger(scene.expected[output])
    ? pairMap(N, (i, j) => scene.sees(head, i, j), (i, j) => sees(head, i, j)) : undefined;
  const diagnosis = { cause: causeAt(name, output), name, candidates, words: `${words}. ${like}`, where, facts, spread, details };
  const made = { ...diagnosis, ...(pairs && { pairs }) };
  const few = failing.reduce((count, level) => count + Number(level > 0), 0) < FEW;
  FACTS.set(made, { ...place.weighed, few });
  return { divergence: found, diagnosis: made };
};

/**
 * What the first that gives something gives, unless it leaves much unexplained and another one for the same rows
 * next to nothing. Roundings may leave much, by the order of sums.
 */
function firstOf(makers: readonly { readonly n: number; readonly make: () => Best }[]): Best & { readonly n: number } {
  let first: Best & { readonly n: number } | undefined;
  for (const { n, make } of makers) {
    if (first && n !== first.n) continue;
    const made = { ...make(), n };
    if (made.believed.length === 0) continue;
    if (!first) first = made;
    else if (made.least < CLOSER * first.least) return made;
    if (first.least < LOOSE || causeOf(first.believed[0].name) === 'rounding') return first;
  }
  return first ?? { ...nothingFound(), n: 0 };
}

/**
 * Roundings whose values depend on an unknown order, of sums or of maxima, and whose errors have the sizes of those
 * found, row by row: the most alike first.
 */
function alike(sample: Sample, known: Iterable<Hypothesis>): Hypothesis[] {
  const good: { hypothesis: Hypothesis; distance: number }[] = [];
  for (const hypothesis of known) {
    if (!/^(accumulated|probabilities)-/.test(hypothesis.name)) continue; // other roundings depend on no order
    const distance = sample.likeness(hypothesis);
    if (distance === undefined) continue;
    const sure = sample.narrow || sample.onGrid(hypothesis.name);
    const detail = 'by the size of its errors in many rows';
    good.push({
      hypothesis: sure ? { ...hypothesis, detail } : { ...hypothesis, name: 'imprecise', detail: `like ${DIAGNOSES[hypothesis.name]}` },
      distance,
    });
  }
  return good.sort((a, b) => a.distance - b.distance).map(({ hypothesis }) => hypothesis);
}

function unusable(reports: readonly TensorReport[]): Diagnosis {
  const bad = reports.find(({ status }) => status !== 'pass' && status !== 'skipped')!;
  const name = { 'missing': 'missing', 'wrong shape': 'wrong-shape', 'wrong dtype': 'wrong-dtype' }[bad.status as 'missing'];
  return { cause: 'unusable', name, candidates: [name], where: [], facts: [], words: `${bad.name}: ${bad.note}. ${DIAGNOSES[name as DiagnosisName]}` };
}

/** The hypotheses to believe, in the order in which they are known. */
function best(sample: Sample, known: Iterable<Hypothesis>, plausible: number): Best {
  const good: { hypothesis: Hypothesis; left: number }[] = [];
  for (const hypothesis of known) {
    const left = sample.unexplained(hypothesis, plausible);
    if (left < plausible) good.push({ hypothesis, left });
  }
  const least = Math.min(...good.map(({ left }) => left));
  return { least, believed: good.filter(({ left }) => left <= 2 * least + 1e-9).map(({ hypothesis }) => hypothesis) };
}
