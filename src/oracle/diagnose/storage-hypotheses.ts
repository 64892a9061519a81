/**
 * Right numbers in other places of storage: pitches of rows and heads, other orders of the axes, transposed, swizzled
 * or interleaved tiles. Numbers are looked for among the truths, and formulas held against where they are found.
 * @module
 */
import { type Hypotheses, type Hypothesis, rowWidth } from './hypothesis.ts';
import type { Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** Where a number of an output is stored, by its flat index; -1 for nowhere. */
interface Formula {
  readonly words: string;
  readonly to: (at: number) => number;
}
interface Sizes {
  readonly B: number;
  readonly H: number;
  readonly N: number;
  readonly d: number;
}

/** How far, relatively, a number may be from the one that it holds. */
const SAME = 3e-5;
/** How many wrong numbers are looked at. */
const LOOKED = 400;
/** The share of them that must be what a formula says. */
const HELD = 0.97;
/** What a list of places without a rule leaves unexplained, so that a rule that says the same is believed before it. */
const LITTLE = 0.01;

/** The places by which numbers of [B,H,N,d] may have been stored. */
function* formulas({ B, H, N, d }: Sizes, one: string): Generator<Formula> {
  const total = B * H * N * d;
  const split = (at: number): readonly [b: number, h: number, n: number, c: number] =>
    [Math.floor(at / (H * N * d)), Math.floor(at / (N * d)) % H, Math.floor(at / d) % N, at % d];
  type Place = (b: number, h: number, n: number, c: number) => number;
  const by = (words: string, place: Place): Formula => ({ words, to: (at) => {
    const to = place(...split(at));
    return to < total ? to : -1;
  } });
  const flat = (b: number, h: number, n: number, c: number): number => ((b * H + h) * N + n) * d + c;
  // Pitches
  const whole = [4, 8, 16, 32, 64].map((size) => Math.ceil(d / size) * size);
  const pitches = new Set([...whole, 2 ** Math.ceil(Math.log2(d)), d + 1]);
  for (const D of pitches) {
    if (d > 1 && D !== d) yield by(`${one}s ${D} numbers apart, not d`, (b, h, n, c) => ((b * H + h) * N + n) * D + c);
  }
  for (const tile of [4, 8, 16, 32, 64, 128]) {
    const M = Math.ceil(N / tile) * tile;
    if (M !== N) yield by(`heads a whole number of tiles of ${tile} ${one}s apart`, (b, h, n, c) => ((b * H + h) * M + n) * d + c);
  }
  yield by(`heads one ${one} further apart`, (b, h, n, c) => ((b * H + h) * (N + 1) + n) * d + c);
  // Orders of the axes
  const sizes = [B, H, N, d];
  const names = ['B', 'H', 'N', 'd'];
  for (const order of permutations([0, 1, 2, 3])) {
    if (order.every((axis, n) => axis === n)) continue;
    yield by(`[${order.map((axis) => names[axis]).join(',')}]`, (...at) => order.reduce((sum, axis) => sum * sizes[axis] + at[axis], 0));
  }
  // Tiles
  for (const tile of [4, 8, 16, 32, 64]) {
    if (d > 1) {
      yield by(`transposed in tiles of ${tile} x ${tile}`, (b, h, n, c) => {
        const [r, s] = [n - n % tile + c % tile, c - c % tile + n % tile];
        return r < N && s < d ? flat(b, h, r, s) : flat(b, h, n, c);
      });
    }
    yield by(`${one}s in reverse order within tiles of ${tile}`, (b, h, n, c) => {
      const first = n - n % tile;
      return flat(b, h, first + Math.min(tile, N - first) - 1 - n % tile, c);
    });
    yield by(`the halves of each tile of ${tile} ${one}s exchanged`, (b, h, n, c) => {
      const to = n - n % tile + (n + tile / 2) % tile;
      return to < N ? flat(b, h, to, c) : flat(b, h, n, c);
    });
    yield by(`the halves of each whole tile of ${tile} ${one}s exchanged`, (b, h, n, c) =>
      flat(b, h, n < N - N % tile ? n - n % tile + (n + tile / 2) % tile : n, c));
    yield by(`tiles of ${tile} ${one}s exchanged with their neighbours`, (b, h, n, c) => {
      const to = (Math.floor(n / tile) ^ 1) * tile + n % tile;
      return to < N ? flat(b, h, to, c) : flat(b, h, n, c);
    });
    yield by(`the halves of each tile of ${tile} ${one}s interleaved`, (b, h, n, c) => {
      const [first, r] = [n - n % tile, n % tile];
      return first + tile <= N ? flat(b, h, first + (r < tile / 2 ? 2 * r : 2 * r - tile + 1), c) : flat(b, h, n, c);
    });
    yield by(`even and odd ${one}s of each tile of ${tile} apart`, (b, h, n, c) => {
      const [first, r] = [n - n % tile, n % tile];
      return first + tile <= N ? flat(b, h, first + (r >> 1) + r % 2 * (tile / 2), c) : flat(b, h, n, c);
    });
  }
  for (const bit of [1, 2, 4, 8, 16]) {
    yield by(`${one} n at n XOR ${bit}`, (b, h, n, c) => flat(b, h, (n ^ bit) < N ? n ^ bit : n, c));
    yield by(`${one} n one further in odd tiles of ${bit}`, (b, h, n, c) => flat(b, h, Math.floor(n / bit) % 2 ? Math.min(n + 1, N - 1) : n, c));
  }
  if (d === 1) return;
  // Swizzles
  for (const width of [1, 2, 4, 8]) {
    for (const rows of [2, 4, 8, 16]) {
      const blocks = Math.floor(d / width);
      for (const shift of [1, 2, 4]) {
        const row = (n: number): number => Math.floor(n / shift) % rows;
        const of = shift === 1 ? `n % ${rows}` : `floor(n / ${shift}) % ${rows}`;
        yield by(`blocks of ${width} channels swizzled: block XOR ${of}`, (b, h, n, c) => {
          const own = Math.floor(c / width);
          const block = own ^ row(n);
          return block < blocks && own < blocks ? flat(b, h, n, block * width + c % width) : flat(b, h, n, c);
        });
        yield by(`blocks of ${width} channels rotated by ${of}`, (b, h, n, c) => {
          const own = Math.floor(c / width);
          return own < blocks ? flat(b, h, n, (own + row(n)) % blocks * width + c % width) : flat(b, h, n, c);
        });
      }
    }
  }
  yield by('channels of odd rows in reverse order', (b, h, n, c) => flat(b, h, n, n % 2 ? d - 1 - c : c));
  yield by('pairs of channels swapped in odd rows', (b, h, n, c) => flat(b, h, n, n % 2 && (c ^ 1) < d ? c ^ 1 : c));
}

function* permutations(all: readonly number[]): Generator<number[]> {
  if (all.length === 0) yield [];
  for (const first of all) for (const rest of permutations(all.filter((x) => x !== first))) yield [first, ...rest];
}

/** Numbers that are right and stored elsewhere. */
export const storageHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const truth = scene.truth(output);
  if (truth instanceof Int32Array || output === 'dscores') return;
  const width = rowWidth(output, scene.d);
  const [B, H = 1, N = 1] = scene.expected[output].shape;
  const actual = scene.outputs[output].data;
  const wrong = [...scene.failing.keys()].filter((at) => scene.failing[at] > 0 && actual[at] !== 0);
  if (wrong.length < 8) return;
  const some = wrong.filter((_, n) => n % Math.ceil(wrong.length / LOOKED) === 0);
  const sorted = Float64Array.from(truth).sort();
  const near = (x: number, y: number): boolean => Math.abs(x - y) <= SAME * Math.abs(y) + 1e-12;
  if (some.filter((at) => holds(sorted, actual[at])).length < HELD * some.length) return;
  const size = Math.sqrt(some.reduce((sum, at) => sum + truth[at] ** 2, 0) / some.length);
  let told = false;
  for (const { words, to } of formulas({ B, H, N, d: width }, oneOf(scene, output))) {
    const from = new Int32Array(truth.length).fill(-1);
    for (let at = 0; at < truth.length; at++) {
      const place = to(at);
      if (place >= 0) from[place] = at;
    }
    const right = some.filter((at) => from[at] >= 0 && near(actual[at], truth[from[at]])).length;
    if (right < HELD * some.length) continue;
    told = true;
    yield {
      name: 'elements-moved', detail: words,
      predict: (row) => Array.from({ length: width }, (_, c) => {
        const at = row * width + c;
        // What is not written may hold anything.
        return from[at] < 0 ? actual[at] : truth[from[at]];
      }),
    };
  }
  if (told || width < 2) return;
  // No formula: where the first of them are found, each in one place alone.
  const places = some.map((at) => [at, [...truth.keys()].filter((from) => near(actual[at], truth[from]))] as const);
  const sure = places.filter(([, found]) => found.length === 1 && Math.abs(actual[found[0]]) > 1e-3 * size);
  if (2 * sure.length < some.length) return;
  const index = (at: number): string => [
    Math.floor(at / (H * N * width)), Math.floor(at / (N * width)) % H, Math.floor(at / width) % N, at % width,
  ].join(',');
  const detail = sure.slice(0, 3).map(([at, [from]]) => `[${index(at)}] holds [${index(from)}]`).join(', ');
  yield { name: 'elements-moved', detail: `no formula: ${detail}`, predict: (row) => Array.from({ length: width }, (_, c) => {
    const at = row * width + c;
    const known = !(scene.failing[at] > 0) || holds(sorted, actual[at]);
    return known ? actual[at] + LITTLE * (truth[at] - actual[at]) : truth[at];
  }) };
};

const oneOf = ({ N, expected }: Scene, output: OutputName): string =>
  (output === 'dk' || output === 'dv' ? 'key' : expected[output].shape[2] === N ? 'row' : 'chunk');

/** Whether a sorted array holds a number, but for roundings. */
function holds(sorted: Float64Array, x: number): boolean {
  if (!Number.isFinite(x)) return false;
  const off = SAME * Math.abs(x) + 1e-12;
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x - off) low = middle + 1;
    else high = middle;
  }
  return low < sorted.length && sorted[low] <= x + off;
}
