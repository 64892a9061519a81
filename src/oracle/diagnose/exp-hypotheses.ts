/**
 * An exp that is approximated: its relative error as a function of the fraction of the power of two, found by least
 * squares from the errors of many rows.
 * @module
 */
import { slope, weightOf } from './backward-hypotheses.ts';
import { attend } from './forward-hypotheses.ts';
import { solved } from './head-reads.ts';
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import { failingRows } from './moved-hypotheses.ts';
import { MOST_KEPT, type Row, type Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** Nodes of the error between two powers of two, at which it is the same. */
const NODES = 12;
const FITTED = 48;

/** How much each node adds to the relative error of exp(x). */
function nodesOf(x: number): readonly (readonly [node: number, share: number])[] {
  if (!Number.isFinite(x)) return [];
  const at = (x * Math.LOG2E - Math.floor(x * Math.LOG2E)) * NODES;
  const low = Math.floor(at) % NODES;
  return [[low, 1 - at % 1], [(low + 1) % NODES, at % 1]];
}

/** What a unit of error at each node does to a row: a column of `width` numbers for each. */
function effects(scene: Scene, row: Row, output: 'out' | 'lse', tile: number): Float64Array[] {
  const { d, N, v } = scene;
  const { E, Z, out } = attend(scene, row);
  const width = output === 'lse' ? 1 : d;
  const columns = Array.from({ length: NODES }, () => new Float64Array(width));
  const tileOf = (j: number): number => Math.floor(j / tile);
  /** The running maximum of the tiles, and the steps by which it grows. */
  const maxima = new Map<number, number>();
  let m = -Infinity;
  row.keys.forEach((j, n) => {
    m = Math.max(m, row.S[n]);
    maxima.set(tileOf(j), m);
  });
  const steps = [...maxima.values()];
  [...maxima.keys()].forEach((t, place) => {
    const factors = steps.slice(place, -1).map((x, n) => x - steps[place + n + 1]);
    row.keys.forEach((j, n) => {
      if (tileOf(j) !== t) return;
      const P = E[n] / Z;
      if (P === 0) return;
      for (const x of [row.S[n] - maxima.get(t)!, ...factors]) {
        for (const [node, share] of nodesOf(x)) {
          if (output === 'lse') columns[node][0] += P * share;
          else for (let c = 0; c < d; c++) columns[node][c] += P * share * (v[(row.from * N + j) * d + c] - out[c]);
        }
      }
    });
  });
  return columns;
}

/** The same of a row of dv, dq or dk, whose weights are exp(S - shift). */
function effectsBackward(
  scene: Scene, row: number, output: 'dv' | 'dq' | 'dk', shift: (query: number) => number,
): Float64Array[] {
  const { d, N, q, k, dout, parameters: { scale } } = scene;
  const columns = Array.from({ length: NODES }, () => new Float64Array(d));
  const right = { name: 'unknown' } as const;
  const add = (query: number, key: number): void => {
    const [x, at] = output === 'dv' ? [dout, query] : output === 'dk' ? [q, query] : [k, key];
    const a = output === 'dv' ? weightOf(scene, right, query, key) : scale * slope(scene, right, query, key);
    if (a === 0) return;
    for (const [node, share] of nodesOf(scale * scene.product(query, key) - shift(query))) {
      for (let c = 0; c < d; c++) columns[node][c] += a * share * x[at * d + c];
    }
  };
  if (output === 'dq') {
    const { head, keys } = scene.row(row);
    for (const j of keys) add(row, head * N + j);
    return columns;
  }
  const [head, j] = [Math.floor(row / N), row % N];
  for (let i = j; i < N; i++) if (scene.sees(head, i, j)) for (const query of scene.queriesOf(head, i)) add(query, row);
  return columns;
}

/** What errors at the nodes do to each row, by what the argument of exp may be. */
function* models(scene: Scene, output: OutputName): Generator<(row: number) => Float64Array[]> {
  if (output === 'out' || output === 'lse') {
    for (const tile of [scene.N, ...TILES.filter((each) => each < scene.N)]) {
      yield (query) => effects(scene, scene.row(query), output, tile);
    }
  } else if ((output === 'dv' || output === 'dq' || output === 'dk') && scene.N <= MOST_KEPT) {
    yield (row) => effectsBackward(scene, row, output, (query) => scene.lse(query));
    yield (row) => effectsBackward(scene, row, output, (query) => scene.shift(query));
  }
}

export const expHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const width = output === 'lse' ? 1 : scene.d;
  const [actual, truth] = [scene.outputs[output].data, scene.truth(output)];
  const failing = failingRows(scene, width);
  const rows = failing.filter((_, n) => n % Math.ceil(failing.length / FITTED) === 0);
  if (rows.length * width < 4 * NODES) return;
  for (const model of models(scene, output)) {
    const known = new Map<number, Float64Array[]>();
    const of = (row: number): Float64Array[] => {
      let made = known.get(row);
      if (!made) known.set(row, made = model(row));
      return made;
    };
    const matrix = Array.from({ length: NODES }, () => new Float64Array(NODES + 1));
    for (const row of rows) {
      const columns = of(row);
      for (let c = 0; c < width; c++) {
        const off = actual[row * width + c] - truth[row * width + c];
        if (!Number.isFinite(off)) return;
        columns.forEach((column, a) => {
          columns.forEach((other, b) => (matrix[a][b] += column[c] * other[c]));
          matrix[a][NODES] += column[c] * off;
        });
      }
    }
    // A little of the identity, for nodes that no row tells of.
    const least = 1e-9 * Math.max(...matrix.map((each, n) => each[n]));
    const errors = solved(matrix.map((each, n) => Array.from(each, (x, c) => (c === n ? x + least : x))));
    const most = Math.max(...(errors ?? [1]).map(Math.abs));
    if (!errors || !(most < 0.05)) continue;
    yield {
      name: 'exp-approximate', detail: `off by up to ${Number((100 * most).toPrecision(1))}%`,
      predict: (row) => Array.from({ length: width }, (_, c) =>
        of(row).reduce((sum, column, n) => sum + errors[n] * column[c], truth[row * width + c])),
    };
  }
};
