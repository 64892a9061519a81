/**
 * Gradients whose intermediates are wrong: lse and D taken from another row, head or part of d.
 * @module
 */
import type { Change } from './backward-change.ts';
import { remembered } from './backward-roundings.ts';
import type { Scene } from './scene.ts';

/** Wrong intermediates, by what is wrong with them. */
export function* wrongIntermediates(scene: Scene): Generator<Change> {
  const { N, d, R, dout } = scene;
  const { queryHeads: H } = scene.parameters;
  const out = scene.truth('out');
  const others: readonly (readonly [string, (query: number) => number])[] = [
    ['the row before', (query) => query - Number(query % N > 0)],
    ['the next row', (query) => query + Number(query % N < N - 1)],
    ...[16, 32, 64].filter((tile) => tile < N).flatMap((tile) => [
      [`the tile of ${tile} rows before`, (query: number): number => (query % N >= tile ? query - tile : query)],
      [`row i mod ${tile}`, (query: number): number => query - query % N + query % N % tile],
    ] as const),
    ...H > 1 ? [
      ['query head 0', (query: number): number => query - Math.floor(query / N) % H * N],
      ['the next query head', (query: number): number => query + (Math.floor(query / N) % H < H - 1 ? N : -(H - 1) * N)],
      ['the query head before', (query: number): number => query + (Math.floor(query / N) % H > 0 ? -N : (H - 1) * N)],
    ] as const : [],
    ...R > 1 ? [['the first query head of the group', (query: number): number => query - Math.floor(query / N) % R * N]] as const : [],
    ...scene.parameters.batch > 1 ? [['batch 0', (query: number): number => query % (H * N)]] as const : [],
  ];
  for (const [of, from] of others) {
    yield { name: 'intermediate-misread', detail: `D of ${of}`, change: (query, key) => scene.gain(query, key) - scene.D(from(query)) };
    yield { name: 'intermediate-misread', detail: `lse of ${of}`, weight: (query, S) => Math.exp(S - scene.lse(from(query))) };
  }
  for (const [detail, factor] of [['log2(e)', Math.LOG2E], ['ln 2', Math.LN2]] as const) {
    yield { name: 'lse-base-2', detail: `lse times ${detail} in the backward`, weight: (query, S) => Math.exp(S - factor * scene.lse(query)) };
    yield { name: 'lse-base-2', detail: `2^x, lse times ${detail}`, weight: (query, S) => 2 ** (S - factor * scene.lse(query)) };
    yield { name: 'lse-base-2', detail: 'S in base 2, lse not', weight: (query, S) => 2 ** (S * Math.LOG2E - scene.lse(query)) };
  }
  const parts: readonly (readonly [string, (c: number) => boolean])[] = d < 2 ? [] : [
    ['the first half of d', (c) => c < d >> 1], ['the first half of d', (c) => c < Math.ceil(d / 2)],
    ['the second half of d', (c) => c >= d >> 1], ['the even numbers of d', (c) => c % 2 === 0],
    ['the odd numbers of d', (c) => c % 2 === 1],
    ...[16, 32, 64].filter((most) => most < d && most !== d >> 1).map((most) => [`the first ${most} numbers of d`, (c: number) => c < most] as const), ['all numbers of d but the last', (c) => c < d - 1],
    ...[4, 8, 16].filter((width) => d % width > 0 && d > width).map((width) => [`whole vectors of ${width} in d`, (c: number) => c < d - d % width] as const),
  ];
  for (const [detail, counts] of parts) {
    const kept = remembered((query) => sumOf(d, (c) => (counts(c) ? dout[query * d + c] * out[query * d + c] : 0)));
    yield { name: 'intermediate-misread', detail: `D over ${detail}`, change: (query, key) => scene.gain(query, key) - kept(query) };
  }
}

function sumOf(d: number, term: (c: number) => number): number {
  let total = 0;
  for (let c = 0; c < d; c++) total += term(c);
  return total;
}
