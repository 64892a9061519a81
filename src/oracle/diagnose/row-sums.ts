/**
 * dm_rows (§4) that sums other pairs of dM than those of its row: columns, rows of another place, visible or hidden
 * pairs.
 * @module
 */
import { chunkEnd } from '../../core/lifetime.ts';
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import { MOST_KEPT } from './scene.ts';
import { rightPair } from './wrong-pairs.ts';

export const rowSums: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (output !== 'dm_rows' || scene.N > MOST_KEPT) return;
  const { N, R, parameters: { chunk: C, window: W } } = scene;
  const at = rightPair(scene);
  const known = new Map<number, Float64Array>();
  const dM = (head: number, i: number, j: number): number => {
    let row = known.get(head * N + i);
    if (!row) known.set(head * N + i, row = new Float64Array(N).fill(NaN));
    if (Number.isNaN(row[j])) row[j] = at(head, i, j);
    return row[j];
  };
  type Of = (head: number, i: number) => number;
  const made = (detail: string, of: Of): Hypothesis =>
    ({ name: 'dm-rows-other', detail, predict: (row) => [of(Math.floor(row / N), row % N)] });
  type Has = (head: number, i: number, j: number) => boolean;
  const row = (has: Has): Of => (head, i) => {
    let total = 0;
    for (let j = 0; j <= i; j++) if (has(head, i, j)) total += dM(head, i, j);
    return total;
  };
  const column = (has: Has): Of => (head, j) => {
    let total = 0;
    for (let i = j; i < N; i++) if (has(head, i, j)) total += dM(head, i, j);
    return total;
  };
  const whole = (head: number, i: number): number => scene.truth(output)[head * N + i];
  const seen: Has = (head, i, j) => scene.sees(head, i, j);
  const hidden: Has = (head, i, j) => !scene.sees(head, i, j);
  const others: Has = (_, i, j) => i !== j;
  const sets: readonly (readonly [string, Has])[] = [
    ['', () => true], ['visible pairs of ', seen], ['hidden pairs of ', hidden],
    ['all pairs but that of a token with itself of ', others],
    ['visible pairs but that of a token with itself of ', (head, i, j) => i !== j && seen(head, i, j)],
  ];
  for (const [words, has] of sets) {
    yield made(`${words}the column of each key in the place of its row, dM transposed`, column(has));
    if (words !== '') yield made(`${words}each row`, row(has));
  }
  const both = column(others);
  yield made('its row and its column, both', (head, i) => whole(head, i) + both(head, i));
  yield made('its row less its column', (head, i) => whole(head, i) - column(() => true)(head, i));
  for (const tile of TILES.filter((size) => size < N)) {
    const same = (i: number, j: number): boolean => Math.floor(i / tile) === Math.floor(j / tile);
    yield made(`columns in the place of rows in tiles of ${tile} on the diagonal, each tile transposed`, (head, i) => {
      let total = 0;
      const first = i - i % tile;
      for (let n = first; n < Math.min(first + tile, N); n++) if (n >= i) total += dM(head, n, i);
      return total + row((_, a, b) => !same(a, b))(head, i);
    });
    yield made(`each tile of ${tile} transposed`, (head, i) => {
      let total = 0;
      const first = i - i % tile;
      for (let t = 0; t <= first; t += tile) {
        const j = t + i % tile;
        for (let n = first; n < Math.min(first + tile, N); n++) if (j <= n) total += dM(head, n, j);
      }
      return total;
    });
    yield made(`the largest partial sum of tiles of ${tile} keys alone`, (head, i) => {
      let most = -Infinity;
      for (let t = 0; t <= i; t += tile) most = Math.max(most, row((_, __, j) => j >= t && j < t + tile)(head, i));
      return most;
    });
  }
  yield made('all rows up to it', (head, i) => {
    let total = 0;
    for (let n = 0; n <= i; n++) total += whole(head, n);
    return total;
  });
  yield made('all rows of its chunk', (head, i) => {
    let total = 0;
    for (let n = i - i % C; n < Math.min(i - i % C + C, N); n++) total += whole(head, n);
    return total;
  });
  yield made('the mean of its pairs, not their sum', (head, i) => whole(head, i) / (i + 1));
  yield made('the mean over N keys, not the sum', (head, i) => whole(head, i) / N);
  yield made('the mean of its visible pairs', (head, i) => row(seen)(head, i) / scene.keysSeen(head, i).length);
  yield made('the sum over the number of visible keys', (head, i) => whole(head, i) / scene.keysSeen(head, i).length);
  yield made('keys up to the end of the chunk before', row((_, i, j) => j < i - i % C));
  yield made('keys of its own chunk alone', row((_, i, j) => j >= i - i % C));
  yield made('keys within W alone', row((_, i, j) => i - j <= W));
  yield made('keys up to the end of their window alone', row((_, i, j) => i <= chunkEnd(Math.floor(j / C), C) + W));
  yield made('keys up to e(j) alone', row((head, i, j) => i <= scene.plan(head).closing[Math.floor(j / C)]));
  yield made('keys after e(j) alone', row((head, i, j) => i > scene.plan(head).closing[Math.floor(j / C)]));
  yield made('the pair of each token with itself alone', row((_, i, j) => i === j));
  yield made('key 0 alone', row((_, __, j) => j === 0));
  yield made('the absolute value of the sum', (head, i) => Math.abs(whole(head, i)));
  yield made('the absolute values of dM', (head, i) => {
    let total = 0;
    for (let j = 0; j <= i; j++) total += Math.abs(dM(head, i, j));
    return total;
  });
  yield made('the squares of dM', (head, i) => {
    let total = 0;
    for (let j = 0; j <= i; j++) total += dM(head, i, j) ** 2;
    return total;
  });
  yield made('the largest of dM', (head, i) => {
    let most = -Infinity;
    for (let j = 0; j <= i; j++) most = Math.max(most, dM(head, i, j));
    return most;
  });
  if (R > 1) yield made('the sum times the query heads of a group', (head, i) => R * whole(head, i));
};
