/**
 * Which hypotheses are tried on each output, and in which order.
 * @module
 */
import { backwardHypotheses } from './backward-hypotheses.ts';
import { cacheHypotheses } from './cache-hypotheses.ts';
import { carriedRows } from './carried-rows.ts';
import { componentHypotheses } from './component-hypotheses.ts';
import { forwardHypotheses } from './forward-hypotheses.ts';
import { genericHypotheses, lastWords, misplaced, oneKey, unwritten } from './generic-hypotheses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { expHypotheses } from './exp-hypotheses.ts';
import { foreignKeys, headReads, headSums } from './head-reads.ts';
import { inputHypotheses } from './input-hypotheses.ts';
import { integerHypotheses } from './integer-hypotheses.ts';
import { lseHypotheses, solvedLse } from './lse-hypotheses.ts';
import { movedHypotheses } from './moved-hypotheses.ts';
import { fittedHypotheses, termsHypotheses } from './terms-hypotheses.ts';
import { wrongLifetimes } from './wrong-lifetimes.ts';
import { rowSumHypotheses } from './wrong-pairs.ts';
import { pairRules } from './pair-rules.ts';
import { slopeTerms } from './slope-terms.ts';
import { lifeFormulas } from './life-formulas.ts';
import { solvedPairs } from './solved-pairs.ts';
import { solvedTerms } from './solved-terms.ts';
import { storageHypotheses } from './storage-hypotheses.ts';
import { Scene, type Sees } from './scene.ts';
import { partWeights } from './part-weights.ts';
import { rowWeights } from './row-weights.ts';
import { formulas } from './formulas.ts';
import { typeTermsHypotheses } from './type-terms.ts';
import { choiceHypotheses, scoreHypotheses } from './score-hypotheses.ts';
import { typeGradientHypotheses, typeInputHypotheses } from './type-hypotheses.ts';
import type { DiagnosisName } from './diagnoses.ts';
import type { OutputName } from '../types.ts';
import { scaleFits } from './scale-fits.ts';

/** Hypotheses that are tried together. */
export interface Pool {
  readonly known: () => Iterable<Hypothesis>;
  /** Whether they must explain nearly everything, of more than a few numbers, because they are fitted or many. */
  readonly tight?: boolean;
  /** Whether what they leave is but the rounding of sums. */
  readonly exact?: boolean;
  /** How many of the parts they are held against beside the whole. Default: all. */
  readonly parts?: number;
}

/** The outputs that are 0 only if nothing is written. */
export const ATTENTION: readonly OutputName[] = ['out', 'lse', 'dv', 'dq', 'dk', 'cache_out'];
/** Names of pairs, beside those of masks, that a rule which is solved for may say better. */
export const OF_PAIRS: readonly DiagnosisName[] = [
  'terms-weighed', 'normaliser-other', 'row-factor', 'backward-unmasked', 'query-lost',
];

/** Lifetimes and pairs by rules that are solved for. */
export const solvedRules: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  yield* lifeFormulas(scene, output);
  yield* solvedPairs(scene, output);
};

const lifeHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N } = scene;
  if (output === 'mask') {
    const lost = scene.failing.findIndex((level) => level > 0) % N;
    const sees: Sees = (head, i, j) => scene.sees(head, i, j) && (j !== lost || i === j);
    yield { name: 'key-lost', sees, detail: `key ${lost}`, also: lastWords(lost, N), predict: (n) => [sees(Math.floor(n / (N * N)), Math.floor(n / N) % N, n % N) ? 1 : 0] };
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

/**
 * The pools of an output, in the order in which they are tried. What a cache attends to is tried as rows of a forward
 * pass.
 */
export function poolsOf(scene: Scene, output: OutputName): readonly [Pool, ...Pool[]] {
  const known = (): Iterable<Hypothesis> => {
    const nothing = [...unwritten(scene, output)];
    const all = [...KNOWN[output](scene, output), ...misplaced(scene, output)];
    // dM and dscores may vanish by a mistake.
    return ATTENTION.includes(output) ? [...nothing, ...all] : [...all, ...nothing];
  };
  const [rows, as] = rowsOf(scene, output);
  return [
    { known },
    { known: () => genericHypotheses(scene, output) },
    { known: () => solvedLse(scene, output), tight: true, exact: true },
    { known: () => [...movedHypotheses(scene, output), ...storageHypotheses(scene, output)], tight: true },
    { known: () => carriedRows(scene, output), tight: true, exact: true, parts: 0 },
    { known: () => headReads(rows, as), tight: true, parts: 0 },
    { known: () => foreignKeys(rows, as), tight: true, parts: 0 },
    { known: () => headSums(rows, as), tight: true, parts: 0 },
    { known: () => inputHypotheses(rows, as), tight: true, parts: 1 },
    { known: () => formulas(rows, as), tight: true, exact: true, parts: 1 },
    { known: () => typeInputHypotheses(rows, as), tight: true, parts: 1 },
    { known: () => componentHypotheses(rows, as), tight: true, parts: 0 },
    { known: () => solvedRules(scene, output), tight: true, exact: true, parts: 1 },
    { known: () => rowWeights(rows, as), tight: true, exact: true, parts: 1 },
    { known: () => (as === 'mask' ? [] : pairRules(rows, as)), tight: true, parts: 1 },
    { known: () => oneKey(rows, as) },
    { known: () => [...scaleFits(rows, as), ...fittedHypotheses(scene, output)], tight: true },
    { known: () => termsHypotheses(rows, as), tight: true },
    { known: () => solvedTerms(rows, as), tight: true, parts: 1 },
    { known: () => partWeights(rows, as), tight: true, exact: true, parts: 0 },
    { known: () => typeTermsHypotheses(rows, as), tight: true },
    { known: () => slopeTerms(rows, as), tight: true, parts: 1 },
    { known: () => expHypotheses(rows, as), tight: true, parts: 0 },
    { known: () => integerHypotheses(rows, as), parts: 0 },
  ];
}

/** The rows that a cache attends to, as those of a forward pass without lse; other outputs as they are. */
export function rowsOf(scene: Scene, output: OutputName): readonly [Scene, OutputName] {
  if (output !== 'cache_out') return [scene, output];
  const { parameters, inputs, expected, outputs, dtype, failing } = scene;
  const made = { name: '', why: '', notCompared: {}, parameters, inputs, expected: { ...expected, out: expected.cache_out } };
  return [new Scene(made, { ...outputs, out: outputs.cache_out }, dtype, failing), 'out'];
}
