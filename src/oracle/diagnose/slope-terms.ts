/**
 * dS = A (dP - D) of which dP, D or both count another number of times, which is fitted: in dq, dk and sums of dM.
 * @module
 */
import { gradientsBy } from './backward-hypotheses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { failingRows } from './moved-hypotheses.ts';
import { MOST_KEPT } from './scene.ts';
import { factorWords } from './factor-words.ts';
import { oftenness } from './terms-hypotheses.ts';
import { sumsOf } from './type-hypotheses.ts';
import { pairs, rowSum } from './wrong-pairs.ts';

/** The most rows by which the two numbers are fitted. */
const FITTED = 16;

export const slopeTerms: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const ofTypes = ['dm_rows', 'dw', 'dl', 'dg'].includes(output);
  if ((!ofTypes && output !== 'dq' && output !== 'dk') || scene.N > MOST_KEPT) return;
  const width = ofTypes ? 1 : scene.d;
  const failing = failingRows(scene, width);
  if (failing.length * width < 8 || failing.length < 3) return;
  const actual = scene.outputs[output].data;
  const norm = (query: number): number => (scene.parameters.rule === 'exact' ? scene.lse(query) : scene.causalLse(query));
  const weight = (query: number, S: number): number => Math.exp(S - norm(query));
  const part = (change: (query: number, key: number) => number): Hypothesis => {
    if (!ofTypes) return [...gradientsBy(scene, output, [{ name: 'terms-weighed', only: output, change }])][0];
    const wrong = { name: 'terms-weighed', at: pairs(scene, weight, change) } as const;
    return output === 'dm_rows' ? rowSum(scene, wrong) : sumsOf(scene, output, wrong);
  };
  const [ofP, ofD] = [part((query, key) => scene.gain(query, key)), part((query) => scene.D(query))];
  const rows = failing.filter((_, n) => n % Math.ceil(failing.length / FITTED) === 0);
  let [pp, pd, dd, pa, da] = [0, 0, 0, 0, 0];
  for (const row of rows) {
    const [P, D] = [ofP.predict(row), ofD.predict(row)];
    for (let c = 0; c < width; c++) {
      const a = actual[row * width + c];
      pp += P[c] * P[c];
      pd += P[c] * D[c];
      dd += D[c] * D[c];
      pa += P[c] * a;
      da += D[c] * a;
    }
  }
  const det = pp * dd - pd * pd;
  const [alpha, beta] = [(pa * dd - da * pd) / det, (pa * pd - da * pp) / det];
  if (!(det > 1e-6 * pp * dd) || !Number.isFinite(alpha + beta)) return;
  const near = (x: number, y: number): boolean => Math.abs(x - y) < 2e-3;
  if ((near(alpha, 1) && near(beta, 1)) || near(alpha, beta)) return;
  const [p, d] = [factorWords(scene, alpha), factorWords(scene, beta)];
  const said = (which: string, factor: number, { detail, also }: typeof p): readonly string[] =>
    (near(factor, 1) ? [] : near(factor, 0) ? [`${which} left out`] : near(factor, -1) ? [`${which} with the other sign`]
      : [`${which} times ${also[0] ?? detail}`]);
  const all = [...said('dP', alpha, p), ...said('D', beta, d)].join(', ');
  const kinds = [...near(alpha, 1) ? [] : [`dP ${oftenness(alpha)}`], ...near(beta, 1) ? [] : [`D ${oftenness(beta)}`]];
  yield {
    name: 'terms-weighed', detail: `in dS, ${all}`, kind: `in dS, ${kinds.join(', ')}`,
    predict: (row) => {
      const [P, D] = [ofP.predict(row), ofD.predict(row)];
      return Array.from({ length: width }, (_, c) => alpha * P[c] - beta * D[c]);
    },
  };
};
