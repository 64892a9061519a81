/**
 * Wrong lifetimes (§2) of scans over blocks, of narrow integers, and of loops that start one too late.
 * @module
 */
import { chunkEnd, FOREVER, TokenType } from '../../core/lifetime.ts';
import type { DiagnosisName } from './diagnoses.ts';
import { TILES, type WrongLifetime } from './hypothesis.ts';
import type { Scene } from './scene.ts';

const { GLOBAL, LOCAL, WINDOW } = TokenType;

/** Makes a lifetime that is wrong for tokens of one type. */
export type OfType = (
  type: number, name: DiagnosisName, change: (head: number, j: number, c: number) => number,
) => WrongLifetime;

export function* rarerLifetimes(scene: Scene, ofType: OfType): Generator<WrongLifetime> {
  const { N, chunks, parameters: { chunk: C, window: W, kvHeads: G } } = scene;
  const global = (head: number, c: number): boolean => scene.plan(head).own[c] === GLOBAL;
  /** The end of the n-th chunk from `from` to before `to` that counts, or FOREVER. */
  const closing = (from: number, to: number, counts: (c: number) => boolean, n = 1): number => {
    let left = n;
    for (let c = from; c < Math.min(to, chunks); c++) if (counts(c) && --left === 0) return chunkEnd(c, C);
    return FOREVER;
  };
  const local = (name: DiagnosisName, detail: string, change: (head: number, c: number) => number): WrongLifetime =>
    ({ ...ofType(LOCAL, name, (head, _, c) => change(head, c)), detail });
  if (G > 1) {
    yield local('local-by-neighbour', 'of any KV head', (head, c) => closing(c + 1, chunks, (each) =>
      Array.from({ length: G }, (_, g) => head - head % G + g).some((other) => global(other, each))));
    yield local('local-by-neighbour', 'of KV head 0', (head, c) => closing(c + 1, chunks, (each) => global(head - head % G, each)));
  }
  yield local('local-other', 'not by the chunk right behind it', (head, c) => closing(c + 2, chunks, (each) => global(head, each)));
  yield local('local-other', 'by the second GLOBAL after it', (head, c) => closing(c + 1, chunks, (each) => global(head, each), 2));
  for (const [detail, n] of [['up to the chunk before its GLOBAL', 1], ['up to the second GLOBAL, so in the next segment, too', 2]] as const) {
    yield local('local-other', detail, (head, c) => {
      const end = closing(c + 1, chunks, (each) => global(head, each), n);
      return end === FOREVER ? FOREVER : end - C;
    });
  }
  yield local('local-other', 'not by the last chunk', (head, c) => closing(c + 1, chunks - 1, (each) => global(head, each)));
  for (const block of [8, 16, 32, 64, 128].filter((each) => each < chunks)) {
    yield local('local-in-block', `blocks of ${block} chunks`, (head, c) =>
      closing(c + 1, (Math.floor(c / block) + 1) * block, (each) => global(head, each)));
  }
  for (const range of [64, 128, 256].filter((each) => each < N)) {
    const age = (head: number, i: number, j: number): boolean => {
      const last = scene.last[head * N + j];
      const again = (i - j) % range <= last - j && scene.plan(head).own[Math.floor(j / C)] === WINDOW;
      return j <= i && (i <= last || again);
    };
    yield { name: 'integer-wraps', sees: age, detail: `ages modulo ${range}` };
  }
  for (const range of [16, 32, 64, 128, 256].filter((each) => each <= W)) {
    yield { ...ofType(WINDOW, 'integer-wraps', (head, j) => scene.last[head * N + j] - W + W % range), detail: `W modulo ${range}` };
  }
  for (const tile of TILES.filter((each) => each < N)) {
    yield { name: 'key-lost', detail: `key 0, in rows from ${tile}`, sees: (head, i, j) => scene.sees(head, i, j) && (j > 0 || i < tile) };
  }
}
