/**
 * What may be said about a position along one axis of an output: its number, tile, parity, group or step.
 * @module
 */
import type { Axis } from '../judge/outputs.ts';
import { TILES } from './hypothesis.ts';
import type { Scene } from './scene.ts';

/** A property of positions along an axis. */
export interface Fact {
  readonly text: string;
  readonly has: (n: number) => boolean;
}

const WORDS: Readonly<Record<Axis, readonly [one: string, many: string]>> = {
  batch: ['batch', 'batches'], head: ['query head', 'query heads'], kvHead: ['KV head', 'KV heads'], query: ['row', 'rows'],
  key: ['key', 'keys'], step: ['step', 'steps'], other: ['component', 'components'],
};

/** What the positions along an axis are called: chunks where an output has one number per chunk. */
export function wordsFor(axis: Axis, chunked: boolean): readonly [one: string, many: string] {
  return chunked ? ['chunk', 'chunks'] : WORDS[axis];
}

/** Everything that may be said about the numbers along an axis, the most telling first. */
export function* factsOf(scene: Scene, axis: Axis, size: number): Generator<Fact> {
  const chunked = axis === 'key' && size === scene.chunks && scene.parameters.chunk > 1;
  const [one, many] = wordsFor(axis, chunked);
  const isHead = axis === 'head' || axis === 'kvHead';
  if (isHead && size > 2) yield* parities(many);
  for (let n = 0; n < size; n++) yield { text: `in ${one} ${n}`, has: (at) => at === n };
  if (isHead && size === 2) yield* parities(many);
  if (axis === 'other' || axis === 'batch' || chunked) yield* parities(many);
  if (axis === 'head' && scene.R > 1) yield* groups(scene);
  if (axis === 'step') yield* steps(scene);
  if (axis === 'query' || (axis === 'key' && !chunked)) {
    yield { text: `in the last ${one}`, has: (n) => n === size - 1 };
    yield* tiles(axis === 'query' ? 'i' : 'j', many, size);
  }
  if (axis === 'other') yield* components(size);
  if (isHead && size > 2) yield { text: `in all ${many} but the last`, has: (n) => n < size - 1 };
  const all = isHead || axis === 'batch' || axis === 'step';
  const marks = (all ? Array.from({ length: size }, (_, n) => n) : [8, 16, 32, 64, 128, 256, 512])
    .filter((n) => n > 0 && n < size);
  for (const first of [...marks].sort((a, b) => b - a)) yield { text: `in ${many} from ${first}`, has: (n) => n >= first };
  for (const first of [...marks].sort((a, b) => a - b)) yield { text: `in ${many} below ${first}`, has: (n) => n < first };
}

function* parities(many: string): Generator<Fact> {
  yield { text: `in odd ${many}`, has: (n) => n % 2 === 1 };
  yield { text: `in even ${many}`, has: (n) => n % 2 === 0 };
}

/** Query heads by their place in the group, and by the KV head that they read. */
function* groups({ R, parameters: { kvHeads: G } }: Scene): Generator<Fact> {
  yield { text: 'in the last query head of each group', has: (h) => h % R === R - 1 };
  yield { text: 'in the first query head of each group', has: (h) => h % R === 0 };
  for (let r = 1; r < R - 1; r++) yield { text: `in query head ${r} of each group`, has: (h) => h % R === r };
  if (G > 1) {
    yield { text: 'in the query heads of odd KV heads', has: (h) => Math.floor(h / R) % 2 === 1 };
    yield { text: 'in the query heads of even KV heads', has: (h) => Math.floor(h / R) % 2 === 0 };
    for (let g = 0; g < G; g++) yield { text: `in the query heads of KV head ${g}`, has: (h) => Math.floor(h / R) === g };
    yield { text: 'in query heads whose KV head is not h mod G', has: (h) => h % G !== Math.floor(h / R) };
  }
  yield { text: 'in all query heads but the first of each group', has: (h) => h % R !== 0 };
}

function* steps({ parameters: { steps: all } }: Scene): Generator<Fact> {
  yield { text: 'in steps of several tokens', has: (r) => all[r] > 1 };
  yield { text: 'in steps of one token', has: (r) => all[r] === 1 };
}

function* components(d: number): Generator<Fact> {
  for (const width of [4, 8, 16, 2]) {
    if (d % width > 0 && d > width) yield { text: `in the components after the last whole vector of ${width}`, has: (c) => c >= d - d % width };
  }
  yield { text: 'in the second half of the components', has: (c) => c >= d / 2 };
  yield { text: 'in the first half of the components', has: (c) => c < d / 2 };
  for (const width of d > 4 ? [4] : []) {
    for (let n = 0; n < width; n++) yield { text: `in components c % ${width} = ${n}`, has: (c) => c % width === n };
  }
}

function* tiles(letter: string, many: string, size: number): Generator<Fact> {
  for (const tile of TILES) {
    if (size > tile && size % tile > 0) yield { text: `in the last tile of ${tile} ${many}, which is not whole`, has: (n) => n >= size - size % tile };
  }
  for (const tile of [16, 32, 64, 128, 256]) {
    for (let first = 0; first < size; first += tile) {
      if (first + tile < size || first === 0) yield { text: `in ${many} ${first} to ${first + tile - 1}`, has: (n) => n >= first && n < first + tile };
    }
  }
  for (const tile of [...TILES].sort((a, b) => b - a)) {
    if (size <= tile) continue;
    yield { text: `in odd tiles of ${tile} ${many}`, has: (n) => Math.floor(n / tile) % 2 === 1 };
    yield { text: `in even tiles of ${tile} ${many}`, has: (n) => Math.floor(n / tile) % 2 === 0 };
  }
  for (const tile of [...[...TILES].sort((a, b) => b - a), 4, 2]) {
    if (size <= tile) continue;
    for (const rest of [tile - 1, ...Array.from({ length: tile - 1 }, (_, n) => n)]) {
      const text = tile > 2 ? `in ${many} ${letter} % ${tile} = ${rest}` : `in ${rest === 1 ? 'odd' : 'even'} ${many}`;
      yield { text, has: (n) => n % tile === rest };
    }
  }
  for (const tile of [...TILES].sort((a, b) => b - a)) {
    if (size <= tile) continue;
    yield { text: `in the second half of each tile of ${tile} ${many}`, has: (n) => n % tile >= tile / 2 };
    yield { text: `in the first half of each tile of ${tile} ${many}`, has: (n) => n % tile < tile / 2 };
    yield { text: `in all ${many} but the first of each tile of ${tile}`, has: (n) => n % tile > 0 };
    yield { text: `in all ${many} but the last of each tile of ${tile}`, has: (n) => n % tile < tile - 1 };
  }
}
