/**
 * Wrong forward passes (§3): out, lse and cache_out.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import { wrongLifetimes } from './wrong-lifetimes.ts';
import { forwardRoundings } from './rounding-hypotheses.ts';
import type { Made } from './softmax.ts';
import type { Row, RowOptions, Scene } from './scene.ts';
import { mergedForwards } from './softmax-merges.ts';
import { wrongMaxima } from './wrong-maxima.ts';

/** Makes the hypothesis that computes each row by `make`. */
type By = (name: DiagnosisName, make: (query: number) => Made, detail?: string) => Hypothesis;

/** The results of a correct softmax of a row, with its intermediate values. */
interface Parts extends Made {
  readonly m: number;
  readonly E: readonly number[];
  readonly Z: number;
}

const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);

/** §3 of a row. */
export function attend(scene: Scene, row: Row, values?: Float64Array): Parts {
  const m = Math.max(...row.S);
  const E = row.S.map((x) => scene.exp(x - m));
  const Z = sum(E);
  return { m, E, Z, out: scene.weigh(row, E.map((x) => x / Z), values), lse: m + Math.log(Z) };
}

export const forwardHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const pick = output === 'lse' ? ({ lse }: Made) => [lse] : ({ out }: Made) => out;
  const by: By = (name, make, detail) =>
    ({ name, predict: (query) => pick(make(query)), ...(detail !== undefined && { detail }) });
  const changed = (name: DiagnosisName, options: (head: number, query: number) => RowOptions): Hypothesis =>
    by(name, (query) => attend(scene, scene.row(query, options(scene.headOf(query), query))));
  for (const { name, sees, detail, also } of wrongLifetimes(scene)) {
    yield { ...changed(name, () => ({ sees })), sees, ...(detail !== undefined && { detail }), ...(also && { also }) };
  }
  yield* wrongHeads(scene, changed);
  const { scale, headDim: d } = scene.parameters;
  yield changed('scale-own', () => ({ scale: 1 / Math.sqrt(d) }));
  yield changed('scale-forgotten', () => ({ scale: 1 }));
  yield changed('scale-twice', () => ({ scale: scale * scale }));
  yield changed('scale-inverted', () => ({ scale: 1 / scale }));
  yield* wrongLse(scene, by);
  yield* wrongOnline(scene, by);
  yield* mergedForwards(scene, by);
  yield* notFinite(scene, by);
  yield* wrongSoftmax(scene, by);
  yield* wrongMaxima(scene, by);
  for (const width of [2, 4, 8, 16, 32]) {
    const dims = d - d % width;
    if (dims === d) continue;
    yield changed('dim-tail', () => ({ dims }));
    yield by('dim-tail', (query) => {
      const { out, lse } = attend(scene, scene.row(query, { dims }));
      return { out: Array.from(out, (x, c) => (c < dims ? x : 0)), lse };
    });
    yield by('dim-tail', (query) => {
      const { out, lse } = attend(scene, scene.row(query));
      return { out: Array.from(out, (x, c) => (c < dims ? x : 0)), lse };
    });
  }
  yield* outside(scene, by);
  yield* forwardRoundings(scene, by);
};

/** Products that read beyond d, exp2 for exp, and an lse without its last tile. */
function* outside(scene: Scene, by: By): Generator<Hypothesis> {
  const { N, q, k } = scene;
  const { headDim: d, scale } = scene.parameters;
  for (const padded of new Set([2 ** Math.ceil(Math.log2(d)), ...[4, 8, 16].map((n) => Math.ceil(d / n) * n)])) {
    if (padded === d) continue;
    yield by('dim-padding', (query) => {
      const row = scene.row(query);
      const S = row.keys.map((j) => {
        let total = 0;
        for (let c = 0; c < padded; c++) total += (q[query * d + c] ?? 0) * (k[(row.from * N + j) * d + c] ?? 0);
        return scale * total;
      });
      return attend(scene, { ...row, S });
    });
  }
  for (const inLse of [false, true]) {
    yield by('exp2-weights', (query) => {
      const row = scene.row(query);
      const { out, lse } = attend(scene, { ...row, S: row.S.map((x) => x * Math.LN2) });
      const m = Math.max(...row.S);
      return { out, lse: inLse ? lse / Math.LN2 : m + Math.log(sum(row.S.map((x) => 2 ** (x - m)))) };
    });
  }
  for (const tile of TILES) {
    yield by('lse-last-tile', (query) => {
      const row = scene.row(query);
      const S = row.S.filter((_, n) => row.keys[n] < row.i - row.i % tile);
      const right = attend(scene, row);
      return S.length === 0 ? right : { out: right.out, lse: attend(scene, { ...row, S }).lse };
    });
  }
}

function* wrongHeads(
  scene: Scene, changed: (name: DiagnosisName, options: (head: number, query: number) => RowOptions) => Hypothesis,
): Generator<Hypothesis> {
  const { batch: B, kvHeads: G, queryHeads: H } = scene.parameters;
  const others: readonly (readonly [DiagnosisName, (head: number, query: number) => number])[] = [
    ['gqa-modulo', (head, query) => head - head % G + Math.floor(query / scene.N) % H % G],
    ['kv-reversed', (head) => head - head % G + G - 1 - head % G],
    ['kv-first', (head) => head - head % G],
    ['batch-mixed', (head) => (head + G) % (B * G)],
    ['batch-mixed', (head) => head % G],
  ];
  for (const [name, other] of others) {
    yield changed(name, (head, query) => ({ from: other(head, query) }));
    yield changed(name, (head, query) => {
      const from = other(head, query);
      return { from, sees: (_, i, j) => scene.sees(from, i, j) };
    });
  }
}

function* wrongLse(scene: Scene, by: By): Generator<Hypothesis> {
  const lse = (name: DiagnosisName, of: (parts: Parts) => number): Hypothesis => by(name, (query) => {
    const parts = attend(scene, scene.row(query));
    return { out: parts.out, lse: of(parts) };
  });
  yield lse('lse-no-log', ({ m, Z }) => m + Z);
  yield lse('lse-no-log', ({ Z }) => Z);
  yield lse('lse-no-log', (parts) => Math.exp(parts.lse));
  yield lse('lse-base-2', (parts) => parts.lse * Math.LOG2E);
  yield lse('lse-base-2', ({ m, Z }) => m + Math.log2(Z));
  yield lse('lse-no-max', ({ Z }) => Math.log(Z));
  yield lse('lse-max-only', ({ m }) => m);
}

function* wrongOnline(scene: Scene, by: By): Generator<Hypothesis> {
  for (const tile of [...TILES, 1, 4, 2]) {
    for (const name of ['online-output', 'online-sum', 'online-stale', 'exp2-rescaling'] as const) {
      for (const later of name === 'online-stale' ? [false, true] : [false]) {
        yield by(name, (query) => online(scene, scene.row(query), name, tile, later));
      }
    }
  }
}

/**
 * Online softmax over tiles of keys in ascending order, with one rescaling forgotten.
 *
 * @param later Whether a stale maximum is made up for in later tiles.
 */
function online(
  scene: Scene, row: Row, name: 'online-output' | 'online-sum' | 'online-stale' | 'exp2-rescaling', tile: number, later: boolean,
): Made {
  let [m, Z] = [-Infinity, 0];
  const o = new Float64Array(scene.d);
  for (let at = 0; at < row.keys.length;) {
    const t = Math.floor(row.keys[at] / tile);
    let end = at;
    while (end < row.keys.length && Math.floor(row.keys[end] / tile) === t) end++;
    const part = { ...row, keys: row.keys.slice(at, end), S: row.S.slice(at, end) };
    const top = Math.max(m, ...part.S);
    const alpha = m === -Infinity ? 0 : name === 'exp2-rescaling' ? 2 ** (m - top) : scene.exp(m - top);
    const weigh = name === 'online-stale' && m !== -Infinity ? m : top;
    const E = part.S.map((x) => scene.exp(x - weigh));
    const kept = later && name === 'online-stale' ? 1 : alpha;
    Z = Z * (name === 'online-sum' ? 1 : kept) + sum(E);
    scene.weigh(part, E).forEach((x, c) => (o[c] = o[c] * (name === 'online-output' ? 1 : kept) + x));
    m = later && name === 'online-stale' && m !== -Infinity ? m : top;
    at = end;
  }
  return { out: o.map((x) => x / Z), lse: m + Math.log(Z) };
}

/** Rows that include hidden keys (the causal ones, or all), and which of their keys are visible. */
function wideRows(scene: Scene): { rows: readonly ((query: number) => Row)[]; seen: (row: Row) => boolean[] } {
  const causal = (query: number): Row => scene.row(query, { sees: (_, i, j) => j <= i });
  const all = (query: number): Row => scene.row(query, { sees: () => true });
  return { rows: [causal, all], seen: (row) => row.keys.map((j) => scene.sees(row.head, row.i, j)) };
}

function* wrongSoftmax(scene: Scene, by: By): Generator<Hypothesis> {
  const { rows, seen } = wideRows(scene);
  yield by('max-missing', (query) => {
    const row = scene.row(query);
    const E = row.S.map((x) => scene.exp(x));
    const Z = Math.fround(sum(E));
    return { out: scene.weigh(row, E.map(Math.fround)).map((x) => Math.fround(x) / Z), lse: Math.log(Z) };
  });
  const tiled = TILES.filter((tile) => tile < 2 * scene.N).map((tile) => (query: number): Row =>
    scene.row(query, { sees: (_, i, j) => j < Math.floor(i / tile) * tile + tile }));
  for (const wide of [...rows, ...tiled]) {
    for (const nothing of [NaN, 0]) { // what is left where every weight underflows
      yield by('max-causal', (query) => {
        const row = scene.row(query);
        const m = Math.max(...wide(query).S);
        const E = row.S.map((x) => scene.exp(x - m));
        const Z = sum(E);
        return { out: scene.weigh(row, E).map((x) => (Z === 0 ? nothing : x / Z)), lse: m + Math.log(Z) };
      });
    }
  }
  for (const wide of rows) {
    for (const low of [1e4, 1e3, 1e2, 1e9]) {
      yield by('finite-mask', (query) => {
        const row = wide(query);
        const see = seen(row);
        return attend(scene, { ...row, S: row.S.map((x, n) => (see[n] ? x : -low)) });
      });
      yield by('finite-mask', (query) => {
        const row = wide(query);
        const see = seen(row);
        return attend(scene, { ...row, S: row.S.map((x, n) => (see[n] ? x : x - low)) });
      });
    }
    yield by('mask-times-logits', (query) => {
      const row = wide(query);
      const see = seen(row);
      return attend(scene, { ...row, S: row.S.map((x, n) => (see[n] ? x : 0)) });
    });
    yield by('normalised-by-all', (query) => {
      const row = wide(query);
      const see = seen(row);
      const { E, Z, lse } = attend(scene, row);
      return { out: scene.weigh(row, E.map((x, n) => (see[n] ? x / Z : 0))), lse };
    });
  }
  yield by('not-normalised', (query) => {
    const row = scene.row(query);
    const { E, lse } = attend(scene, row);
    return { out: scene.weigh(row, E), lse };
  });
  yield by('values-from-keys', (query) => attend(scene, scene.row(query), scene.k));
}

/** Numbers that are not finite in hidden keys, and -infinity minus -infinity. */
function* notFinite(scene: Scene, by: By): Generator<Hypothesis> {
  const { N } = scene;
  const { rows, seen } = wideRows(scene);
  const nothing = { out: new Float64Array(scene.d).fill(NaN), lse: NaN };
  for (const wide of rows) {
    yield by('nan-leak', (query) => {
      const row = wide(query);
      const see = seen(row);
      const right = attend(scene, scene.row(query));
      const weights = row.S.map((x, n) => (see[n] ? Math.exp(x - right.lse) : 0));
      return { out: scene.weigh(row, weights), lse: right.lse };
    });
    for (const reaches of [(x: number) => !Number.isFinite(x), (x: number) => !(x < Infinity)]) {
      yield by('nan-leak', (query) => (wide(query).S.some(reaches) ? nothing : attend(scene, scene.row(query))));
      yield by('nan-leak', (query) => {
        const row = wide(query);
        const value = (j: number): Float64Array => {
          const at = (row.from * N + j) * scene.d;
          return scene.v.subarray(at, at + scene.d);
        };
        const poisoned = row.keys.some((j, n) => reaches(row.S[n]) || value(j).some((x) => !Number.isFinite(x)));
        return poisoned ? nothing : attend(scene, scene.row(query));
      });
    }
  }
  for (const tile of [...TILES, 1, 4]) {
    for (const skips of [false, true]) {
      yield by('empty-tile', (query) => {
        const row = scene.row(query);
        const before = Math.floor(row.keys[0] / tile);
        const met = Array.from({ length: before }, (_, t) => t)
          .some((t) => !skips || blockSees(scene, row, t, tile));
        return met ? nothing : attend(scene, row);
      });
      yield by('empty-tile', (query) => {
        const row = scene.row(query);
        const tiles = new Set(row.keys.map((j) => Math.floor(j / tile)));
        const met = Array.from({ length: Math.floor(row.i / tile) + 1 }, (_, t) => t)
          .some((t) => !tiles.has(t) && (!skips || blockSees(scene, row, t, tile)));
        return met ? nothing : attend(scene, row);
      });
    }
  }
}

/** Whether any query of the row's tile sees a key of tile t. */
function blockSees(scene: Scene, { head, i }: Row, t: number, tile: number): boolean {
  const first = i - i % tile;
  for (let other = first; other < Math.min(first + tile, scene.N); other++) {
    for (let j = t * tile; j < Math.min((t + 1) * tile, scene.N); j++) if (scene.sees(head, other, j)) return true;
  }
  return false;
}
