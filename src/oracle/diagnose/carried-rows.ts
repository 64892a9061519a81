/**
 * Rows to which other rows are added, or that hold what was written before: sums that are not cleared, registers that
 * are stale, scans that include too little. They are held against each row that fails; where that is, places say.
 * @module
 */
import { isInteger } from '../judge/compare.ts';
import { AXES } from '../judge/outputs.ts';
import { stepsOf } from './cache-steps.ts';
import { type Hypotheses, type Hypothesis, rowWidth, TILES } from './hypothesis.ts';
import { failingRows } from './moved-hypotheses.ts';
import type { Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** Another row in words; -1 if there is none. */
interface Source {
  readonly words: string;
  readonly of: (row: number) => number;
}
/** What is made of a row. */
interface Mode {
  readonly moved: boolean;
  readonly words: (source: string) => string;
  /** By the right numbers of the row and the source, and those that the kernel wrote at the source. */
  readonly of: (own: number, right: number, written: number) => number;
}

const MODES: readonly Mode[] = [
  { moved: false, words: (source) => `what was written at ${source} is added`, of: (own, _, written) => own + written },
  { moved: true, words: (source) => `holds what was written at ${source}`, of: (_own, _right, written) => written },
  { moved: false, words: (source) => `that of ${source} is added`, of: (own, right) => own + right },
  { moved: true, words: (source) => `holds ${source}`, of: (_, right) => right },
  { moved: false, words: (source) => `the sum without its own: that of ${source} and what was written there`, of: (_, right, written) => right + written },
  { moved: false, words: (source) => `that of ${source} is subtracted`, of: (own, right) => own - right },
  { moved: false, words: (source) => `the mean of it and ${source}`, of: (own, right) => (own + right) / 2 },
  { moved: false, words: (source) => `the larger of it and ${source}`, of: (own, right) => Math.max(own, right) },
];
/** The share of what is wrong with a row that may be left, and how much rounding may add to it. */
const [LEFT, NOISE] = [0.02, 2 ** -18];
/** The fewest rows and numbers that say anything. */
const [ROWS, NUMBERS] = [2, 6];

function* sourcesOf(scene: Scene, output: OutputName, size: number, heads: number): Generator<Source> {
  const { R } = scene;
  const n = (row: number): number => row % size;
  const head = (row: number): number => Math.floor(row / size) % heads;
  const source = (words: string, of: Source['of']): Source => ({ words, of });
  const one = size === scene.N ? AXES[output].includes('query') ? 'row' : 'key' : 'chunk';
  yield source(`the ${one} before`, (row) => (n(row) > 0 ? row - 1 : -1));
  yield source(`the next ${one}`, (row) => (n(row) < size - 1 ? row + 1 : -1));
  yield source(`the ${one} before, of the head before for the first`, (row) => row - 1);
  for (const by of [2, ...TILES].filter((each) => each < size)) {
    yield source(`the ${one} ${by} before`, (row) => (n(row) >= by ? row - by : -1));
    yield source(`the ${one} ${by} later`, (row) => (n(row) < size - by ? row + by : -1));
    const first = (row: number): number => row - n(row) % by;
    yield source(`the first ${one} of its tile of ${by}`, (row) => (first(row) < row ? first(row) : -1));
    yield source(`the last ${one} of its tile of ${by}`, (row) => Math.min(first(row) + by, row - n(row) + size) - 1);
    yield source(`the last ${one} of the tile of ${by} before`, (row) => (n(row) >= by ? first(row) - 1 : -1));
    yield source(`the ${one} on the other side of its tile of ${by}`, (row) => {
      const other = first(row) + by - 1 - n(row) % by;
      return other - row + n(row) < size ? other : -1;
    });
  }
  yield source(`the first ${one}`, (row) => (n(row) > 0 ? row - n(row) : -1));
  yield source(`the last ${one}`, (row) => row - n(row) + size - 1);
  if (output === 'cache_out') {
    const step = stepsOf(scene);
    const begin = (row: number): number => row - n(row) + step.indexOf(step[n(row)]);
    yield source('the first row of its step', (row) => (begin(row) < row ? begin(row) : -1));
    yield source('the last row of its step', (row) => row - n(row) + step.lastIndexOf(step[n(row)]));
    yield source('the last row of the step before', (row) => (step[n(row)] > 0 ? begin(row) - 1 : -1));
  }
  if (heads > 1) {
    yield source('the head before', (row) => (head(row) > 0 ? row - size : -1));
    yield source('the next head', (row) => (head(row) < heads - 1 ? row + size : -1));
    if (AXES[output].includes('head') && R > 1) {
      yield source('the query head before in its group', (row) => (head(row) % R > 0 ? row - size : -1));
      yield source('the first query head of its group', (row) => (head(row) % R > 0 ? row - head(row) % R * size : -1));
      yield source('the last query head of its group', (row) => row + (R - 1 - head(row) % R) * size);
    }
    yield source('head 0', (row) => (head(row) > 0 ? row - head(row) * size : -1));
  }
  yield source('the head before, of all sequences', (row) => row - size);
  yield source('the sequence before', (row) => row - heads * size);
  yield source('the next sequence', (row) => row + heads * size);
}

export const carriedRows: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { shape, data: truth } = scene.expected[output];
  if (isInteger(scene.expected[output]) || output === 'mask' || output === 'cache_bytes' || shape.length < 3) return;
  const width = rowWidth(output, scene.d);
  const actual = scene.outputs[output].data;
  const failing = failingRows(scene, width).filter((row) => actual[row * width] === actual[row * width]);
  if (failing.length < ROWS || failing.length * width < NUMBERS) return;
  const [size, heads, rows] = [shape[2], shape[1], truth.length / width];
  const fails = new Set(failing);
  const some = failing.filter((_, n) => n % Math.ceil(failing.length / 6) === 0);
  const fits = (row: number, from: number, { of }: Mode): boolean => {
    let [left, off, squares] = [0, 0, 0];
    for (let c = 0; c < width; c++) {
      const [a, b] = [row * width + c, from * width + c];
      const made = of(truth[a], truth[b], actual[b]);
      left += (made - actual[a]) ** 2;
      off += (truth[a] - actual[a]) ** 2;
      squares += actual[a] ** 2 + actual[b] ** 2;
    }
    return left <= (LEFT * Math.sqrt(off) + NOISE * Math.sqrt(squares)) ** 2;
  };
  const has = (from: number): boolean => from >= 0 && from < rows;
  for (const { words, of } of sourcesOf(scene, output, size, heads)) {
    if (!some.every((row) => has(of(row)) && of(row) !== row)) continue;
    for (const mode of MODES) {
      if (!some.every((row) => fits(row, of(row), mode))) continue;
      if (!failing.every((row) => has(of(row)) && of(row) !== row && fits(row, of(row), mode))) continue;
      yield { name: mode.moved ? 'rows-moved' : 'rows-carried', detail: mode.words(words), predict: (row) => (
        Array.from({ length: width }, (_, c) => {
          const [a, b] = [row * width + c, of(row) * width + c];
          return fails.has(row) ? mode.of(truth[a], truth[b], actual[b]) : truth[a];
        })) };
    }
  }
};
