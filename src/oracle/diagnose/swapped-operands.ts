/**
 * Gradients with another tensor in the place of an operand, or with tiles of A or dS that are transposed, or not.
 * @module
 */
import { gradientsBy, slope, weightOf } from './backward-hypotheses.ts';
import type { Change } from './backward-change.ts';
import { remembered } from './backward-roundings.ts';
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import { MOST_KEPT, type Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

const RIGHT = { name: 'unknown' } as const;

export const swappedOperands: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if ((output !== 'dv' && output !== 'dq' && output !== 'dk') || scene.N > MOST_KEPT) return;
  yield* gradientsBy(scene, output, operands(scene, output));
  if (output !== 'dv') yield* gradientsBy(scene, output, products(scene));
  for (const tile of TILES) {
    if (tile < scene.N || tile === 16) yield transposed(scene, output, tile);
  }
};

/** Another operand of the last product. */
function* operands(scene: Scene, output: 'dv' | 'dq' | 'dk'): Generator<Change> {
  const { R, N, d } = scene;
  const out = scene.truth('out') as Float64Array;
  /** A tensor of KV heads, for each query head of the group; or one of query heads, of the first of each group. */
  const spread = (x: Float64Array): Float64Array => Float64Array.from({ length: scene.q.length }, (_, at) => {
    const row = Math.floor(at / d);
    return x[(scene.headOf(row) * N + row % N) * d + at % d];
  });
  const first = (x: Float64Array): Float64Array => Float64Array.from({ length: scene.k.length }, (_, at) => {
    const row = Math.floor(at / d);
    return x[(Math.floor(row / N) * R * N + row % N) * d + at % d];
  });
  const { q, k, v, dout } = scene;
  const scaled = (x: Float64Array, by: number): Float64Array => x.map((each) => by * each);
  const { scale } = scene.parameters;
  const [own, others] = {
    dq: ['k', [['v', v], ['q', first(q)], ['dout', first(dout)], ['out', first(out)]]] as const,
    dk: ['q', [['dout', dout], ['out', out], ['k', spread(k)], ['v', spread(v)]]] as const,
    dv: ['dout', [['q', q], ['out', out], ['k', spread(k)], ['v', spread(v)]]] as const,
  }[output];
  for (const [name, operand] of others) {
    const detail = `${name} in the place of ${own}, in the product that makes ${output}`;
    yield { name: 'other-tensor', detail, operand };
    if (output !== 'dv') yield { name: 'other-tensor', detail: `${detail}, without the scale`, operand: scaled(operand, 1 / scale) };
  }
}

/** Another operand of dP, of D or of S. */
function* products(scene: Scene): Generator<Change> {
  const { N, d, q, k, v, dout } = scene;
  const out = scene.truth('out') as Float64Array;
  const dot = (x: Float64Array, row: number, y: Float64Array, other: number): number => {
    let total = 0;
    for (let c = 0; c < d; c++) total += x[row * d + c] * y[other * d + c];
    return total;
  };
  const name = 'other-tensor';
  const keyOf = (query: number): number => scene.headOf(query) * N + query % N;
  const D = (of: (query: number) => number): Change['change'] => {
    const kept = remembered(of);
    return (query, key) => scene.gain(query, key) - kept(query);
  };
  const P = (x: Float64Array, y: Float64Array): Change['change'] => (query, key) => dot(x, query, y, key) - scene.D(query);
  yield { name, detail: 'k in the place of v, in dP', change: P(dout, k) };
  yield { name, detail: 'q in the place of dout, in dP', change: P(q, v) };
  yield { name, detail: 'out in the place of dout, in dP', change: P(out, v) };
  yield { name, detail: 'S in the place of dP', change: (query, key) => scene.parameters.scale * scene.product(query, key) - scene.D(query) };
  yield { name, detail: 'dout in the place of out, in D', change: D((query) => dot(dout, query, dout, query)) };
  yield { name, detail: 'out in the place of dout, in D', change: D((query) => dot(out, query, out, query)) };
  yield { name, detail: 'q in the place of dout, in D', change: D((query) => dot(q, query, out, query)) };
  yield { name, detail: 'q in the place of out, in D', change: D((query) => dot(dout, query, q, query)) };
  yield { name, detail: 'k in the place of out, in D', change: D((query) => dot(dout, query, k, keyOf(query))) };
  yield { name, detail: 'lse in the place of D', change: D((query) => scene.lse(query)) };
  yield { name, detail: 'D in the place of lse', weight: (query, S) => Math.exp(S - scene.D(query)) };
}

/** Tiles of A or dS as they should not be: not transposed in dk and dv, transposed in dq. */
function transposed(scene: Scene, output: OutputName, tile: number): Hypothesis {
  const { N, d, k, q, dout, parameters: { scale } } = scene;
  const what = output === 'dv' ? 'A' : 'dS';
  const how = output === 'dq' ? 'transposed' : 'not transposed';
  let total: Float64Array | undefined;
  const make = (): Float64Array => {
    const sums = new Float64Array(scene.truth(output).length);
    for (let query = 0; query < q.length / d; query++) {
      const [head, i] = [scene.headOf(query), query % N];
      for (const j of scene.row(query).keys) {
        const [key, row] = [j - j % tile + i % tile, i - i % tile + j % tile];
        if (key >= N || row >= N) continue;
        const at = head * N + j;
        const value = output === 'dv' ? weightOf(scene, RIGHT, query, at) : scale * slope(scene, RIGHT, query, at);
        const [to, x, from] = output === 'dq' ? [query - i + row, k, head * N + key]
          : [head * N + key, output === 'dk' ? q : dout, query - i + row];
        for (let c = 0; c < d; c++) sums[to * d + c] = sums[to * d + c] + value * x[from * d + c];
      }
    }
    return sums;
  };
  return {
    name: 'intermediate-misread', detail: `tiles of ${tile} of ${what} ${how}, in the product that makes ${output}`,
    predict: (row) => (total ??= make()).subarray(row * d, (row + 1) * d),
  };
}
