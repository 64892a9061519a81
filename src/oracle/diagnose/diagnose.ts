/**
 * Says what is wrong with someone's outputs, by comparing the first that fails with what each known mistake would have
 * made of it.
 *
 * A hypothesis is plausible if, over a sample of rows, it leaves less than a quarter of the deviation from the truth
 * unexplained (as the root of the sum of squares; for integers, nothing at all). Those believed are the plausible one
 * that leaves the least, and every other that leaves at most twice as much.
 * @module
 */
import { backwardHypotheses, rowSumHypotheses } from './backward-hypotheses.ts';
import { cacheHypotheses } from './cache-hypotheses.ts';
import { isInteger } from '../judge/compare.ts';
import { causeOf, DIAGNOSES, type DiagnosisName } from './diagnoses.ts';
import { forwardHypotheses } from './forward-hypotheses.ts';
import { genericHypotheses, misplaced } from './generic-hypotheses.ts';
import { type Hypotheses, type Hypothesis, rowWidth } from './hypothesis.ts';
import { wrongLifetimes } from './wrong-lifetimes.ts';
import { divergenceOf } from '../judge/outputs.ts';
import { Scene } from './scene.ts';
import { choiceHypotheses, scoreHypotheses, typeGradientHypotheses } from './type-hypotheses.ts';
import type { Diagnosis, Divergence, OutputName, TensorReport } from '../types.ts';
import type { Diagnose } from '../judge/verify.ts';
import { wordsOf } from './wording.ts';

/** The share of the deviation that a plausible hypothesis may leave unexplained. */
const PLAUSIBLE = 0.25;

const lifeHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N } = scene;
  for (const { name, sees, last } of wrongLifetimes(scene)) {
    if (output === 'mask') {
      yield { name, sees, predict: (n) => [sees(Math.floor(n / (N * N)), Math.floor(n / N) % N, n % N) ? 1 : 0] };
    } else if (last) yield { name, sees, predict: (n) => [last(Math.floor(n / N), n % N)] };
  }
};

const KNOWN: Readonly<Record<OutputName, Hypotheses>> = {
  types: choiceHypotheses, last: lifeHypotheses, mask: lifeHypotheses, out: forwardHypotheses, lse: forwardHypotheses,
  dv: backwardHypotheses, dq: backwardHypotheses, dk: backwardHypotheses, dm_rows: rowSumHypotheses,
  dw: typeGradientHypotheses, dl: typeGradientHypotheses, dg: typeGradientHypotheses, dscores: scoreHypotheses,
  cache_closed_by: cacheHypotheses, cache_evicted_at: cacheHypotheses, cache_live: cacheHypotheses,
  cache_out: cacheHypotheses, cache_bytes: cacheHypotheses,
};

/** Names the most likely mistake behind the first failing output. */
export const diagnose: Diagnose = (oracleCase, outputs, reports, dtype) => {
  const report = reports.find(({ status }) => status === 'fail');
  if (!report) return { diagnosis: unusable(reports) };
  const scene = new Scene(oracleCase, outputs, dtype);
  const output = report.name as OutputName;
  const divergence = divergenceOf(oracleCase.expected, outputs, reports)!;
  const sample = new Sample(scene, output, report, oracleCase.notCompared[output] ?? []);
  const pools = [[...KNOWN[output](scene, output), ...misplaced(scene, output)], genericHypotheses(scene, output)];
  const believed = pools.map((known) => best(sample, known)).find(({ length }) => length > 0) ?? [];
  const name = believed[0]?.name ?? sample.lastResort();
  const candidates = [...new Set([name, ...believed.map((each) => each.name)])];
  const { words, key } = wordsOf(scene, output, divergence, believed[0]?.sees);
  const also = candidates.slice(1, 3).map((each) => DIAGNOSES[each]);
  const like = name === 'unknown' ? 'Looks like nothing that the oracle knows'
    : `Looks like: ${DIAGNOSES[name]}${also.length > 0 ? ` (or: ${also.join('; or: ')})` : ''}`;
  const cause = name === 'unknown' && output.startsWith('cache') && isInteger(scene.expected[output]) ? 'cache' : causeOf(name);
  const found: Divergence = { ...divergence, ...(key !== undefined && divergence.key === undefined && { key }) };
  return { divergence: found, diagnosis: { cause, name, candidates, words: `${words}. ${like}` } };
};

function unusable(reports: readonly TensorReport[]): Diagnosis {
  const bad = reports.find(({ status }) => status !== 'pass' && status !== 'skipped')!;
  const name = { 'missing': 'missing', 'wrong shape': 'wrong-shape', 'wrong dtype': 'wrong-dtype' }[bad.status as 'missing'];
  return { cause: 'unusable', name, candidates: [name], words: `${bad.name}: ${bad.note}. ${DIAGNOSES[name as DiagnosisName]}` };
}

/** The hypotheses to believe, in the order in which they are known. */
function best(sample: Sample, known: Iterable<Hypothesis>): Hypothesis[] {
  const good: { hypothesis: Hypothesis; left: number }[] = [];
  for (const hypothesis of known) {
    const left = sample.unexplained(hypothesis);
    if (left < PLAUSIBLE) good.push({ hypothesis, left });
  }
  const least = Math.min(...good.map(({ left }) => left));
  return good.filter(({ left }) => left <= 2 * least + 1e-9).map(({ hypothesis }) => hypothesis);
}

/** Rows of an output to look at: the first that fails, some of those furthest off, and some spread over all. */
class Sample {
  readonly #scene: Scene;
  readonly #output: OutputName;
  readonly #width: number;
  readonly #rows: readonly number[];
  readonly #skip: ReadonlySet<number>;
  readonly #exact: boolean;
  readonly #squares: number;

  constructor(scene: Scene, output: OutputName, report: TensorReport, skip: readonly number[]) {
    const truth = scene.expected[output];
    this.#scene = scene;
    this.#output = output;
    this.#width = rowWidth(output, scene.d);
    this.#skip = new Set(skip);
    this.#exact = isInteger(truth) && output !== 'cache_bytes';
    const count = truth.data.length / this.#width;
    const all = Array.from({ length: count }, (_, row) => row);
    if (this.#exact) this.#rows = all;
    else {
      const off = Float64Array.from(all, (row) => this.#deviation(row));
      const worst = all.filter((row) => off[row] > 0).sort((a, b) => off[b] - off[a] || a - b);
      const most = scene.N > 1000 ? 4 : 10;
      const spread = Array.from({ length: 2 * most }, (_, n) => Math.floor((n + 0.5) * count / (2 * most)));
      const furthest = Array.from({ length: most }, (_, n) => worst[Math.floor(n * worst.length / (2 * most))] ?? 0);
      this.#rows = [...new Set([Math.floor(report.first! / this.#width), ...furthest, ...spread])];
    }
    this.#squares = this.#rows.reduce((sum, row) => sum + this.#deviation(row) ** 2, 0);
  }

  #numbers(row: number, use: (actual: number, truth: number, n: number) => boolean | void): boolean {
    const [actual, truth] = [this.#scene.outputs[this.#output].data, this.#scene.truth(this.#output)];
    for (let c = 0; c < this.#width; c++) {
      const at = row * this.#width + c;
      if (this.#skip.has(at)) continue;
      if (use(actual[at], truth[at], c) === false) return false;
    }
    return true;
  }

  /** The distance to the truth. An output that is not finite counts as being as far off as the truth is from 0. */
  #deviation(row: number): number {
    let squares = 0;
    this.#numbers(row, (actual, truth) => {
      const off = Number.isFinite(actual) ? actual - truth : Math.abs(truth) + 1e-6;
      squares += Number.isFinite(off) ? off * off : 0;
    });
    return Math.sqrt(squares);
  }

  /** The share of the deviation that a hypothesis leaves unexplained, or Infinity if it is not plausible. */
  unexplained({ predict }: Hypothesis): number {
    const most = PLAUSIBLE * PLAUSIBLE * this.#squares;
    const clip = this.#output === 'last' ? (x: number): number => Math.min(x, this.#scene.N - 1) : (x: number): number => x;
    let left = 0;
    for (const row of this.#rows) {
      const made = predict(row);
      const fits = this.#numbers(row, (actual, _, n) => {
        const [a, p] = [clip(actual), clip(made[n])];
        if (Object.is(a, p) || a === p) return;
        if (this.#exact || !Number.isFinite(a) || !Number.isFinite(p)) return false;
        left += (a - p) ** 2;
        return left <= most;
      });
      if (!fits) return Infinity;
    }
    return Math.sqrt(left / this.#squares);
  }

  /** The diagnosis if no known mistake explains the sample: NaN, too little precision, or unknown. */
  lastResort(): DiagnosisName {
    if (this.#exact) return 'unknown';
    let [squares, of, nan] = [0, 0, false];
    for (const row of this.#rows) {
      this.#numbers(row, (actual, truth) => {
        if (!Number.isFinite(actual)) nan = true;
        else [squares, of] = [squares + (actual - truth) ** 2, of + truth * truth];
      });
    }
    if (nan) return 'nan';
    const relative = Math.sqrt(squares / of);
    if (relative > 2 ** -5 || this.#scene.dtype === 'f64') return 'unknown';
    return relative > 2 ** -8 ? 'accumulated-bf16' : relative > 2 ** -14 ? 'accumulated-f16' : 'precision';
  }
}

