/**
 * Products over d of which some components count twice, or not at all: the algorithm itself with such products.
 * @module
 */
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { MOST_KEPT, type Scene } from './scene.ts';

/** How often the component c counts. */
interface Counts {
  readonly words: string;
  readonly times: (c: number) => number;
}

function* countsOf(d: number): Generator<Counts> {
  const of = (words: string, times: number, has: (c: number) => boolean): Counts =>
    ({ words: `${words} ${times === 0 ? 'left out' : 'twice'}`, times: (c) => (has(c) ? times : 1) });
  for (const width of [4, 8, 16, 32]) {
    const tail = d % width;
    if (tail === 0 || d <= width) continue;
    yield of(`the components that the last two vectors of ${width} share`, 2, (c) => c >= d - width && c < d - tail);
    yield of(`the components after the last whole vector of ${width}`, 2, (c) => c >= d - tail);
    yield of(`the last whole vector of ${width} components`, 0, (c) => c >= d - tail - width && c < d - tail);
  }
  if (d < 2) return;
  for (const times of [0, 2]) {
    yield of('the first component', times, (c) => c === 0);
    yield of('the last component', times, (c) => c === d - 1);
    yield of('the first half of the components', times, (c) => c < d >> 1);
    yield of('the second half of the components', times, (c) => c >= d >> 1);
    yield of('odd components', times, (c) => c % 2 === 1);
    yield of('even components', times, (c) => c % 2 === 0);
  }
}

/** A row of the forward pass, and P' - D of its keys. */
interface Attended {
  readonly keys: readonly number[];
  readonly A: readonly number[];
  readonly out: Float64Array;
  readonly lse: number;
  readonly change: readonly number[];
}

/** Which products are wrong. */
const WHERE = [['', true, true], [' in q . k', true, false], [' in P\' and D', false, true]] as const;

export const componentHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const forward = output === 'out' || output === 'lse' || output === 'cache_out';
  if ((!forward && output !== 'dv' && output !== 'dq' && output !== 'dk') || scene.N > MOST_KEPT) return;
  const { N, d } = scene;
  for (const { words, times } of countsOf(d)) {
    for (const [which, ofS, ofD] of forward ? WHERE.slice(1, 2) : WHERE) {
      if (output === 'dv' && !ofS) continue;
      const known = new Map<number, Attended>();
      const of = (query: number): Attended => {
        let made = known.get(query);
        if (!made) known.set(query, made = attended(scene, query, times, ofS, ofD && !forward));
        return made;
      };
      yield { name: 'terms-weighed', detail: `${words}${which}`, predict: (row) => {
        if (output === 'lse') return [of(row).lse];
        return forward ? of(row).out : gradient(scene, output, row, of);
      } };
    }
  }

  function gradient(
    { q, k, dout, parameters: { scale } }: Scene, of: 'dv' | 'dq' | 'dk', row: number, at: (query: number) => Attended,
  ): Float64Array {
    const total = new Float64Array(d);
    const add = (a: number, x: Float64Array, from: number): void => {
      for (let c = 0; c < d; c++) total[c] = total[c] + a * x[from * d + c];
    };
    const [head, j] = [Math.floor(row / N), row % N];
    if (of === 'dq') {
      const { keys, A, change } = at(row);
      keys.forEach((key, n) => add(scale * A[n] * change[n], k, scene.headOf(row) * N + key));
      return total;
    }
    for (let i = j; i < N; i++) {
      if (!scene.sees(head, i, j)) continue;
      for (const query of scene.queriesOf(head, i)) {
        const { keys, A, change } = at(query);
        const n = keys.indexOf(j);
        if (of === 'dv') add(A[n], dout, query);
        else add(scale * A[n] * change[n], q, query);
      }
    }
    return total;
  }
};

function attended(scene: Scene, query: number, times: Counts['times'], ofS: boolean, ofD: boolean): Attended {
  const { N, d, q, k, v, dout, parameters: { scale } } = scene;
  const row = scene.row(query);
  const dot = (x: Float64Array, from: number, y: Float64Array, at: number): number => {
    let total = 0;
    for (let c = 0; c < d; c++) total += times(c) * x[from * d + c] * y[at * d + c];
    return total;
  };
  const S = ofS ? row.keys.map((j) => scale * dot(q, query, k, row.from * N + j)) : row.S;
  const m = Math.max(...S);
  const lse = m + Math.log(S.reduce((sum, x) => sum + Math.exp(x - m), 0));
  const A = S.map((x) => Math.exp(x - lse));
  const out = scene.weigh(row, A);
  if (dout.length === 0) return { keys: row.keys, A, out, lse, change: [] };
  const gain = (j: number): number =>
    (ofD ? dot(dout, query, v, row.from * N + j) : scene.gain(query, row.from * N + j));
  let D = 0;
  for (let c = 0; c < d; c++) D += (ofD ? times(c) : 1) * dout[query * d + c] * out[c];
  return { keys: row.keys, A, out, lse, change: row.keys.map((j) => gain(j) - D) };
}
