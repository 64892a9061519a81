/**
 * Gradients in one product of which an input of another head or sequence is read, while the other products have the
 * right one: dq = dS k, dk = dS^T q, dv = A^T do, and P' = do v^T in dS.
 * @module
 */
import { slope, weightOf } from './backward-hypotheses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { MOST_KEPT, type Scene } from './scene.ts';

/** The head that is read for head h of batch b. */
type Source = (b: number, h: number, heads: number, B: number) => readonly [b: number, h: number];

const SOURCES: readonly (readonly [words: string, source: Source])[] = [
  ['batch 0', (_, h) => [0, h]],
  ['the next sequence', (b, h, _, B) => [(b + 1) % B, h]],
  ['the sequence before', (b, h, _, B) => [(b + B - 1) % B, h]],
  ['head 0', (b) => [b, 0]],
  ['the last head', (b, _, H) => [b, H - 1]],
  ['the next head', (b, h, H) => [b, (h + 1) % H]],
  ['the head before', (b, h, H) => [b, (h + H - 1) % H]],
  ['heads in reverse order', (b, h, H) => [b, H - 1 - h]],
];

/** dv, dq and dk with one operand from another place. */
export const productHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if ((output !== 'dv' && output !== 'dq' && output !== 'dk') || scene.N > MOST_KEPT) return;
  const { batch: B, kvHeads: G, queryHeads: H } = scene.parameters;
  const { R } = scene;
  const group = ['the first query head of the group', (b: number, h: number) => [b, h - h % R] as const] as const;
  const moved = (source: Source, heads: number): Int32Array => Int32Array.from({ length: B * heads }, (_, at) => {
    const [b, h] = source(Math.floor(at / heads), at % heads, heads, B);
    return b * heads + h;
  });
  const differs = (from: Int32Array): boolean => from.some((x, at) => x !== at);
  const own = output === 'dq' ? 'k' : output === 'dk' ? 'q' : 'dout';
  for (const [words, source] of own === 'k' ? SOURCES : [...SOURCES, group]) {
    const from = moved(source, own === 'k' ? G : H);
    if (!differs(from)) continue;
    yield {
      name: 'input-misread', detail: `${own}: ${words}, in the product that makes ${output}`,
      predict: (row) => gradient(scene, output, row, from, (query, key) => slope(scene, RIGHT, query, key)),
    };
  }
  if (output === 'dv') return;
  const change = (P: (query: number, key: number) => number) => (query: number, key: number): number =>
    weightOf(scene, RIGHT, query, key) * (P(query, key) - scene.D(query));
  const { N } = scene;
  for (const [words, source] of SOURCES) {
    const [ofKeys, ofQueries] = [moved(source, G), moved(source, H)];
    const at = (from: Int32Array, row: number): number => from[Math.floor(row / N)] * N + row % N;
    if (differs(ofQueries)) {
      const dS = change((query, key) => scene.gain(at(ofQueries, query), key));
      yield { name: 'input-misread', detail: `dout: ${words}, in P'`, predict: (row) => gradient(scene, output, row, undefined, dS) };
    }
    if (differs(ofKeys)) {
      const dS = change((query, key) => scene.gain(query, at(ofKeys, key)));
      yield { name: 'input-misread', detail: `v: ${words}, in P'`, predict: (row) => gradient(scene, output, row, undefined, dS) };
    }
  }
};

const RIGHT = { name: 'unknown' } as const;

function gradient(
  scene: Scene, output: 'dv' | 'dq' | 'dk', row: number, from: Int32Array | undefined,
  dS: (query: number, key: number) => number,
): Float64Array {
  const { N, d, parameters: { scale } } = scene;
  const total = new Float64Array(d);
  const add = (a: number, x: Float64Array, at: number): void => {
    const place = from ? from[Math.floor(at / N)] * N + at % N : at;
    for (let c = 0; c < d; c++) total[c] = total[c] + a * x[place * d + c];
  };
  if (output === 'dq') {
    const first = scene.headOf(row) * N;
    for (const j of scene.row(row).keys) add(scale * dS(row, first + j), scene.k, first + j);
    return total;
  }
  const [head, j] = [Math.floor(row / N), row % N];
  for (let i = j; i < N; i++) {
    if (!scene.sees(head, i, j)) continue;
    for (const query of scene.queriesOf(head, i)) {
      if (output === 'dv') add(weightOf(scene, RIGHT, query, row), scene.dout, query);
      else add(scale * dS(query, row), scene.q, query);
    }
  }
  return total;
}
