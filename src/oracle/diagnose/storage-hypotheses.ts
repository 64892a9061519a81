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
  /** Whether the same formula may tell where each number is read, instead of where it is written. */
  readonly reads?: boolean;
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
/** The fewest wrong numbers of one a row of which a list of places says something. */
const FEWEST = 12;
/** What a list of places without a rule leaves unexplained, so that a rule that says the same is believed before it. */
const LITTLE = 0.01;

/** The places by which numbers of [B,H,N,d] may have been stored. */
function* formulas({ B, H, N, d }: Sizes, one: string, names: readonly string[]): Generator<Formula> {
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
  for (let more = 1; d > 1 && more <= 16; more++) {
    yield by(`${one}s d + ${more} numbers apart`, (b, h, n, c) => ((b * H + h) * N + n) * (d + more) + c);
  }
  for (const tile of [4, 8, 16, 32, 64, 128]) {
    const M = Math.ceil(N / tile) * tile;
    if (M !== N) yield by(`heads a whole number of tiles of ${tile} ${one}s apart`, (b, h, n, c) => ((b * H + h) * M + n) * d + c);
  }
  yield by(`heads one ${one} further apart`, (b, h, n, c) => ((b * H + h) * (N + 1) + n) * d + c);
  // Orders of the axes
  const sizes = [B, H, N, d];
  for (const order of permutations([0, 1, 2, 3])) {
    if (order.every((axis, n) => axis === n)) continue;
    const axes = order.filter((axis) => names[axis] !== '').map((axis) => names[axis]);
    if (axes.every((name, n) => n === 0 || names.indexOf(name) > names.indexOf(axes[n - 1]))) continue;
    if (order.some((axis, n) => names[axis] === '' && n < 3)) continue; // the same as with that axis last
    yield { ...by(`[${axes.join(',')}]`, (...at) => order.reduce((sum, axis) => sum * sizes[axis] + at[axis], 0)), reads: true };
  }
  // One axis in two, exchanged
  for (const step of [2, 3, 4, 8, 16, 32]) {
    for (const axis of [2, 3] as const) {
      const size = sizes[axis];
      if (step >= size) continue;
      const apart = (n: number): number => {
        let first = 0;
        for (let r = 0; r < n % step; r++) first += Math.ceil((size - r) / step);
        return first + Math.floor(n / step);
      };
      const words = `every ${step === 2 ? 'second' : `${step}th`} ${axis === 2 ? one : 'channel'} behind one another`;
      const place: Place = (b, h, n, c) => (axis === 2 ? flat(b, h, apart(n), c) : flat(b, h, n, apart(c)));
      yield { ...by(words, place), reads: true };
      if (size % step > 0 || axis === 3) continue;
      yield by(`blocks of N / ${step} ${one}s outside, heads within`, (b, h, n, c) =>
        (((b * step + Math.floor(n * step / size)) * H + h) * size / step + n % (size / step)) * d + c);
    }
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
  if (truth instanceof Int32Array) return;
  const width = rowWidth(output, scene.d);
  const [B, H = 1, N = 1] = scene.expected[output].shape;
  const actual = scene.outputs[output].data;
  const wrong = [...scene.failing.keys()].filter((at) => scene.failing[at] > 0 && actual[at] !== 0);
  if (wrong.length < 8) return;
  const some = wrong.filter((_, n) => n % Math.ceil(wrong.length / LOOKED) === 0);
  const sorted = Float64Array.from(truth).sort();
  const size = Math.sqrt(some.reduce((sum, at) => sum + actual[at] ** 2, 0) / some.length);
  if (!Number.isFinite(size)) return;
  const same = { f16: 1e-3, bf16: 8e-3, f32: SAME, f64: SAME }[scene.dtype];
  // Sums of terms of both signs are off by more than their size says.
  const near = (x: number, y: number): boolean => Math.abs(x - y) <= same * (Math.abs(y) + 3 * size);
  if (some.filter((at) => holds(sorted, actual[at], same, size)).length < HELD * some.length) return;
  let told = false;
  const ways = function* (): Generator<readonly [words: string, from: Int32Array]> {
    const names = axisNames(scene, output);
    for (const { words, to, reads } of formulas({ B, H, N, d: width }, oneOf(scene, output), names)) {
      const places = Int32Array.from({ length: truth.length }, (_, at) => to(at));
      const from = new Int32Array(truth.length).fill(-1);
      places.forEach((place, at) => place >= 0 && (from[place] = at));
      yield [words, from];
      if (reads) yield [`read as if it were ${words}`, places];
    }
  };
  for (const [words, from] of ways()) {
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
  if (told || (width < 2 && wrong.length < FEWEST)) return;
  // No formula: where the first of them are found, each in one place alone.
  const very = (x: number, y: number): boolean => Math.abs(x - y) <= SAME * Math.abs(y) + 1e-12;
  const places = some.map((at) => [at, [...truth.keys()].filter((from) => very(actual[at], truth[from]))] as const);
  const sure = places.filter(([, found]) => found.length === 1 && Math.abs(actual[found[0]]) > 1e-3 * size);
  if (2 * sure.length < some.length) return;
  const index = (at: number): readonly number[] => [
    Math.floor(at / (H * N * width)), Math.floor(at / (N * width)) % H, Math.floor(at / width) % N, at % width,
  ];
  const names = axisNames(scene, output);
  const axes = [0, 1, 2, 3].filter((axis) => sure.some(([at, [from]]) => index(at)[axis] !== index(from)[axis]));
  const shown = (at: number): string => index(at).filter((_, axis) => names[axis] !== '').join(',');
  const moves = sure.slice(0, 3).map(([at, [from]]) => `[${shown(at)}] holds [${shown(from)}]`).join(', ');
  const along = `no formula, along ${axes.map((axis) => names[axis]).join(' and ')}`;
  const detail = `${along}: ${moves}`;
  yield { name: 'elements-moved', detail, kind: along, predict: (row) => Array.from({ length: width }, (_, c) => {
    const at = row * width + c;
    const known = !(scene.failing[at] > 0) || holds(sorted, actual[at], SAME, 0);
    return known ? actual[at] + LITTLE * (truth[at] - actual[at]) : truth[at];
  }) };
};

/** What the axes of an output are called, '' for one that it has not. */
function axisNames(scene: Scene, output: OutputName): readonly string[] {
  const heads = ['dm_rows', 'dw', 'dl', 'dg', 'dscores'].includes(output) ? 'G' : 'H';
  const tokens = ['dw', 'dl', 'dg', 'dscores'].includes(output) ? 'Nc' : 'N';
  return ['B', heads, tokens, output === 'dscores' ? '3' : rowWidth(output, scene.d) > 1 ? 'd' : ''];
}

const oneOf = ({ N, expected }: Scene, output: OutputName): string =>
  (output === 'dk' || output === 'dv' ? 'key' : expected[output].shape[2] === N ? 'row' : 'chunk');

/** Whether a sorted array holds a number, but for roundings. */
function holds(sorted: Float64Array, x: number, same: number, size: number): boolean {
  if (!Number.isFinite(x)) return false;
  const off = same * (Math.abs(x) + 3 * size) + 1e-12;
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x - off) low = middle + 1;
    else high = middle;
  }
  return low < sorted.length && sorted[low] <= x + off;
}
