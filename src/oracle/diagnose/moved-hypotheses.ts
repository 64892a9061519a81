/**
 * Right numbers in wrong places, found by looking for them: rows that hold other rows, components that hold other
 * components, and outputs that hold another output.
 * @module
 */
import { headRules, headsHeld } from './heads-held.ts';
import { type Hypotheses, type Hypothesis, rowWidth } from './hypothesis.ts';
import type { Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** How far, relatively and squared, a row may be from the one that it holds. */
const SAME = 1e-4;
/** How many rows are looked for: a prime, so that no tile or head decides which. */
const LOOKED = 13;

export const movedHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { d } = scene;
  const truth = scene.truth(output);
  if (truth instanceof Int32Array) return;
  const width = rowWidth(output, d);
  const shape = scene.expected[output].shape;
  const rowOf = (data: ArrayLike<number>, row: number): number[] =>
    Array.from({ length: width }, (_, c) => data[row * width + c]);
  for (const other of ['dv', 'dk', 'dq', 'out', 'lse', 'dw', 'dl', 'dg', 'dm_rows'] as const) {
    const held = scene.expected[other];
    if (other === output || !held || String(held.shape) !== String(shape)) continue;
    yield { name: 'other-tensor', detail: `${output} holds ${other}`, predict: (row) => rowOf(held.data, row) };
  }
  for (const other of ['q', 'k', 'v', 'dout'] as const) {
    const held = scene.inputs[other];
    if (!held || String(held.shape) !== String(shape)) continue;
    yield { name: 'other-tensor', detail: `${output} holds ${other}`, predict: (row) => rowOf(held.data, row) };
  }
  if (width < 2) {
    yield* movedNumbers(scene, output);
    return;
  }
  const failing = failingRows(scene, width);
  const some = lookedAt(failing, scene.N);
  const actual = scene.outputs[output].data;
  const found = some.map((row) => [row, nearestRow(actual, truth, row, width)] as const);
  const held = found.filter(([, from]) => from !== undefined) as (readonly [number, number])[];
  if (held.length >= 2 && 2 * held.length > some.length) {
    const source = new Map<number, number | undefined>(found);
    // A row of zeros may hold any other, such as dq of the first token.
    const empty = Array.from({ length: truth.length / width }, (_, row) => row)
      .some((row) => rowOf(truth, row).every((x) => x === 0));
    const [detail, ...also] = movesOf(scene, output, held);
    yield {
      name: 'rows-moved', detail, also,
      predict: (row) => {
        if (!source.has(row)) source.set(row, nearestRow(actual, truth, row, width));
        if (empty && rowOf(actual, row).every((x) => x === 0)) return rowOf(actual, row);
        return rowOf(truth, source.get(row) ?? row);
      },
    };
  }
  const order = componentsOf(actual, truth, failing, width);
  if (order) {
    const swapped = order.flatMap((from, c) => (from === c ? [] : [`component ${c} holds ${from}`]));
    yield {
      name: 'components-moved', detail: swapped.slice(0, 3).join(', '),
      predict: (row) => order.map((from) => truth[row * width + from]),
    };
  }
};

/** Some of the rows that fail, of every head that fails. */
function lookedAt(failing: readonly number[], N: number): readonly number[] {
  if (failing.length <= LOOKED) return failing;
  const spread = Array.from({ length: LOOKED }, (_, n) => failing[Math.floor((n + 0.5) * failing.length / LOOKED)]);
  const heads = new Set(spread.map((row) => Math.floor(row / N)));
  return [...spread, ...failing.filter((row) => heads.size !== heads.add(Math.floor(row / N)).size)];
}

/** The same for outputs of one number a row, which by chance may be alike, so that only rules are tried. */
function* movedNumbers(scene: Scene, output: OutputName): Generator<Hypothesis> {
  const { N, expected } = scene;
  const { data, shape } = expected[output];
  const size = shape.at(-1)!;
  if (output === 'dscores' || size < 8) return;
  const one = size === N ? 'row' : 'chunk';
  const rules: readonly (readonly [string, (n: number) => number])[] = [
    ...[-2, -1, 1, 2].map((by) => [`${one} n holds ${one} n ${by < 0 ? '-' : '+'} ${Math.abs(by)}`, (n: number) => Math.min(Math.max(n + by, 0), size - 1)] as const),
    ...[256, 128, 64, 32, 16, 8].filter((by) => by < size).map((by) => [`${one} n holds ${one} n mod ${by}`, (n: number) => n % by] as const),
    [`${one}s in reverse order`, (n) => size - 1 - n],
  ];
  for (const [detail, from] of rules) {
    yield { name: 'rows-moved', detail, predict: (at) => [data[at - at % size + from(at % size)]] };
  }
  const heads = shape[1] ?? 1;
  yield* headsHeld(scene, output, size, heads);
  for (const by of heads > 1 ? [1, heads - 1] : []) {
    yield { name: 'rows-moved', detail: `head h holds head h + ${by}`, predict: (at) => {
      const [b, h, n] = [Math.floor(at / (size * heads)), Math.floor(at / size) % heads, at % size];
      return [data[(b * heads + (h + by) % heads) * size + n]];
    } };
  }
  const own = heads * size;
  if (shape[0] > 1) {
    yield { name: 'rows-moved', detail: 'every sequence holds batch 0', predict: (at) => [data[at % own]] };
    yield { name: 'rows-moved', detail: 'batch b holds batch b + 1', predict: (at) => [data[(at + own) % data.length]] };
  }
}

/** The rows in which something fails. */
export function failingRows({ failing }: Scene, width: number): readonly number[] {
  const rows = new Set<number>();
  failing.forEach((level, n) => {
    if (level > 0) rows.add(Math.floor(n / width));
  });
  return [...rows];
}

/** The row of the truth that a row of the outputs holds. */
function nearestRow(
  actual: ArrayLike<number>, truth: ArrayLike<number>, row: number, width: number,
): number | undefined {
  let size = 0;
  for (let c = 0; c < width; c++) size += actual[row * width + c] ** 2;
  if (!(size > 0) || !Number.isFinite(size)) return undefined;
  let own = 0;
  for (let c = 0; c < width; c++) own += (actual[row * width + c] - truth[row * width + c]) ** 2;
  // Rows that are nearly alike are no evidence: the other one must be much nearer than its own.
  const most = Math.min(Math.min(SAME, 1e-2 / width) * size, Math.max(1e-2 * own, 1e-12 * size));
  let found: number | undefined;
  let least = most;
  for (let from = 0; from < truth.length / width; from++) {
    let off = 0;
    for (let c = 0; c < width && off < least; c++) off += (actual[row * width + c] - truth[from * width + c]) ** 2;
    if (off < least) [found, least] = [from, off];
  }
  return found;
}

/** What all the moves have in common, or the first of them. */
function movesOf(
  scene: Scene, output: OutputName, moves: readonly (readonly [to: number, from: number])[],
): readonly string[] {
  const { N } = scene;
  const [, H] = scene.expected[output].shape;
  const one = output === 'dk' || output === 'dv' ? 'key' : 'row';
  type Holds = (to: number, from: number) => boolean;
  const all = (text: string, holds: Holds): string[] =>
    (moves.every(([to, from]) => holds(to % N, from % N)) ? [text] : []);
  const [to0, from0] = moves[0];
  const shift = from0 % N - to0 % N;
  const said = [
    ...shift === 0 ? [] : [
      ...all(`${one} n holds ${one} n ${shift < 0 ? '-' : '+'} ${Math.abs(shift)}`, (to, from) => from - to === shift),
      ...[256, 128, 64, 32, 16, 8].flatMap((size) => all(`${one} n holds ${one} n mod ${size}`, (to, from) => from === to % size)).slice(0, 1),
      ...all(`${one}s in reverse order`, (to, from) => from === N - 1 - to),
    ].slice(0, 1),
  ];
  if (said.length > 0) return said;
  // Whole heads: what is said of them must be true of those that are right, too.
  const size = N * rowWidth(output, scene.d);
  const held = Array.from({ length: scene.expected[output].data.length / size }, (_, head) => head);
  if (moves.every(([to, from]) => from % N === to % N)) {
    for (const [to, from] of moves) held[Math.floor(to / N)] = Math.floor(from / N);
    const whole = moves.every(([to, from]) => held[Math.floor(to / N)] === Math.floor(from / N));
    said.push(...whole ? headRules(scene, held, H) : []);
  }
  if (said.length > 0) return said;
  const place = (at: number): string => `${H > 1 ? `head ${Math.floor(at / N) % H} ` : ''}${one} ${at % N}`;
  return [moves.slice(0, 2).map(([to, from]) => `${place(to)} holds ${place(from)}`).join(', ')];
}

/** The component of the truth that each component of the outputs holds, if all hold one and some another. */
function componentsOf(
  actual: ArrayLike<number>, truth: ArrayLike<number>, rows: readonly number[], width: number,
): number[] | undefined {
  const some = rows.filter((_, n) => n % Math.ceil(rows.length / 24) === 0);
  if (some.length < 4) return undefined;
  const order = Array.from({ length: width }, (_, c) => {
    let size = 0;
    for (const row of some) size += actual[row * width + c] ** 2;
    const holds = (from: number): boolean => {
      let off = 0;
      for (const row of some) off += (actual[row * width + c] - truth[row * width + from]) ** 2;
      return off <= SAME * size;
    };
    if (holds(c)) return c;
    for (let from = 0; from < width; from++) if (holds(from)) return from;
    return -1;
  });
  return order.includes(-1) || order.every((from, c) => from === c) ? undefined : order;
}
