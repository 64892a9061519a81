/**
 * Softmaxes (§3) of splits of the keys that are merged wrongly, whose running maximum starts at 0, or whose weights are
 * whole steps.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import { TILES } from './hypothesis.ts';
import type { Made } from './softmax.ts';
import type { Row, Scene } from './scene.ts';

/** The softmax of some keys of a row, before it is divided by Z. */
interface Part {
  readonly m: number;
  readonly Z: number;
  readonly o: Float64Array;
}

function partOf(scene: Scene, row: Row, has: (j: number) => boolean): Part {
  const at = [...row.keys.keys()].filter((n) => has(row.keys[n]));
  const S = at.map((n) => row.S[n]);
  const m = Math.max(...S);
  const E = S.map((x) => scene.exp(x - m));
  return { m, Z: total(E), o: scene.weigh({ ...row, keys: at.map((n) => row.keys[n]), S }, E) };
}

const total = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);
const sums = (d: number, parts: readonly Part[], of: (part: Part, c: number) => number): Float64Array =>
  Float64Array.from({ length: d }, (_, c) => total(parts.map((part) => of(part, c))));

/** How results of splits may be merged instead of by e^(m - the largest m). */
const MERGES: readonly (readonly [how: string, merge: (d: number, parts: readonly Part[]) => Made])[] = [
  ['added without a common maximum: neither accumulator nor sum rescaled', (d, parts) => {
    const Z = total(parts.map((part) => part.Z));
    return { out: sums(d, parts, ({ o }, c) => o[c] / Z), lse: Math.max(...parts.map(({ m }) => m)) + Math.log(Z) };
  }],
  ['averaged', (d, parts) => ({
    out: sums(d, parts, ({ o, Z }, c) => o[c] / Z / parts.length),
    lse: total(parts.map(({ m, Z }) => m + Math.log(Z))) / parts.length,
  })],
];

/** Forward passes of one row, by name. */
export function* mergedForwards<T>(
  scene: Scene, by: (name: DiagnosisName, make: (query: number) => Made, detail?: string) => T,
): Generator<T> {
  const { N, d } = scene;
  for (const size of TILES.filter((each) => each < N)) {
    for (const two of size * 2 < N ? [false, true] : [false]) {
      const split = (j: number): number => (two ? Math.min(Math.floor(j / size), 1) : Math.floor(j / size));
      for (const [how, merge] of MERGES) {
        yield by('splits-merged', (query) => {
          const row = scene.row(query);
          return merge(d, [...new Set(row.keys.map(split))].map((n) => partOf(scene, row, (j) => split(j) === n)));
        }, `${two ? `two splits at key ${size}` : `splits of ${size} keys`}, ${how}`);
      }
    }
  }
  yield by('max-missing', (query) => {
    const row = scene.row(query);
    const m = Math.max(0, ...row.S);
    const E = row.S.map((x) => scene.exp(x - m));
    const single = scene.dtype === 'f64' ? (x: number): number => x : Math.fround;
    const Z = E.reduce((sum, e) => single(sum + e), 0);
    const out = Float64Array.from({ length: d }, (_, c) => single(row.keys.reduce((sum, j, n) =>
      single(sum + single(E[n] * scene.v[(row.from * N + j) * d + c])), 0) / Z));
    return { out, lse: m + Math.log(Z) };
  }, 'the maximum starts at 0');
  for (const steps of [127, 255, 128, 256, 7, 15]) {
    const whole = (e: number): number => Math.round(e * steps) / steps;
    for (const tile of [N, ...steps % 128 === 127 ? TILES.filter((each) => each < N) : []]) {
      yield by('probabilities-bits', (query) => steppedRow(scene, scene.row(query), tile, whole),
        `in steps of 1 / ${steps}${tile === N ? '' : `, in tiles of ${tile} keys`}`);
    }
  }
}

/** Weights that are relative to the maximum so far, rounded before their product with v; Z is exact. */
function steppedRow(scene: Scene, row: Row, tile: number, round: (e: number) => number): Made {
  let [m, Z] = [-Infinity, 0];
  const o = new Float64Array(scene.d);
  for (const t of new Set(row.keys.map((j) => Math.floor(j / tile)))) {
    const at = [...row.keys.keys()].filter((n) => Math.floor(row.keys[n] / tile) === t);
    const S = at.map((n) => row.S[n]);
    const top = Math.max(m, ...S);
    const alpha = scene.exp(m - top);
    const E = S.map((x) => scene.exp(x - top));
    Z = Z * alpha + total(E);
    scene.weigh({ ...row, keys: at.map((n) => row.keys[n]), S }, E.map(round))
      .forEach((x, c) => (o[c] = o[c] * alpha + x));
    m = top;
  }
  return { out: o.map((x) => x / Z), lse: m + Math.log(Z) };
}
