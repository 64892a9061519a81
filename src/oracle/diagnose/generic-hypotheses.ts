/**
 * Mistakes that any output may have: written to the wrong place, not written, or off by a factor.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import { type Hypotheses, type Hypothesis, rowWidth, TILES } from './hypothesis.ts';
import { brain, e4m3, e5m2, half } from './narrow-floats.ts';
import type { Scene } from './scene.ts';
import { factorWords } from './factor-words.ts';
import { oftenness } from './terms-hypotheses.ts';
import type { OutputName } from '../types.ts';

/** Right numbers in wrong places, or not written at all. */
export const misplaced: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N, d } = scene;
  const truth = scene.truth(output);
  if (truth instanceof Int32Array || !['out', 'lse', 'dv', 'dq', 'dk', 'cache_out'].includes(output)) return;
  const width = rowWidth(output, d);
  const rowOf = (row: number): Float64Array => truth.slice(row * width, (row + 1) * width);
  const heads = scene.expected[output].shape[1];
  const by = (name: DiagnosisName, predict: (row: number) => ArrayLike<number>): Hypothesis => ({ name, predict });
  const order = orderOf(scene, output);
  if (order) {
    const size = truth.length / order.length / width;
    const own = output === 'dk' || output === 'dv' ? 'KV head' : 'query head';
    const moved = order.flatMap((from, to) => (from === to ? [] : [headWords(to, from, heads, own)]));
    yield {
      ...by('heads-permuted', (row) => {
        const from = order[Math.floor(row / size)];
        return from === UNWRITTEN ? new Float64Array(width) : rowOf(from * size + row % size);
      }),
      detail: moved.slice(0, 3).join(', '),
    };
  }
  yield by('layout-heads', (row) => {
    const [b, rest] = [Math.floor(row / (heads * N)), row % (heads * N)];
    return rowOf((b * heads + rest % heads) * N + Math.floor(rest / heads));
  });
  if (width > 1) {
    yield by('layout-dims', (row) => {
      const [head, n] = [Math.floor(row / N), row % N];
      return Array.from({ length: d }, (_, c) => {
        const at = n * d + c;
        return truth[(head * N + at % N) * d + Math.floor(at / N)];
      });
    });
  }
  for (const tile of TILES) {
    for (const nothing of tile > N ? [0] : [0, NaN]) {
      yield by('tail-unwritten', (row) =>
        (row % N >= N - N % tile ? new Float64Array(width).fill(nothing) : rowOf(row)));
    }
  }
};

/** A head of the outputs that is 0. */
const UNWRITTEN = -2;

function headWords(to: number, from: number, heads: number, own: string): string {
  if (from === UNWRITTEN) return `${own} ${to % heads} is 0 everywhere`;
  const [ours, theirs] = [Math.floor(to / heads), Math.floor(from / heads)];
  if (ours === theirs) return `${own} ${to % heads} holds ${from % heads}`;
  return `batch ${ours}, ${own} ${to % heads} holds batch ${theirs}, ${own} ${from % heads}`;
}

/**
 * The head b H + h whose truth each head of the outputs holds, if they are those of all heads in another order; heads
 * of other sequences, too.
 */
function orderOf(scene: Scene, output: OutputName): number[] | undefined {
  const { N, d } = scene;
  const truth = scene.truth(output);
  const actual = scene.outputs[output].data;
  const [B, H] = scene.expected[output].shape;
  if (B * H < 2) return undefined;
  const width = rowWidth(output, d);
  const rows = Array.from({ length: Math.min(N, 12) }, (_, n) => Math.floor((n + 0.5) * N / Math.min(N, 12)));
  const distance = (to: number, from: number): { off: number; size: number } => {
    let [off, size] = [0, 0];
    for (const row of rows) {
      for (let c = 0; c < width; c++) {
        const [a, t] = [actual[(to * N + row) * width + c], truth[(from * N + row) * width + c]];
        off += (a - t) ** 2;
        size += t * t;
      }
    }
    return { off, size };
  };
  const zero = (head: number): boolean =>
    actual.slice(head * N * width, (head + 1) * N * width).every((x) => x === 0);
  const order: number[] = [];
  for (let to = 0; to < B * H; to++) {
    const first = to - to % H;
    const near = Array.from({ length: H }, (_, h) => first + h);
    // Its own sequence first, and of heads that are alike each once.
    const all = [to, ...near, ...Array(B * H).keys()].filter((from) => !order.includes(from));
    order.push(all.find((from) => {
      const { off, size } = distance(to, from);
      return off < 1e-3 * size;
    }) ?? (zero(to) ? UNWRITTEN : -1));
  }
  const held = order.filter((from) => from !== UNWRITTEN);
  const whole = !order.includes(-1) && new Set(held).size === held.length;
  return whole && order.some((from, to) => from !== to && from !== UNWRITTEN) ? order : undefined;
}

/** Outputs that nothing was written to, or that are 0 in some rows. */
export const unwritten: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (scene.truth(output) instanceof Int32Array) return;
  const nothing = new Float64Array(rowWidth(output, scene.d));
  const { data } = scene.outputs[output];
  if (scene.failing.some((level, at) => level > 0 && data[at] !== 0)) return;
  const all = data.every((x) => x === 0);
  if (all || inWholeTiles(scene, output)) yield { name: 'zeros', predict: () => nothing };
  if (!all) yield { name: 'zeros-in-part', predict: () => nothing };
};

/** The smallest tile of rows that a kernel may leave unwritten. */
const TILE = 8;

/** Whether all that fails lies in heads, or in tiles of rows, that are 0 as a whole. */
function inWholeTiles(scene: Scene, output: OutputName): boolean {
  const width = rowWidth(output, scene.d);
  const actual = scene.outputs[output].data;
  const [B, H = 1] = scene.expected[output].shape;
  const many = actual.length / (B * H * width); // rows of a head
  const written = (at: number): boolean => actual.subarray(at * width, (at + 1) * width).some((x) => x !== 0);
  return failingGroups(scene, width).every((row) => {
    const head = row - row % many;
    const first = head + row % many - row % many % TILE;
    for (let at = first; at < Math.min(first + TILE, head + many); at++) if (written(at)) return false;
    return true;
  });
}

/** Wrong storage, sign or factor. */
export const genericHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { d } = scene;
  const truth = scene.truth(output);
  if (truth instanceof Int32Array) return;
  const width = rowWidth(output, d);
  const rowOf = (row: number): Float64Array => truth.slice(row * width, (row + 1) * width);
  const by = (name: DiagnosisName, predict: (row: number) => ArrayLike<number>): Hypothesis => ({ name, predict });
  const storages = [
    ['stored-f16', half], ['stored-bf16', brain], ['stored-e4m3', e4m3], ['stored-e5m2', e5m2],
  ] as const;
  for (const [name, round] of storages) yield by(name, (row) => rowOf(row).map(round));
  yield by('sign', (row) => rowOf(row).map((x) => -x));
  yield* factors(scene, output);
};

/** The groups of `size` elements in which something fails. */
function failingGroups({ failing }: Scene, size: number): number[] {
  const groups = new Set<number>();
  failing.forEach((level, n) => {
    if (level > 0) groups.add(Math.floor(n / size));
  });
  return [...groups];
}

/** Every value that fails off by one factor. */
export function* factors(
  scene: Scene, output: OutputName, within: (at: number) => boolean = () => true,
): Generator<Hypothesis> {
  const truth = scene.truth(output);
  const actual = scene.outputs[output].data;
  if (truth instanceof Int32Array) return;
  const width = rowWidth(output, scene.d);
  const size = truth.length / (scene.expected[output].shape[0] * (scene.expected[output].shape[1] ?? 1));
  const bad = new Set(failingGroups(scene, size));
  const counts = (n: number): boolean =>
    bad.has(Math.floor(n / size)) && within(n) && Number.isFinite(actual[n]) && Number.isFinite(truth[n]);
  let [both, own] = [0, 0];
  for (let n = 0; n < truth.length; n++) {
    if (!counts(n)) continue;
    both += actual[n] * truth[n];
    own += truth[n] * truth[n];
  }
  const factor = both / own;
  // The best factor always explains a little, so believe it only if it leaves next to nothing.
  let left = 0;
  for (let n = 0; n < truth.length; n++) if (counts(n)) left += (actual[n] - factor * truth[n]) ** 2;
  if (!(left < 1e-6 * own * (factor - 1) ** 2) || factor === 0 || Math.abs(factor + 1) <= 1e-4) return;
  yield {
    name: 'factor', ...factorWords(scene, factor),
    predict: (row) => truth.slice(row * width, (row + 1) * width).map((x) => factor * x),
  }
};

/** What a factor of everything is by the parts that hold all pairs where N is at most a tile. */
export function* wholeTerms(scene: Scene, output: OutputName, factor: Hypothesis): Generator<Hypothesis> {
  if (output !== 'dv' && output !== 'dq' && output !== 'dk') return;
  const size = Number(factor.detail);
  if (factor.name !== 'factor' || !Number.isInteger(size) || size < 2) return;
  for (const tile of TILES) {
    if (tile < scene.N) continue;
    const words = `tiles of ${tile} on the diagonal`;
    yield {
      name: 'terms-weighed', detail: `${words}: times ${size}`, kind: `${words}: ${oftenness(size)}`, predict: factor.predict,
    };
  }
}

/** What a key is by its place from the end. */
export const lastWords = (key: number, N: number): readonly string[] =>
  (key === N - 1 ? ['the last key'] : key === N - 2 ? ['the key before the last one'] : []);

/** Rows that see one key too many, or one too few. */
export const oneKey: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (output !== 'out') return;
  const { N, d } = scene;
  const rows = failingGroups(scene, d);
  const queries = new Set(rows.map((row) => `${scene.headOf(row)} ${row % N}`));
  const some = rows.filter((_, n) => n % Math.ceil(rows.length / 8) === 0);
  const keys = new Set(some.map((row) => nearest(scene, row).key));
  const [key] = keys;
  const lost = keys.size === 1 && key !== undefined && some.every((row) => scene.sees(scene.headOf(row), row % N, key));
  yield {
    name: queries.size <= 1 ? 'one-key' : lost ? 'key-lost' : 'keys-by-row',
    ...(lost && { detail: `key ${key}`, also: lastWords(key, N) }),
    predict: (query) => nearest(scene, query).out,
  };
};

/** The output of the row with one key more or less that is nearest to what is given, and that key. */
function nearest(scene: Scene, query: number): { out: ArrayLike<number>; key?: number } {
  const { N, d } = scene;
  const actual = scene.outputs.out.data;
  const given = Float64Array.from({ length: d }, (_, c) => actual[query * d + c]);
  const truth = scene.truth('out').slice(query * d, (query + 1) * d) as Float64Array;
  const i = query % N;
  const off = (x: ArrayLike<number>): number => given.reduce((sum, y, c) => sum + (y - x[c]) ** 2, 0);
  let best: { out: ArrayLike<number>; key?: number } = { out: truth };
  let distance = off(truth) / 16;
  for (let j = 0; j <= Math.min(i + 1, N - 1); j++) {
    const row = scene.row(query, { sees: (head, at, key) => (key === j) !== scene.sees(head, at, key) });
    if (row.keys.length === 0) continue;
    const m = Math.max(...row.S);
    const E = row.S.map((x) => Math.exp(x - m));
    const Z = E.reduce((a, b) => a + b, 0);
    const out = scene.weigh(row, E.map((x) => x / Z));
    if (off(out) < distance) [best, distance] = [{ out, key: j }, off(out)];
  }
  return best;
}
