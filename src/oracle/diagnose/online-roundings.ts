/**
 * Too little precision in the running sums, maxima and factors of an online softmax (§3).
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import { brain, FORMATS, half } from './narrow-floats.ts';
import { type Made, softmax } from './softmax.ts';
import type { Scene } from './scene.ts';

type Round = (x: number) => number;
type By<T> = (name: DiagnosisName, make: (query: number) => Made, detail?: string) => T;

/** Forward passes that round what is neither S nor P. */
export function* intermediates<T>(scene: Scene, by: By<T>): Generator<T> {
  const name = 'intermediate-rounded';
  const right = (query: number): { m: number; Z: number; o: Float64Array } => {
    const row = scene.row(query);
    const { m, E, Z } = softmax(scene, row.S);
    return { m, Z, o: scene.weigh(row, E) };
  };
  const made = (detail: string, make: (parts: { m: number; Z: number; o: Float64Array }) => Made): T =>
    by(name, (query) => make(right(query)), detail);
  for (const [to, round] of FORMATS) {
    yield made(`Z to ${to}`, ({ m, Z, o }) => ({ out: o.map((x) => x / round(Z)), lse: m + Math.log(round(Z)) }));
    yield made(`1 / Z to ${to}`, ({ m, Z, o }) => ({ out: o.map((x) => x * round(1 / Z)), lse: m + Math.log(Z) }));
    yield made(`o before the division by Z to ${to}`, ({ m, Z, o }) => ({ out: o.map((x) => round(x) / Z), lse: m + Math.log(Z) }));
    yield made(`ln Z to ${to}`, ({ m, Z, o }) => ({ out: o.map((x) => x / Z), lse: m + round(Math.log(Z)) }));
    yield made(`log2 Z to ${to}`, ({ m, Z, o }) => ({ out: o.map((x) => x / Z), lse: m + round(Math.log2(Z)) * Math.LN2 }));
    yield made(`m to ${to}, in lse`, ({ m, Z, o }) => ({ out: o.map((x) => x / Z), lse: round(m) + Math.log(Z) }));
    yield made(`lse in base 2 to ${to}`, ({ m, Z, o }) => ({ out: o.map((x) => x / Z), lse: round((m + Math.log(Z)) * Math.LOG2E) * Math.LN2 }));
  }
  for (const tile of [16, 32, 64, 128].filter((size) => size < scene.N)) {
    for (const [to, round] of FORMATS) {
      yield by(name, (query) => online(scene, query, tile, { alpha: round }), `the factor of a new maximum to ${to}, in tiles of ${tile} keys`);
      if (round !== half && round !== brain) yield by(name, (query) => online(scene, query, tile, { o: round }), `the accumulator after each tile of ${tile} keys to ${to}`);
      yield by(name, (query) => online(scene, query, tile, { Z: round }), `Z after each tile of ${tile} keys to ${to}`);
    }
    for (const [dtype, round] of [['f16', half], ['bf16', brain]] as const) {
      yield by(`accumulated-${dtype}`, (query) => online(scene, query, tile, { o: round }), `after each tile of ${tile} keys`);
    }
  }
}

/** Tiles of keys with a running maximum, where some results of each tile are rounded. */
function online(
  scene: Scene, query: number, tile: number, { alpha, o, Z }: { alpha?: Round; o?: Round; Z?: Round },
): Made {
  const row = scene.row(query);
  let [m, sum] = [-Infinity, 0];
  const total = new Float64Array(scene.d);
  for (let at = 0; at < row.keys.length;) {
    let end = at;
    while (end < row.keys.length && Math.floor(row.keys[end] / tile) === Math.floor(row.keys[at] / tile)) end++;
    const S = row.S.slice(at, end);
    const top = Math.max(m, ...S);
    const factor = (alpha ?? ((x) => x))(Math.exp(m - top));
    const E = S.map((x) => Math.exp(x - top));
    sum = sum * factor + E.reduce((a, b) => a + b, 0);
    if (Z) sum = Z(sum);
    scene.weigh({ ...row, keys: row.keys.slice(at, end), S }, E).forEach((x, c) => {
      const next = total[c] * factor + x;
      total[c] = o ? o(next) : next;
    });
    [m, at] = [top, end];
  }
  return { out: total.map((x) => x / sum), lse: m + Math.log(sum) };
}
