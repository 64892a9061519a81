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

/** Steps of the error between two powers of two, at which it may jump. */
const NODES = 12;
const FITTED = 48;

/** How much each node of a model adds to the relative error of exp(x). */
type Nodes = (x: number) => readonly (readonly [node: number, share: number])[];

/** Nodes of the fraction of the power of two, from 0 to 1. */
const periodic: Nodes = (x) => {
  if (!Number.isFinite(x)) return [];
  const at = (x * Math.LOG2E - Math.floor(x * Math.LOG2E)) * NODES;
  return [[Math.floor(at), 1 - at % 1], [Math.floor(at) + 1, at % 1]];
};

/** Nodes of the argument, as -x. The error at 0 changes nothing in out. */
const ARGUMENTS = [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5.5, 7, 10, 14, 20, 40, 90];
const byArgument: Nodes = (x) => {
  if (!Number.isFinite(x) || x > 0) return [];
  const next = ARGUMENTS.findIndex((y) => y > -x);
  if (next < 0) return [[ARGUMENTS.length - 1, 1]];
  const share = (-x - ARGUMENTS[next - 1]) / (ARGUMENTS[next] - ARGUMENTS[next - 1]);
  return [[next - 1, 1 - share], [next, share]];
};

/** What a unit of error at each node adds to a row before it is divided by its sum: width numbers, and the sum. */
function effects(scene: Scene, row: Row, width: number, tile: number, nodesOf: Nodes, size: number): Float64Array[] {
  const { N, d, v } = scene;
  const { E, Z } = attend(scene, row);
  const columns = Array.from({ length: size }, () => new Float64Array(width + 1));
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
          columns[node][width] += P * share;
          if (width > 1) for (let c = 0; c < d; c++) columns[node][c] += P * share * v[(row.from * N + j) * d + c];
        }
      }
    });
  });
  return columns;
}

/** The same of a row of dv, dq or dk, whose weights are exp(S - shift). */
function effectsBackward(
  scene: Scene, row: number, output: 'dv' | 'dq' | 'dk', shift: (query: number) => number, nodesOf: Nodes, size: number,
): Float64Array[] {
  const { d, N, q, k, dout, parameters: { scale } } = scene;
  const columns = Array.from({ length: size }, () => new Float64Array(d + 1));
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

/** How errors at nodes change rows. */
interface Model {
  readonly size: number;
  /** Whether nodes are of the argument of exp. */
  readonly argument: boolean;
  readonly of: (row: number) => Float64Array[];
}

/** What errors at the nodes do to each row, by what the argument of exp may be. */
function* models(scene: Scene, output: OutputName, width: number): Generator<Model> {
  for (const [argument, nodes, size] of [[false, periodic, NODES + 1], [true, byArgument, ARGUMENTS.length]] as const) {
    if (output === 'out' || output === 'lse') {
      for (const tile of [scene.N, ...TILES.filter((each) => each < scene.N)]) {
        yield { argument, size, of: (query) => effects(scene, scene.row(query), width, tile, nodes, size) };
      }
    } else if ((output === 'dv' || output === 'dq' || output === 'dk') && scene.N <= MOST_KEPT) {
      for (const shift of [(query: number) => scene.lse(query), (query: number) => scene.shift(query)]) {
        yield { argument, size, of: (row) => effectsBackward(scene, row, output, shift, nodes, size) };
      }
    }
  }
}

/** The error as a function of the argument, in words: at some nodes that rows tell of. */
function argumentWords(
  errors: readonly number[], told: readonly boolean[],
): { detail: string; also: readonly string[]; kind: string } {
  const at = (x: number): number => ARGUMENTS.indexOf(x);
  const shown = [1, 2, 4, 7].filter((x) => told[at(x)]);
  const squares = shown.slice(0, 3).map((x) => errors[at(x)] / x ** 2);
  const middle = squares.reduce((a, b) => a + b, 0) / squares.length;
  const square = squares.length > 1 && squares.every((x) => Math.abs(x - middle) < 0.15 * Math.abs(middle));
  const percents = shown.map((x) => `${Number((100 * errors[at(x)]).toPrecision(2))}% at -${x}`).join(', ');
  const kind = 'an error that is a function of the argument';
  const also = square ? [`by about ${middle < 0 ? '-' : ''}x^2 / ${Number((1 / Math.abs(middle)).toPrecision(2))}`] : [];
  return { detail: `off by ${percents}`, also, kind };
}

export const expHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const width = output === 'lse' ? 1 : scene.d;
  const [actual, truth] = [scene.outputs[output].data, scene.truth(output)];
  const failing = failingRows(scene, width);
  const rows = failing.filter((_, n) => n % Math.ceil(failing.length / FITTED) === 0);
  for (const { size, argument, of: model } of models(scene, output, width)) {
    if (rows.length * width < 2 * size) continue;
    const known = new Map<number, Float64Array[]>();
    const of = (row: number): Float64Array[] => {
      let made = known.get(row);
      if (!made) known.set(row, made = model(row));
      return made;
    };
    const matrix = Array.from({ length: size }, () => new Float64Array(size + 1));
    for (const row of rows) {
      const columns = of(row);
      for (let c = 0; c < width; c++) {
        const [a, t] = [actual[row * width + c], truth[row * width + c]];
        const off = output === 'lse' ? Math.exp(a - t) - 1 : a - t;
        if (!Number.isFinite(off)) return;
        // Of out, a (1 + the sum of errors) is t + their effects, which weights of 0 satisfy, too, unless the error
        // at 0 is none; of lse, only the sum tells.
        const about = argument ? a : t;
        const x = columns.map((column, n) => (
          output === 'lse' ? column[1] : argument && output === 'out' && n === 0 ? 0 : column[c] - about * column[width]));
        x.forEach((each, n) => {
          if (each === 0) return;
          x.forEach((other, b) => (matrix[n][b] += each * other));
          matrix[n][size] += each * off;
        });
      }
    }
    // A little of the identity, for nodes that no row tells of.
    const largest = Math.max(...matrix.map((each, n) => each[n]));
    const told = matrix.map((each, n) => each[n] > 1e-6 * largest);
    const errors = solved(matrix.map((each, n) => Array.from(each, (x, c) => (c === n ? x + 1e-9 * largest : x))));
    const most = Math.max(...(errors ?? [NaN]).map((x, n) => (told[n] ? Math.abs(x) : 0)));
    if (!errors || !(most < (argument ? 1e3 : 0.05))) continue;
    const near = Math.max(...errors.slice(0, 9).map((x, n) => (told[n] ? Math.abs(x) : 0)));
    yield {
      name: argument && near > 0.05 ? 'exp-function' : 'exp-approximate',
      ...argument ? argumentWords(errors, told) : { detail: `off by up to ${Number((100 * most).toPrecision(1))}%` },
      predict: (row) => {
        const columns = of(row);
        const sum = (c: number): number => columns.reduce((total, column, n) => total + errors[n] * column[c], 0);
        if (output === 'lse') return [truth[row] + Math.log(1 + sum(1))];
        const Z = 1 + sum(width);
        return Array.from({ length: width }, (_, c) => (truth[row * width + c] + sum(c)) / Z);
      },
    };
  }
};
