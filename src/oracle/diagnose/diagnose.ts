/**
 * Says what is wrong with someone's outputs, by comparing the first that fails with what each known mistake would have
 * made of it.
 *
 * A hypothesis is plausible if, over a sample of rows, it leaves less than a tenth of the deviation from the truth
 * unexplained, a rounding less than a quarter (as the root of the sum of squares; for integers, nothing at all). Those
 * believed are the plausible one that leaves the least, and every other that leaves at most twice as much. If none
 * explains all rows, those in the heads that fail are looked at alone, then the rows that fail. A rounding whose order
 * of summation is unknown is believed if its errors have the sizes of those found over many rows (Sample.likeness).
 * @module
 */
import { failingOf, isInteger } from '../judge/compare.ts';
import { causeOf, DIAGNOSES, type DiagnosisName } from './diagnoses.ts';
import { factors, unwritten, wholeTerms } from './generic-hypotheses.ts';
import { type Hypothesis, mayHoldIn, type PartKind } from './hypothesis.ts';
import { headReads, headSums } from './head-reads.ts';
import { inputHypotheses } from './input-hypotheses.ts';
import { locate } from './location.ts';
import { formulas } from './formulas.ts';
import { ATTENTION, OF_PAIRS, poolsOf, rowsOf, solvedRules } from './pools.ts';
import { refutedNames } from './refuted.ts';
import { scaleFits, scaleOfFactor } from './scale-fits.ts';
import { Sample } from './sample.ts';
import { pairMap } from '../judge/error-map.ts';
import { divergenceOf } from '../judge/outputs.ts';
import { holdsInBoth } from './consistency.ts';
import { pairRules } from './pair-rules.ts';
import { Scene } from './scene.ts';
import type { Diagnosis, Divergence, OutputName, TensorReport } from '../types.ts';
import type { Diagnose } from '../judge/verify.ts';
import { FACTS } from '../judge/facts.ts';
import { causeAt, wordsOf } from './wording.ts';

/** The share of the deviation that a plausible rounding may leave unexplained. */
const PLAUSIBLE = 0.25;
/** The same for another mistake, and for what is held only against the heads, or the rows, in which something fails. */
const PLAUSIBLE_IN_PART = 0.1;
/** The same where only a few numbers are off. */
const PLAUSIBLE_OF_FEW = 0.02;
/** The same where fewer numbers than FEW are off. */
const CERTAIN = 1e-3;
/** The share from which on another explanation is looked for, and how much less that one must leave. */
const LOOSE = 0.02;
const CLOSER = 0.1;
/** The gradients of types, for which formulas are many. */
const OF_TYPES: readonly OutputName[] = ['dm_rows', 'dw', 'dl', 'dg', 'dscores'];
/** A name of another formula for an output as a whole, or that says as much. */
const isFormula = ({ name }: Hypothesis): boolean => /-other$|^other-tensor$|-moved$|^factor$|^sign$|^zeros/.test(name);
/** What says the name before it in other words. */
const SOLVED = ['window-other', 'local-other', 'pairs-hidden', 'pairs-seen', 'kv-other', 'group-other', 'elements-moved', 'evicts-some', 'lifetimes-other'];
/** Fewer numbers than this, in a part of an output, are explained by too many mistakes. */
const FEW = 8;

/** Hypotheses to believe, and the share of the deviation that the best of them leaves. */
interface Best {
  /** A new array, to which others are added. */
  readonly believed: Hypothesis[];
  readonly least: number;
}
const nothingFound = (): Best => ({ believed: [], least: Infinity });

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
  const wrong = failing.reduce((count, level) => count + Number(level > 0), 0);
  const pools = poolsOf(scene, output);
  const [{ known }] = pools;
  const inPart = (n: number, all: readonly Hypothesis[]): readonly Hypothesis[] =>
    (n === 0 ? all : all.filter(({ name }) => mayHoldIn(name, parts[n - 1][0])));
  const consistent = (n: number, { least, believed: all }: Best): Best =>
    ({ least, believed: all.filter((each) => holdsInBoth(scene, output, each, within(n))) });
  const { believed, n: foundIn } = firstOf(pools.flatMap(({ known: pool, tight, exact, parts: most }) => {
    let made: readonly Hypothesis[] | undefined; // each keeps what it computes
    return Array.from({ length: Math.min(most ?? Infinity, parts.length) + 1 }, (_, n) => ({ n, make: (): Best => {
      const sample = sampleOf(n);
      if ((n > 0 || tight) && sample.size < FEW) {
        if (exact && n === 0 && wrong > 1) return consistent(n, best(sample, made ??= [...pool()], CERTAIN));
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
  const [told] = believed;
  const ruled = told && (causeOf(told.name) === 'mask' || OF_PAIRS.includes(told.name)) && sampleOf(foundIn).size >= FEW;
  if (ruled && !believed.some(({ ofRule }) => ofRule)) {
    const all = best(sampleOf(foundIn), inPart(foundIn, [...solvedRules(scene, output)]), PLAUSIBLE_OF_FEW);
    believed.push(...consistent(foundIn, all).believed);
  }
  // What is true of one case by chance is not of all: the solved pairs, or heads, are what the cases have in common.
  const somewhere = place.where.length > 0 && believed.some(({ name }) => causeOf(name) === 'mask');
  const solved = output === 'mask' || somewhere ? pairRules
    : believed.some(({ name }) => /^(gqa|kv)-/.test(name) && name !== 'kv-other') ? headReads
      : believed.some(({ name }) => /^group-(first|last)$/.test(name)) ? headSums
        : believed.some(({ name }) => name === 'batch-mixed') ? inputHypotheses : undefined;
  if (solved) believed.push(...best(sampleOf(0), solved(scene, output), PLAUSIBLE_IN_PART).believed);
  const factor = believed.find(({ name }) => name === 'factor');
  if (believed.some(({ name }) => name.startsWith('scale-') && name !== 'scale-off')) {
    believed.push(...best(sampleOf(foundIn), scaleFits(...rowsOf(scene, output)), PLAUSIBLE_IN_PART).believed);
  } else if (factor) {
    believed.push(...best(sampleOf(foundIn), scaleOfFactor(scene, output, factor), PLAUSIBLE_IN_PART).believed);
  }
  if (believed.length > 0 && OF_TYPES.includes(output) && sampleOf(0).size >= FEW && !believed.some(isFormula)) {
    // What explains all is more than what explains a part.
    const { believed: all } = best(sampleOf(0), formulas(scene, output), PLAUSIBLE_OF_FEW);
    believed.splice(foundIn > 0 ? 0 : believed.length, 0, ...all);
  }
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
  const few = wrong < FEW;
  FACTS.set(made, { ...place.weighed, few, ...few && { refuted: refutedNames(sampleOf(0), known()) } });
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
    // Roundings depend on the order of sums; what does not is explained more nearly.
    const most = causeOf(hypothesis.name) === 'rounding' ? plausible : Math.min(plausible, PLAUSIBLE_IN_PART);
    const left = sample.unexplained(hypothesis, most);
    if (left < most) good.push({ hypothesis, left });
  }
  const least = Math.min(...good.map(({ left }) => left));
  return { least, believed: good.filter(({ left }) => left <= 2 * least + 1e-9).map(({ hypothesis }) => hypothesis) };
}
