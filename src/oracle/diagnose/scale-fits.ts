/**
 * S off by one factor, which is solved for: in the forward, in the backward with the right lse, or in dM.
 * @module
 */
import { gradientsBy } from './backward-hypotheses.ts';
import { factorWords } from './factor-words.ts';
import { attend } from './forward-hypotheses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { failingRows } from './moved-hypotheses.ts';
import { ownForward } from './own-forward.ts';
import { logSum, MOST_KEPT, type Scene } from './scene.ts';
import { sumsOf } from './type-hypotheses.ts';
import { pairs, rowSum } from './wrong-pairs.ts';
import type { OutputName } from '../types.ts';

/** How many rows a factor is fitted to. */
const FITTED = 8;
/** The share of the deviation, as squares, that a factor may leave in the rows that it is fitted to. */
const LEFT = 1e-2;

/** What rows are, given the factor of S. */
interface Model {
  /** Where S is off, in words that follow a factor. */
  readonly where: string;
  readonly at: (factor: number) => (row: number) => ArrayLike<number>;
}

function* modelsOf(scene: Scene, output: OutputName): Generator<Model> {
  const { scale } = scene.parameters;
  if (output === 'out' || output === 'lse') {
    yield { where: '', at: (factor) => (row) => {
      const made = attend(scene, scene.row(row, { scale: factor * scale }));
      return output === 'lse' ? [made.lse] : made.out;
    } };
    return;
  }
  if (scene.N > MOST_KEPT) return;
  if (output === 'dv' || output === 'dq' || output === 'dk') {
    const only = output;
    for (const outer of output === 'dv' ? [false] : [false, true]) {
      yield { where: ', in the backward', at: (factor) => [...gradientsBy(scene, output, [{
        name: 'scale-off', only, factor: outer ? factor : 1,
        pairWeight: (query, key) => Math.exp(factor * scale * scene.product(query, key) - scene.lse(query)),
      }])][0].predict };
    }
    return;
  }
  if (!['dm_rows', 'dw', 'dl', 'dg'].includes(output)) return;
  const exact = scene.parameters.rule === 'exact';
  const right = (query: number): number => (exact ? scene.lse(query) : scene.causalLse(query));
  for (const own of [false, true]) {
    yield { where: ', for dM', at: (factor) => {
      const norms = new Map<number, number>();
      const norm = own ? (query: number): number => {
        let made = norms.get(query);
        if (made === undefined) {
          const row = scene.row(query, exact ? {} : { sees: (_, i, j) => j <= i });
          norms.set(query, made = logSum(row.S.map((S) => factor * S)));
        }
        return made;
      } : right;
      const wrong = { name: 'scale-off', at: pairs(scene, (query, S) => Math.exp(factor * S - norm(query))) } as const;
      return (output === 'dm_rows' ? rowSum(scene, wrong) : sumsOf(scene, output, wrong)).predict;
    } };
  }
}

/** S times a factor that is not 1, where one explains a few rows. */
export const scaleFits: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const actual = scene.outputs[output].data;
  const width = ['out', 'dv', 'dq', 'dk'].includes(output) ? scene.d : 1;
  const failing = failingRows(scene, width);
  const few = failing.filter((row, n) => n % Math.ceil(failing.length / FITTED) === 0
    && (output === 'dk' || output === 'dv' || width === 1 && output !== 'lse' || scene.row(row).keys.length > 0));
  if (few.length === 0) return;
  const truth = scene.truth(output);
  const squares = few.reduce((total, row) => {
    for (let c = 0; c < width; c++) total += (actual[row * width + c] - truth[row * width + c]) ** 2;
    return total;
  }, 0);
  if (!Number.isFinite(squares)) return;
  for (const { where, at } of modelsOf(scene, output)) {
    const { factor, off } = fitted((x) => {
      const predict = at(x);
      let total = 0;
      for (const row of few) {
        const made = predict(row);
        for (let c = 0; c < width; c++) total += (actual[row * width + c] - made[c]) ** 2;
      }
      return total;
    });
    if (Math.abs(factor - 1) < 1e-5 || !(off < LEFT * squares)) continue;
    const words = factorWords(scene, factor);
    const also = words.also.map((each) => `${each}${where}`);
    yield { name: 'scale-off', detail: `${words.detail}${where}`, also, predict: at(factor) };
  }
};

/** The factor for which `off` is least, between 1/16 and 16, of either sign. */
function fitted(off: (factor: number) => number): { readonly factor: number; readonly off: number } {
  let [factor, least] = [1, off(1)];
  const trying = (x: number): boolean => {
    const each = off(x);
    if (!(each < least)) return false;
    [factor, least] = [x, each];
    return true;
  };
  for (let n = -24; n <= 24; n++) trying(2 ** (n / 6));
  for (let n = -12; n <= 12; n++) trying(-(2 ** (n / 3)));
  let step = 2 ** (1 / 6);
  for (let n = 0; n < 60 && step > 1 + 1e-7; n++) {
    if (!trying(factor * step) && !trying(factor / step)) step = Math.sqrt(step);
  }
  return { factor, off: least };
}

/**
 * What a factor of lse, or of gradients, is by the scale: where all scores of a row are the same, another scale changes
 * nothing but that factor.
 */
export function* scaleOfFactor(scene: Scene, output: OutputName, { name, detail }: Hypothesis): Generator<Hypothesis> {
  const factor = Number(detail);
  if (name !== 'factor' || !Number.isFinite(factor) || scene.N > MOST_KEPT) return;
  const { N, d, parameters: { scale } } = scene;
  const options = { scale: factor * scale };
  const words = { detail: String(factor), also: factorWords(scene, factor).also };
  if (output === 'lse') {
    yield { name: 'scale-off', ...words, predict: (row) => [attend(scene, scene.row(row, options)).lse] };
  }
  if (output !== 'dq' && output !== 'dk') return;
  const out = scene.outputs.out?.data ?? scene.truth('out');
  for (let row = 0; row < out.length / d; row += Math.max(1, Math.floor(N / FITTED))) {
    const made = attend(scene, scene.row(row, options)).out;
    if (Array.from(made).some((x, c) => Math.abs(x - out[row * d + c]) > 1e-3 * (1e-3 + Math.abs(x)))) return;
  }
  yield* [...gradientsBy(scene, output, [{ name: 'scale-off', ...options, factor, ...ownForward(scene, options) }])]
    .map((each) => ({ ...each, ...words }));
}
