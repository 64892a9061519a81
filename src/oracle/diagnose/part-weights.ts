/**
 * Weights that are wrong for some pairs alone, as where a kernel has one loop for tiles with a mask and one for others.
 * @module
 */
import { gradientsBy } from './backward-hypotheses.ts';
import type { DiagnosisName } from './diagnoses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { TILES } from './hypothesis.ts';
import { MOST_KEPT, type Scene } from './scene.ts';

/** Which pairs, in words that follow a comma. */
interface Pairs {
  readonly words: string;
  readonly has: (i: number, j: number) => boolean;
}

function* partsOf({ N }: Scene): Generator<Pairs> {
  yield { words: 'on the diagonal', has: (i, j) => i === j };
  yield { words: 'off the diagonal', has: (i, j) => i !== j };
  yield { words: 'of key 0', has: (_, j) => j === 0 };
  for (const tile of TILES.filter((size) => size < N)) {
    const at = (n: number): number => Math.floor(n / tile);
    yield { words: `in tiles of ${tile} on the diagonal`, has: (i, j) => at(i) === at(j) };
    yield { words: `in tiles of ${tile} off the diagonal`, has: (i, j) => at(i) !== at(j) };
    yield { words: `in the first tile of ${tile} keys`, has: (_, j) => at(j) === 0 };
    yield { words: `in all tiles of ${tile} keys but the first`, has: (_, j) => at(j) > 0 };
    yield { words: `in the last tile of ${tile} keys`, has: (_, j) => at(j) === at(N - 1) };
    yield { words: `in the last tile of ${tile} queries`, has: (i) => at(i) === at(N - 1) };
    yield { words: `in odd tiles of ${tile} keys`, has: (_, j) => at(j) % 2 === 1 };
    yield { words: `in odd tiles of ${tile} queries`, has: (i) => at(i) % 2 === 1 };
  }
  yield { words: 'of odd keys', has: (_, j) => j % 2 === 1 };
  yield { words: 'of odd queries', has: (i) => i % 2 === 1 };
}

/** What S - norm is in the place of itself. */
type Exponent = (S: number, norm: number, m: number) => number;

function exponents(
  { parameters: { scale, headDim: d } }: Scene, forward: boolean,
): (readonly [DiagnosisName, Exponent, string?])[] {
  return [
    ['exp2-weights', forward ? (S, norm, m) => (S - m) * Math.LN2 + m - norm : (S, norm) => (S - norm) * Math.LN2],
    ...scale === 1 ? [] : [
      ['scale-forgotten', (S: number, norm: number): number => S / scale - norm] as const,
      ['scale-twice', (S: number, norm: number): number => S * scale - norm] as const,
    ],
    ...Math.abs(scale * Math.sqrt(d) - 1) < 1e-6 ? [] : [['scale-own', (S: number, norm: number): number => S / (scale * Math.sqrt(d)) - norm] as const],
    ['scale-off', (S, norm) => S * Math.LOG2E - norm, 'S times log2(e)'],
    ...forward ? [] : [
      ['lse-base-2', (S: number, norm: number): number => S - norm * Math.LOG2E, 'lse times log2(e)'] as const,
      ['lse-base-2', (S: number, norm: number): number => S - norm * Math.LN2, 'lse times ln 2'] as const,
      ['weights-unnormalised', (S: number, _: number, m: number): number => S - m] as const,
    ],
  ];
}

export const partWeights: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N } = scene;
  if (N > MOST_KEPT) return;
  const forward = output === 'out' || output === 'lse';
  if (!forward && output !== 'dv' && output !== 'dq' && output !== 'dk') return;
  for (const { words, has } of partsOf(scene)) {
    for (const [name, exponent, more] of exponents(scene, forward)) {
      const detail = more === undefined ? words : `${more}, ${words}`;
      if (!forward) {
        yield* gradientsBy(scene, output, [{ name, detail, only: output, pairWeight: (query, key) => {
          if (!has(query % N, key % N)) return scene.weight(query, key);
          const S = scene.parameters.scale * scene.product(query, key);
          return Math.exp(exponent(S, scene.lse(query), scene.shift(query)));
        } }]);
        continue;
      }
      yield { name, detail, predict: (query) => {
        const row = scene.row(query);
        const [lse, m] = [scene.lse(query), scene.shift(query)];
        const x = (S: number, j: number): number => (has(row.i, j) ? exponent(S, lse, m) : S - lse);
        const E = row.S.map((S, n) => Math.exp(x(S, row.keys[n])));
        const Z = E.reduce((a, b) => a + b, 0);
        return output === 'lse' ? [lse + Math.log(Z)] : scene.weigh(row, E).map((x) => x / Z);
      } };
    }
    if (output !== 'dq' && output !== 'dk') continue;
    yield* gradientsBy(scene, output, [
      { name: 'd-missing', detail: words, only: output, change: (query, key) => {
        const gain = scene.gain(query, key);
        return has(query % N, key % N) ? gain : gain - scene.D(query);
      } },
      { name: 'ds-without-a', detail: words, only: output, pairWeight: (query, key) => (
        has(query % N, key % N) ? 1 : scene.weight(query, key)) },
    ]);
  }
};
