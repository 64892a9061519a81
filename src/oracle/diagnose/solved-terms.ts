/**
 * How often each term of the sums counts, solved for: terms are put into classes (by key or query modulo a tile, by
 * tile, by the distance of tiles, by type, by how long a key has been hidden) and one factor for each class is found by
 * least squares. Right are 1 for what is visible and 0 for what is hidden.
 * @module
 */
import { slope, weightOf } from './backward-hypotheses.ts';
import { chunkOf, TOKEN_TYPE_NAMES } from '../../core/lifetime.ts';
import { solved } from './head-reads.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { failingRows } from './moved-hypotheses.ts';
import { MOST_KEPT, type Scene } from './scene.ts';
import { oftenness } from './terms-hypotheses.ts';
import type { OutputName } from '../types.ts';

/** Classes of pairs. */
interface Classes {
  readonly size: number;
  /** The class of a pair; -1 counts as often as it must. */
  readonly of: (head: number, i: number, j: number) => number;
  /** What right factors are. */
  readonly right: 0 | 1;
  /** In words, classes that count otherwise. */
  readonly words: (off: readonly number[]) => string;
}

/** The terms of a row by class, and the weights of out that belong to them. */
interface Split {
  readonly parts: readonly Float64Array[];
  readonly weights: Float64Array;
}

/** The share of the deviation, as squares, that the factors may leave in the rows that they are fitted to. */
const LEFT = 1e-3;
/** How far back a tile of keys is. */
const DISTANCES = ['of the query\'s own tile', 'one tile back', 'two tiles back', 'further back'];
/** As many factors may differ from each other. */
const DISTINCT = 2;

/** Numbers in words: "3", "3 or 7", "16 to 31". */
function listed(all: readonly number[]): string {
  const [first, last] = [all[0], all.at(-1)!];
  if (all.length > 2 && last - first === all.length - 1) return `${first} to ${last}`;
  return all.length > 4 ? `${all.slice(0, 4).join(', ')} and more` : all.join(' or ');
}

function* classesOf(scene: Scene, output: OutputName): Generator<Classes> {
  const { N, parameters: { chunk: C } } = scene;
  const gradient = output === 'dv' || output === 'dk';
  const [many, letter, at] = gradient ? ['queries', 'i', (i: number, _: number) => i] as const : ['keys', 'j', (_: number, j: number) => j] as const;
  for (const own of [true, false]) {
    const of = (find: (i: number, j: number) => number, size: number) => (_: number, i: number, j: number): number =>
      (own || i !== j ? find(i, j) : size);
    const which = own ? many : gradient ? 'later queries' : 'earlier keys';
    for (const tile of [2, 4, 8, 16, 32, 64]) {
      if (tile >= N) continue;
      yield {
        size: tile + 1, right: 1, of: of((i, j) => at(i, j) % tile, tile),
        words: (off) => wordsOf(off, tile, which, (all) => (
          all.length === 1 && all[0] === tile - 1 && tile > 4 ? `the last of each tile of ${tile} ${which}`
            : all.length === 1 && all[0] === 0 && tile > 4 ? `the first of each tile of ${tile} ${which}`
              : tile === 2 ? `${all[0] === 1 ? 'odd' : 'even'} ${which}` : `${which} ${letter} % ${tile} = ${listed(all)}`)),
      };
    }
    for (const tile of [16, 32, 64]) {
      const size = Math.ceil(N / tile);
      if (size < 2 || size > 20) continue;
      yield {
        size: size + 1, right: 1, of: of((i, j) => Math.floor(at(i, j) / tile), size),
        words: (off) => wordsOf(off, size, which, (all) => {
          if (all.length > 1 && all.every((n, m) => n % 2 === all[0] % 2 && (m === 0 || n === all[m - 1] + 2))) {
            return `${which} of ${all[0] % 2 ? 'odd' : 'even'} tiles of ${tile}`;
          }
          return `${which} ${listed(all.map((n) => n * tile))}${all.length === 1 ? ` to ${all[0] * tile + tile - 1}` : ''}, tile ${listed(all)} of ${tile}`;
        }),
      };
    }
  }
  for (const tile of [8, 16, 32, 64]) {
    if (tile >= N) continue;
    yield {
      size: 4, right: 1, of: (_, i, j) => Math.min(3, Math.floor(i / tile) - Math.floor(j / tile)),
      words: (off) => `keys ${off.map((n) => DISTANCES[n]).join(' and ')}, in tiles of ${tile}`,
    };
  }
  const typeOf = (head: number, j: number): number => scene.plan(head).own[chunkOf(j, C)];
  yield {
    size: 6, right: 1, of: (head, i, j) => 2 * typeOf(head, j) + Number(i > j),
    words: (off) => off.map((n) => `${TOKEN_TYPE_NAMES[n >> 1 as 0]} keys ${n % 2 ? 'before the query' : 'at the query'}`).join(', '),
  };
  const ages = ['for the first time', 'for the second time', 'up to eight rows ago', 'longer'];
  yield {
    size: 12, right: 0,
    of: (head, i, j) => {
      const age = i - scene.last[head * N + j];
      return j <= i && age > 0 ? 4 * typeOf(head, j) + (age === 1 ? 0 : age === 2 ? 1 : age <= 8 ? 2 : 3) : -1;
    },
    words: (off) => `${off.map((n) => `${TOKEN_TYPE_NAMES[n >> 2 as 0]} keys hidden ${ages[n % 4]}`).join(', ')}, though hidden`,
  };
  yield {
    size: 6, right: 0,
    of: (_, i, j) => {
      const tile = [8, 16, 32, 64, 128].findIndex((size) => Math.floor(i / size) === Math.floor(j / size));
      return j <= i ? -1 : tile < 0 ? 5 : tile;
    },
    words: (off) => `later keys of the query's own tile of ${[8, 16, 32, 64, 128][Math.max(...off)] ?? 'more'}, though hidden`,
  };
}

function wordsOf(
  off: readonly number[], own: number, which: string, say: (all: readonly number[]) => string,
): string {
  const all = off.filter((n) => n !== own);
  return [...all.length > 0 ? [say(all)] : [], ...off.length > all.length ? [`the ${which.replace(/^(earlier|later) /, '').replace(/s$|ies$/, (x) => (x === 's' ? '' : 'y'))} itself`] : []].join(' and ');
}

export const solvedTerms: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N, d } = scene;
  if (!['out', 'cache_out', 'dv', 'dq', 'dk'].includes(output) || N > MOST_KEPT) return;
  const failing = failingRows(scene, d);
  const [actual, truth] = [scene.outputs[output].data, scene.truth(output)];
  const forward = output === 'out' || output === 'cache_out';
  if (output === 'dq' || output === 'dk') yield* ofD(scene, output, failing);
  for (const classes of classesOf(scene, output)) {
    const { size, right } = classes;
    const many = Math.max(12, Math.ceil(4 * size / d));
    const rows = failing.filter((_, n) => n % Math.ceil(failing.length / many) === 0);
    if (rows.length * d < 2 * size || rows.length < 3) continue;
    const split = (row: number): Split => splitOf(scene, output, row, classes);
    const factors = fitted(rows, classes, split);
    if (!factors) continue;
    const off = [...factors.keys()].filter((n) => factors[n] !== right);
    const distinct = new Set(off.map((n) => factors[n].toPrecision(2)));
    if (off.length === 0 || distinct.size > DISTINCT || (right === 1 && off.length === size)) continue;
    const told = [...distinct].map((x) => off.filter((n) => factors[n].toPrecision(2) === x));
    const detail = told.map((each) => {
      const factor = factors[each[0]];
      const times = right === 0 ? (Math.abs(factor - 1) < 0.02 ? ' count' : ` count times ${factor.toPrecision(3)}`)
        : factor === 0 ? ': left out' : `: times ${Number(factor.toPrecision(3))}`;
      return `${classes.words(each)}${times}`;
    }).join('; ');
    const kind = told.map((each) => `${classes.words(each)}: ${oftenness(factors[each[0]])}`).join('; ');
    yield { name: 'terms-weighed', detail, kind, predict: (row) => {
      const { parts, weights } = split(row);
      const made = truth.slice(row * d, (row + 1) * d) as Float64Array;
      let Z = 1;
      for (const n of off) {
        Z += (factors[n] - right) * weights[n];
        for (let c = 0; c < d; c++) made[c] = made[c] + (factors[n] - right) * parts[n][c];
      }
      return forward ? made.map((x) => x / Z) : made;
    } };
  }

  function fitted(
    rows: readonly number[], { size, right }: Classes, split: (row: number) => Split,
  ): number[] | undefined {
    const matrix = Array.from({ length: size }, () => new Array<number>(size + 1).fill(0));
    const columns = rows.map((row) => {
      const { parts, weights } = split(row);
      // Of out, the sum over classes of (f - right) (part - weight a) is a - truth.
      return parts.map((part, n) => (forward ? part.map((x, c) => x - weights[n] * actual[row * d + c]) : part));
    });
    let squares = 0;
    for (const [n, row] of rows.entries()) {
      for (let c = 0; c < d; c++) {
        const off = actual[row * d + c] - truth[row * d + c];
        if (!Number.isFinite(off)) return undefined;
        squares += off * off;
        for (let a = 0; a < size; a++) {
          const x = columns[n][a][c];
          if (x === 0) continue;
          for (let b = a; b < size; b++) matrix[a][b] = matrix[a][b] + x * columns[n][b][c];
          matrix[a][size] = matrix[a][size] + x * off;
        }
      }
    }
    const most = Math.max(...matrix.map((each, n) => each[n]));
    if (!(most > 0)) return undefined;
    matrix.forEach((each, a) => {
      for (let b = 0; b < a; b++) each[b] = matrix[b][a];
      each[a] = each[a] + 1e-7 * most;
    });
    const changes = solved(matrix);
    if (!changes?.every(Number.isFinite)) return undefined;
    let factors = changes.map((x) => x + right);
    if (forward && right === 1) { // only the ratios of weights count
      const middle = [...factors].sort((a, b) => a - b)[size >> 1];
      if (!(middle > 0)) return undefined;
      factors = factors.map((x) => x / middle);
    }
    factors = factors.map((x) => (Math.abs(x) < 0.02 ? 0 : Math.abs(x - 1) < 0.02 ? 1 : x));
    let left = 0;
    for (const [n, row] of rows.entries()) {
      for (let c = 0; c < d; c++) {
        let rest = actual[row * d + c] - truth[row * d + c];
        for (let a = 0; a < size; a++) rest -= (factors[a] - right) * columns[n][a][c];
        left += rest * rest;
      }
    }
    return left < LEFT * squares ? factors : undefined;
  }
};

function splitOf(scene: Scene, output: OutputName, row: number, { of, size, right }: Classes): Split {
  const { N, d, parameters: { scale } } = scene;
  const parts = Array.from({ length: size }, () => new Float64Array(d));
  const weights = new Float64Array(size);
  const wrong = { name: 'unknown' } as const;
  const add = (n: number, a: number, x: Float64Array, at: number): void => {
    const part = parts[n];
    for (let c = 0; c < d; c++) part[c] = part[c] + a * x[at * d + c];
  };
  if (output === 'dv' || output === 'dk') {
    const [head, j] = [Math.floor(row / N), row % N];
    for (let i = right === 0 ? 0 : j; i < N; i++) {
      if (scene.sees(head, i, j) !== (right === 1)) continue;
      const n = of(head, i, j);
      if (n < 0) continue;
      for (const query of scene.queriesOf(head, i)) {
        if (output === 'dv') add(n, weightOf(scene, wrong, query, row), scene.dout, query);
        else add(n, scale * slope(scene, wrong, query, row), scene.q, query);
      }
    }
    return { parts, weights };
  }
  const [head, i] = [scene.headOf(row), row % N];
  for (let j = 0; j < (right === 0 ? N : i + 1); j++) {
    if (scene.sees(head, i, j) !== (right === 1)) continue;
    const n = of(head, i, j);
    if (n < 0) continue;
    const key = head * N + j;
    if (output === 'dq') add(n, scale * slope(scene, wrong, row, key), scene.k, key);
    else {
      const weight = scene.weight(row, key);
      if (!Number.isFinite(weight)) continue;
      weights[n] = weights[n] + weight;
      add(n, weight, scene.v, key);
    }
  }
  return { parts, weights };
}

/** D more or less often than once. */
function* ofD(scene: Scene, output: 'dq' | 'dk', failing: readonly number[]): Generator<Hypothesis> {
  const { N, d, parameters: { scale } } = scene;
  const [actual, truth] = [scene.outputs[output].data, scene.truth(output)];
  const part = (row: number): Float64Array => {
    const total = new Float64Array(d);
    const add = (query: number, key: number, x: Float64Array, at: number): void => {
      const a = -scale * scene.weight(query, key) * scene.D(query);
      for (let c = 0; c < d; c++) total[c] = total[c] + a * x[at * d + c];
    };
    if (output === 'dq') {
      const first = scene.headOf(row) * N;
      for (const j of scene.row(row).keys) add(row, first + j, scene.k, first + j);
    } else {
      const [head, j] = [Math.floor(row / N), row % N];
      for (let i = j; i < N; i++) {
        if (!scene.sees(head, i, j)) continue;
        for (const query of scene.queriesOf(head, i)) add(query, row, scene.q, query);
      }
    }
    return total;
  };
  let [both, own] = [0, 0];
  for (const row of failing.filter((_, n) => n % Math.ceil(failing.length / 12) === 0)) {
    part(row).forEach((x, c) => {
      both += x * (actual[row * d + c] - truth[row * d + c]);
      own += x * x;
    });
  }
  const factor = 1 + both / own;
  if (!Number.isFinite(factor) || Math.abs(factor - 1) < 1e-3) return;
  const times = Math.abs(factor + 1) < 1e-3 ? 'added instead of subtracted' : `subtracted ${Number(factor.toPrecision(3))} times`;
  const scaled = Math.abs(factor - scale) < 1e-3 * scale ? ['D multiplied by the scale'] : Math.abs(factor * scale - 1) < 1e-3 ? ['D divided by the scale'] : [];
  yield { name: 'terms-weighed', detail: `D, ${times}`, also: scaled, kind: `D: ${oftenness(factor)}`, predict: (row) =>
    part(row).map((x, c) => truth[row * d + c] + (factor - 1) * x) };
}
