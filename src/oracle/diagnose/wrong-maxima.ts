/**
 * Softmaxes (§3) from which another maximum than that of the row is subtracted: out is the same, until weights vanish
 * or overflow.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import { TILES } from './hypothesis.ts';
import type { Made } from './softmax.ts';
import type { Scene } from './scene.ts';

/** What is subtracted, by query. */
function* maxima(scene: Scene): Generator<readonly [words: string, of: (query: number) => number]> {
  const { N, R } = scene;
  const m = (query: number): number => scene.shift(query);
  const over = (first: number, count: number, step = 1): number => {
    let most = -Infinity;
    for (let n = 0; n < count; n++) most = Math.max(most, m(first + n * step));
    return most;
  };
  const known = new Map<string, number>();
  const kept = (key: string, make: () => number): number => {
    const made = known.get(key) ?? make();
    known.set(key, made);
    return made;
  };
  for (const tile of TILES) {
    if (tile >= 2 * N || N < 2) continue;
    const first = (query: number): number => query - query % N % tile;
    const count = (query: number): number => Math.min(tile, N - first(query) % N);
    yield [`of all rows of the tile of ${tile} rows`, (query) => kept(`${tile} ${first(query)}`, () => over(first(query), count(query)))];
    yield [`of the first row of the tile of ${tile} rows`, (query) => m(first(query))];
    yield [`of the last row of the tile of ${tile} rows`, (query) => m(first(query) + count(query) - 1)];
    yield [`of the first tile of ${tile} keys that is visible`, (query) => {
      const { keys, S } = scene.row(query);
      return Math.max(...S.filter((_, n) => Math.floor(keys[n] / tile) === Math.floor(keys[0] / tile)));
    }];
    yield [`of the last tile of ${tile} keys that is visible`, (query) => {
      const { keys, S } = scene.row(query);
      return Math.max(...S.filter((_, n) => Math.floor(keys[n] / tile) === Math.floor(keys.at(-1)! / tile)));
    }];
  }
  yield ['of all rows of the head', (query) => kept(`all ${Math.floor(query / N)}`, () => over(query - query % N, N))];
  yield ['of the row before', (query) => m(query - Number(query % N > 0))];
  yield ['of the next row', (query) => m(query + Number(query % N < N - 1))];
  yield ['of all rows so far', (query) => over(query - query % N, query % N + 1)];
  if (R > 1) {
    const first = (query: number): number => query - Math.floor(query / N) % R * N;
    yield ['of the first query head of the group', (query) => m(first(query))];
    yield ['of all query heads of the group', (query) => over(first(query), R, N)];
  }
  yield ['of the first visible key', (query) => scene.row(query).S[0]];
  yield ['of the last visible key', (query) => scene.row(query).S.at(-1)!];
  yield ['of absolute values', (query) => Math.max(...scene.row(query).S.map(Math.abs))];
  yield ['of scores before the scale', (query) => m(query) / scene.parameters.scale];
  yield ['with the other sign', (query) => -m(query)];
}

export function* wrongMaxima<T>(
  scene: Scene, by: (name: DiagnosisName, make: (query: number) => Made, detail?: string) => T,
): Generator<T> {
  for (const [words, of] of maxima(scene)) {
    for (const nothing of [NaN, 0]) { // what is left where every weight underflows
      yield by('max-causal', (query) => {
        const row = scene.row(query);
        const m = of(query);
        const E = row.S.map((x) => scene.exp(x - m));
        const Z = E.reduce((a, b) => a + b, 0);
        return { out: scene.weigh(row, E).map((x) => (Z === 0 ? nothing : x / Z)), lse: m + Math.log(Z) };
      }, `the maximum ${words}`);
    }
  }
}
