/**
 * Wrong lifetimes and masks (§2).
 * @module
 */
import { chunkEnd, chunkOf, FOREVER, TokenType } from '../../core/lifetime.ts';
import type { DiagnosisName } from './diagnoses.ts';
import { TILES, type WrongLifetime } from './hypothesis.ts';
import { typesInOtherBits } from './types-in-bits.ts';
import { rarerLifetimes } from './rarer-lifetimes.ts';
import { solvedLifetimes, windowsOf } from './solved-lifetimes.ts';
import type { Plan, Scene, Sees } from './scene.ts';

const { GLOBAL, LOCAL, WINDOW } = TokenType;

/** Wrong masks, the most likely first. */
export function* wrongLifetimes(scene: Scene): Generator<WrongLifetime> {
  const { N, chunks, parameters: { chunk: C, window: W, kvHeads: G } } = scene;
  const life = (
    name: DiagnosisName, change: (head: number, j: number, type: number, c: number) => number,
  ): WrongLifetime => {
    const made: Int32Array[] = [];
    const lasts = (head: number): Int32Array => (made[head] ??= Int32Array.from({ length: N }, (_, t) => {
      const c = chunkOf(t, C);
      return Math.min(change(head, t, scene.plan(head).own[c], c), FOREVER);
    }));
    const last = (head: number, j: number): number => lasts(head)[j];
    const sees = (head: number, i: number, j: number): boolean => j <= i && i <= last(head, j);
    return { name, last, sees: Object.assign(sees, { lasts }) };
  };
  const right = (head: number, j: number): number => scene.last[head * N + j];
  const ofType = (
    wanted: number, name: DiagnosisName, change: (head: number, j: number, c: number) => number,
  ): WrongLifetime => life(name, (head, j, type, c) => (type === wanted ? change(head, j, c) : right(head, j)));

  /** last(j) by the type of a neighbouring chunk, where j is. */
  const lastBy = (head: number, j: number, c: number, by: number): number => {
    const plan = scene.plan(head);
    const own = plan.own.map((_, n) => plan.own[Math.min(Math.max(n + by, 0), chunks - 1)]);
    return own[c] === GLOBAL ? FOREVER : own[c] === WINDOW ? chunkEnd(c, C) + W
      : Math.max(j, closer({ own }, c, C, (type) => type === GLOBAL));
  };
  yield ofType(WINDOW, 'window-long', (head, j) => right(head, j) + 1);
  yield ofType(WINDOW, 'window-short', (head, j) => right(head, j) - 1);
  for (const most of [16, 32, 64, 128]) {
    if (W > most) yield ofType(WINDOW, 'window-clipped', (head, j) => right(head, j) - W + most);
  }
  yield ofType(LOCAL, 'local-late', (head, j) => right(head, j) + 1);
  yield ofType(LOCAL, 'local-early', (head, j) => (right(head, j) === FOREVER ? FOREVER : right(head, j) - 1));
  yield ofType(LOCAL, 'local-never', () => FOREVER);
  yield ofType(LOCAL, 'local-by-itself', (_, j) => j);
  yield ofType(LOCAL, 'local-by-itself', (_, _j, c) => chunkEnd(c, C));
  yield ofType(LOCAL, 'local-by-local', (head, _, c) => closer(scene.plan(head), c, C, (type) => type !== WINDOW));
  yield ofType(LOCAL, 'local-by-local', (head, _, c) => closer(scene.plan(head), c, C, (type) => type === LOCAL));
  yield ofType(LOCAL, 'local-by-any', (head, _, c) => closer(scene.plan(head), c, C, (type) => type !== LOCAL));
  yield ofType(LOCAL, 'local-by-any', (_, _j, c) => chunkEnd(c + 1, C));
  yield ofType(LOCAL, 'local-chunk-first', (head, j) => (right(head, j) === FOREVER ? FOREVER : right(head, j) - C + 1));
  yield ofType(LOCAL, 'local-by-last-global', (head, _, c) => {
    const after = scene.plan(head).own.lastIndexOf(GLOBAL);
    return after > c ? chunkEnd(after, C) : FOREVER;
  });
  for (const step of G > 1 ? [1, G - 1] : []) {
    yield ofType(LOCAL, 'local-by-neighbour', (head, _, c) =>
      closer(scene.plan(head - head % G + (head + step) % G), c, C, (type) => type === GLOBAL));
  }
  if (C > 1) {
    yield ofType(WINDOW, 'window-from-token', (_, j) => j + W);
    yield ofType(WINDOW, 'window-in-chunks', (_, _j, c) => chunkEnd(c, C) + W * C);
    yield ofType(WINDOW, 'window-from-chunk-start', (_, j, c) => Math.max(j, c * C + W));
    yield ofType(WINDOW, 'window-from-chunk-start', (_, _j, c) => c * C + W);
  }
  yield ofType(WINDOW, 'window-forever', () => FOREVER);
  for (const [size, words] of windowsOf(scene)) {
    const change = (head: number, j: number): number => right(head, j) - W + size;
    yield { ...ofType(WINDOW, 'window-other', change), also: words.slice(0, -1), detail: words.at(-1)! };
  }
  for (const tile of TILES.filter((each) => each < N)) {
    for (const [detail, end] of [
      [`up to whole tiles of ${tile}`, (last: number): number => Math.floor(last / tile) * tile + tile - 1],
      [`down to whole tiles of ${tile}`, (last: number): number => Math.floor(last / tile) * tile - 1],
      [`down to the first of a tile of ${tile}`, (last: number): number => Math.floor(last / tile) * tile],
    ] as const) {
      const ended = (head: number, j: number): number =>
        (right(head, j) === FOREVER ? FOREVER : Math.max(j, end(right(head, j))));
      yield { ...ofType(WINDOW, 'ends-by-tile', ended), detail: `WINDOW ${detail}` };
      yield { ...ofType(LOCAL, 'ends-by-tile', ended), detail: `LOCAL ${detail}` };
      yield { ...life('ends-by-tile', ended), detail: `all ${detail}` };
    }
  }
  for (const by of [-3, -2, 2, 3]) {
    yield {
      ...ofType(LOCAL, 'local-other', (head, j) => (right(head, j) === FOREVER ? FOREVER : Math.max(j, right(head, j) + by))),
      detail: `${Math.abs(by)} tokens ${by < 0 ? 'early' : 'late'}`,
    };
  }
  for (const by of [-1, 1]) {
    yield { ...life('types-moved', (head, j, _, c) => lastBy(head, j, c, by)), detail: `the types of the ${by < 0 ? 'chunk before' : 'next chunk'}` };
  }
  for (const { detail, type } of typesInOtherBits(scene)) {
    const own = (head: number): Int32Array => Int32Array.from({ length: chunks }, (_, c) => type(head, c));
    yield {
      ...life('types-moved', (head, _j, _type, c) => (type(head, c) === GLOBAL ? FOREVER : type(head, c) === WINDOW
        ? chunkEnd(c, C) + W : closer({ own: own(head) }, c, C, (each) => each === GLOBAL))), detail,
    };
  }
  for (const by of G > 1 ? [1, G - 1] : []) {
    yield {
      ...life('types-moved', (head, j) => right(head - head % G + (head + by) % G, j)),
      detail: `the lifetimes of the KV head ${by === 1 ? 'after' : 'before'}`,
    };
  }
  if (scene.heads > G) yield { ...life('types-moved', (head, j) => right((head + G) % scene.heads, j)), detail: 'the lifetimes of the next sequence' };
  for (const by of [-1, 1]) {
    yield {
      ...life('types-moved', (head, j) => Math.max(j, right(head, Math.min(Math.max(j + by, 0), N - 1)))),
      detail: `last() of the ${by < 0 ? 'token before' : 'next token'}`,
    };
  }
  for (const tile of [C, ...TILES]) {
    yield ofType(GLOBAL, 'global-chunk-edge', (_, j) => (Math.floor(j / tile) + 1) * tile - 1);
    yield ofType(GLOBAL, 'global-chunk-edge', (_, j) => (Math.floor(j / tile) + 1) * tile);
  }
  yield ofType(GLOBAL, 'global-by-global', (head, _, c) => closer(scene.plan(head), c, C, (type) => type === GLOBAL));
  yield ofType(GLOBAL, 'sink-forgotten', (_, _j, c) => (c === 0 ? chunkEnd(c, C) + W : FOREVER));
  yield life('last-excluded', (head, j) => (right(head, j) === FOREVER ? FOREVER : right(head, j) - 1));
  yield life('last-excluded', (head, j) => (right(head, j) === FOREVER ? FOREVER : Math.max(j, right(head, j) - 1)));
  yield life('types-of-first-head', (head, j) => right(head - head % G, j));
  yield life('types-of-first-batch', (head, j) => right(head % G, j));
  const given = scene.types;
  yield life('unfinished-chunk', (head, _j, _, c) => {
    const type = given[head * chunks + c];
    const own = given.subarray(head * chunks, (head + 1) * chunks);
    return type === GLOBAL ? FOREVER : type === WINDOW ? chunkEnd(c, C) + W
      : closer({ own } as unknown as Plan, c, C, (each) => each === GLOBAL);
  });

  yield* rarerLifetimes(scene, ofType);
  yield* solvedLifetimes(scene, ofType, (change) => life('ends-by-tile', change));
  const mask = (name: DiagnosisName, sees: Sees, detail?: string): WrongLifetime =>
    ({ name, sees, ...(detail !== undefined && { detail }) });
  yield mask('causal-missing', (head, i, j) => i <= right(head, j));
  yield mask('causal-missing', (head, i, j) => i <= right(head, j) && i <= j + W || j <= i && scene.sees(head, i, j));
  yield mask('causal-missing', (head, i, j) => j > i || scene.sees(head, i, j));
  yield mask('causal-late', (head, i, j) => j <= i + 1 && i <= right(head, j));
  yield mask('diagonal-hidden', (head, i, j) => j < i && i <= right(head, j));
  yield mask('diagonal-hidden', (head, i, j) => (j < i || i === 0) && scene.sees(head, i, j));
  yield mask('mask-ignored', (_, i, j) => j <= i);
  yield mask('mask-transposed', (head, i, j) => scene.sees(head, j, i));
  for (const tile of TILES) {
    const tileOf = (n: number): number => Math.floor(n / tile);
    const partial = Math.floor(N / tile);
    yield mask('tile-skipped', (head, i, j) => scene.sees(head, i, j) && tileOf(j) !== partial, `the last, partial one of ${tile}`);
    yield mask('tile-skipped', (head, i, j) => scene.sees(head, i, j) && tileOf(j) !== 0, `the first, of ${tile}`);
    yield mask('tile-skipped', (head, i, j) => scene.sees(head, i, j) && (tileOf(i) === 0 || tileOf(j) !== 0), `the first, for rows after it, of ${tile}`);
    yield mask('tile-skipped', (head, i, j) => scene.sees(head, i, j) && tileOf(j) !== tileOf(i), `the one on the diagonal, of ${tile}`);
    yield mask('tile-skipped', (head, i, j) => scene.sees(head, i, j) && tileOf(j) !== tileOf(i) - 1, `the one before the diagonal, of ${tile}`);
    yield mask('tile-skipped', (head, i, j) => scene.sees(head, i, j) && tileOf(j) !== 1, `the second, of ${tile}`);
    yield mask('tile-by-first-key', (head, i, j) => scene.sees(head, i, j) && scene.sees(head, i, tileOf(j) * tile));
    if (N % tile > 0) {
      yield mask('tile-unmasked', (head, i, j) => j <= i && (tileOf(j) === partial || scene.sees(head, i, j)), `of ${tile}`);
      yield mask('tile-unmasked', (head, i, j) => (tileOf(i) === partial ? i <= right(head, j) : scene.sees(head, i, j)), `of ${tile}`);
      yield mask('tile-unmasked', (head, i, j) => (tileOf(j) === partial || scene.sees(head, i, j)), `of ${tile}`);
    }
    for (const row of [(i: number) => tileOf(i) * tile, (i: number) => Math.min(tileOf(i) * tile + tile, N) - 1]) {
      yield mask('tile-by-first-key', (head, i, j) => scene.sees(head, i, j)
        && (tileOf(j) === tileOf(i) || scene.sees(head, row(i), tileOf(j) * tile)));
    }
    const tiles = tileOf(N - 1) + 1;
    const known = new Map<number, Uint8Array>();
    const anySeen = (head: number, i: number, t: number): boolean => {
      const at = head * N + i;
      let row = known.get(at);
      if (!row) {
        known.set(at, row = new Uint8Array(tiles));
        for (const j of scene.keysSeen(head, i)) row[tileOf(j)] = 1;
      }
      return row[t] === 1;
    };
    yield mask('tile-whole', (head, i, j) => j <= i && anySeen(head, i, tileOf(j)), `tiles of ${tile}`);
    yield mask('tile-whole', (head, i, j) => j <= i && (tileOf(j) === tileOf(i) ? scene.sees(head, i, j)
      : anySeen(head, i, tileOf(j))), `tiles of ${tile}`);
  }
  yield* tilesByRow(scene);
  yield* wholeByRow(scene);
  yield* turnedInTiles(scene);
}

/** The mask of each square tile applied to its transpose; what lies beyond N is hidden, or as it must be. */
function* turnedInTiles(scene: Scene): Generator<WrongLifetime> {
  const { N } = scene;
  for (const tile of TILES.filter((each) => each < 2 * N)) {
    const turned = (a: number, b: number): number => a - a % tile + b % tile;
    const partial = N % tile > 0;
    for (const kept of partial ? [false, true] : [false]) {
      const sees: Sees = (head, i, j) => {
        const [row, key] = [turned(i, j), turned(j, i)];
        return row < N && key < N ? scene.sees(head, row, key) : kept && scene.sees(head, i, j);
      };
      yield { name: 'mask-transposed', sees, detail: `within each tile of ${tile}` };
    }
    const own = (i: number, j: number): boolean => Math.floor(i / tile) === Math.floor(j / tile);
    const diagonal: Sees = (head, i, j) => (own(i, j) ? scene.sees(head, j, i) : scene.sees(head, i, j));
    yield { name: 'mask-transposed', sees: diagonal, detail: `within tiles of ${tile} on the diagonal` };
  }
}

/** Tiles of keys that are skipped where one row of a tile of rows, the last or the first, sees none of their keys. */
function* tilesByRow(scene: Scene): Generator<WrongLifetime> {
  const { N } = scene;
  for (const rows of TILES.filter((each) => each < N)) {
    for (const keys of TILES.filter((each) => each < N && each <= 2 * rows && rows <= 2 * each)) {
      for (const which of ['last', 'first'] as const) {
        const known = new Map<number, Uint8Array>();
        const seen = (head: number, i: number, j: number): boolean => {
          const first = Math.floor(i / rows) * rows;
          let own = known.get(head * N + first);
          if (!own) {
            known.set(head * N + first, own = new Uint8Array(Math.ceil(N / keys)));
            const row = which === 'first' ? first : Math.min(first + rows, N) - 1;
            for (const key of scene.keysSeen(head, row)) own[Math.floor(key / keys)] = 1;
          }
          return own[Math.floor(j / keys)] === 1;
        };
        const detail = `of ${keys}, where the ${which} of ${rows} rows sees no key of it`;
        const diagonal = (i: number, j: number): boolean => Math.floor(i / rows) === Math.floor(j / rows);
        const sees: Sees = (head, i, j) => scene.sees(head, i, j) && (diagonal(i, j) || seen(head, i, j));
        yield { name: 'tile-skipped', detail, sees };
        if (which === 'first') continue; // of its own rows the first sees none but itself
        yield { name: 'tile-skipped', detail, sees: (head, i, j) => scene.sees(head, i, j) && seen(head, i, j) };
      }
    }
  }
}

/** Tiles before the diagonal that are seen whole where the first row of a tile of rows, or the last, sees all keys. */
function* wholeByRow(scene: Scene): Generator<WrongLifetime> {
  const { N } = scene;
  for (const tile of TILES.filter((each) => each < N)) {
    const at = (n: number): number => Math.floor(n / tile);
    for (const which of ['first'] as const) {
      const known = new Map<number, Int32Array>();
      const sees: Sees = (head, i, j) => {
        if (scene.sees(head, i, j)) return true;
        if (at(j) >= at(i)) return false;
        let own = known.get(head * N + at(i));
        if (!own) {
          known.set(head * N + at(i), own = new Int32Array(at(N - 1) + 1));
          for (const key of scene.keysSeen(head, which === 'first' ? at(i) * tile : Math.min(at(i) * tile + tile, N) - 1)) own[at(key)]++;
        }
        return own[at(j)] === tile;
      };
      yield { name: 'tile-whole', sees, detail: `tiles of ${tile} of which the ${which} of ${tile} rows sees all keys` };
    }
  }
}

/** The last token of the first chunk after c whose type closes LOCAL, or FOREVER. */
function closer({ own }: Pick<Plan, 'own'>, c: number, C: number, closes: (type: number) => boolean): number {
  for (let n = c + 1; n < own.length; n++) if (closes(own[n])) return chunkEnd(n, C);
  return FOREVER;
}
