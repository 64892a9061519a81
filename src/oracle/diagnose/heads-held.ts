/**
 * Outputs whose heads hold other heads as a whole, and zeros where nothing is written.
 * @module
 */
import type { Hypothesis } from './hypothesis.ts';
import type { Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** How far, relatively and squared, a head may be from the one that it holds. */
const SAME = 1e-6;

/** Rules by which heads may hold other heads, that are true of all heads: those that hold themselves, too. */
export function headRules(scene: Scene, held: readonly number[], heads: number): readonly string[] {
  const { R, parameters: { kvHeads: G, queryHeads: H } } = scene;
  const one = headWord(scene, heads);
  type Rule = readonly [words: string, from: (b: number, h: number) => number];
  const B = held.length / heads;
  const rules: readonly Rule[] = [
    ...heads === H && R > 1 ? [
      [`${one} h holds the last query head of KV head h, and those from G on are 0`, (b, h) => (h < G ? b * H + h * R + R - 1 : -1)],
      [`${one} h holds the first query head of KV head h, and those from G on are 0`, (b, h) => (h < G ? b * H + h * R : -1)],
      ['all query heads of a group hold its first', (b, h) => b * H + h - h % R],
      ['all query heads of a group hold its last', (b, h) => b * H + h - h % R + R - 1],
      [`${one} h is at the place of head (h mod G) R + floor(h / G)`, (b, h) => b * H + h % R * G + Math.floor(h / R)],
      [`${one} h is at the place of head (h mod R) G + floor(h / R)`, (b, h) => b * H + h % G * R + Math.floor(h / G)],
      ['the query heads of a group in reverse order', (b, h) => b * H + h - h % R + R - 1 - h % R],
      ['the query heads of a group one further', (b, h) => b * H + h - h % R + (h % R + R - 1) % R],
      ['all query heads of a group hold its second', (b, h) => b * H + h - h % R + 1],
      ['pairs of query heads hold the first of them', (b, h) => b * H + h - h % 2],
    ] satisfies Rule[] : [],
    [`every ${one} holds ${one} 0`, (b) => b * heads],
    [`every ${one} holds the last ${one}`, (b) => b * heads + heads - 1],
    [`${one}s in reverse order`, (b, h) => b * heads + heads - 1 - h],
    [`${one} 0 holds the last ${one}, and the others are 0`, (b, h) => (h === 0 ? b * heads + heads - 1 : -1)],
    ...[1, 2].flatMap((by): Rule[] => (by >= heads ? [] : [
      [`head h holds head h - ${by}`, (b, h) => (h < by ? b * heads + h : b * heads + h - by)],
      [`head h holds head h + ${by}`, (b, h) => b * heads + (h + by < heads ? h + by : h)],
      [`head h holds head h - ${by}, in a circle`, (b, h) => b * heads + (h - by + heads) % heads],
      [`head h holds head h + ${by}, in a circle`, (b, h) => b * heads + (h + by) % heads],
    ])),
    ...B > 1 ? [
      ['every sequence holds batch 0', (_, h) => h], ['every sequence holds the last batch', (_, h) => (B - 1) * heads + h],
      ['batch b holds batch b - 1', (b, h) => Math.max(b - 1, 0) * heads + h],
      ['batch b holds batch b + 1', (b, h) => Math.min(b + 1, B - 1) * heads + h],
      ['batch b holds batch b + 1, in a circle', (b, h) => (b + 1) % B * heads + h],
      ['batch b holds batch b - 1, in a circle', (b, h) => (b + B - 1) % B * heads + h],
      ['every head of every sequence holds the first of all', () => 0],
      ['written as [H,B]: heads and sequences swapped', (b, h) => (b * heads + h) % B * heads + Math.floor((b * heads + h) / B)],
    ] satisfies Rule[] : [],
  ];
  return rules.filter(([, from]) => held.every((x, to) => x === from(Math.floor(to / heads), to % heads)))
    .map(([words]) => words);
}

const headWord = ({ parameters: { kvHeads: G, queryHeads: H } }: Scene, heads: number): string =>
  (heads === H && heads !== G ? 'query head' : heads === G && H !== G ? 'KV head' : 'head');

/** @param size How many numbers a head has. @param heads How many heads a sequence has. */
export function* headsHeld(scene: Scene, output: OutputName, size: number, heads: number): Generator<Hypothesis> {
  const [truth, actual] = [scene.truth(output), scene.outputs[output].data];
  const count = truth.length / size;
  if (count < 2 || heads < 2) return;
  /** The head that each one holds; -1 where it is 0. */
  const held: number[] = [];
  for (let to = 0; to < count; to++) {
    const own = actual.subarray(to * size, (to + 1) * size);
    let square = 0;
    for (const x of own) square += x * x;
    const isHeld = (from: number): boolean => {
      let off = 0;
      for (let n = 0; n < size; n++) off += (own[n] - truth[from * size + n]) ** 2;
      return off <= SAME * square;
    };
    const from = square === 0 ? -1 : isHeld(to) ? to : [...Array(count).keys()].find(isHeld);
    if (from === undefined) return;
    held.push(from);
  }
  const moved = held.flatMap((from, to) => (from >= 0 && from !== to ? [to] : []));
  if (moved.length === 0) return;
  const one = headWord(scene, heads);
  const fits = headRules(scene, held, heads);
  const words = (at: number): string =>
    `${count > heads ? `batch ${Math.floor(at / heads)} ` : ''}${one} ${at % heads}`;
  const [detail, ...also] = fits.length > 0 ? fits
    : [moved.slice(0, 2).map((to) => `${words(to)} holds ${words(held[to])}`).join(', ')];
  const zeros = held.includes(-1);
  yield {
    name: 'rows-moved', detail: fits.length === 0 && zeros ? `${detail}, and others are 0` : detail, also,
    predict: (row) => {
      const from = held[Math.floor(row / size)];
      return [from < 0 ? 0 : truth[from * size + row % size]];
    },
  };
}
