/**
 * Too little precision, in the places where kernels round: of the forward (§3).
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import { bitsOf, brain, e4m3, e5m2, half, tf32, tf32Cut, whole } from './narrow-floats.ts';
import { intermediates } from './online-roundings.ts';
import type { Row, Scene } from './scene.ts';
import { type Made, softmax } from './softmax.ts';

type Round = (x: number) => number;
/** Makes the hypothesis that computes each row by `make`. */
type By<T> = (name: DiagnosisName, make: (query: number) => Made, detail?: string) => T;

/** What P may be rounded to, by name. */
export const WEIGHTS: readonly (readonly [DiagnosisName, Round])[] = [
  ['probabilities-f16', half], ['probabilities-bf16', brain], ['probabilities-tf32', tf32], ['probabilities-tf32', tf32Cut],
  ['probabilities-e4m3', e4m3], ['probabilities-e5m2', e5m2],
];
/** Roundings to some number of bits with unbounded exponents, as integers and bit masks make them. */
const BITS = [11, 8, 10, 9, 7, 6, 5, 4, 3].flatMap((bits) =>
  (Object.keys(whole) as (keyof typeof whole)[]).map((mode) => [bits, bitsOf(bits, mode), `${bits} bits${mode === 'cut' ? ', cut' : ''}`] as const));
export const NARROW: readonly (readonly ['f16' | 'bf16', Round])[] = [['f16', half], ['bf16', brain]];
const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);

/** Forward passes that round somewhere. */
export function* forwardRoundings<T>(scene: Scene, by: By<T>): Generator<T> {
  const scored = (row: Row, S: readonly number[]): Made => {
    const { E, Z, lse } = softmax(scene, S);
    return { out: scene.weigh(row, E.map((x) => x / Z)), lse };
  };
  for (const [name, round] of WEIGHTS) {
    yield by(name, (query) => {
      const row = scene.row(query);
      const { E, Z, lse } = softmax(scene, row.S);
      return { out: scene.weigh(row, E.map((x) => round(x) / Z)), lse };
    });
    yield by(name, (query) => {
      const row = scene.row(query);
      const { E: exact, m } = softmax(scene, row.S);
      const E = exact.map(round);
      const Z = sum(E);
      return { out: scene.weigh(row, E.map((x) => x / Z)), lse: m + Math.log(Z) };
    });
    yield by(name, (query) => {
      const row = scene.row(query);
      const { E, Z, lse } = softmax(scene, row.S);
      return { out: scene.weigh(row, E.map((x) => round(x / Z))), lse };
    });
  }
  for (const [name, round] of WEIGHTS) {
    for (const tile of [16, 32, 64, 128]) {
      yield by(name, (query) => onlineRounded(scene, query, tile, round), `in tiles of ${tile} keys, by the maximum so far`);
    }
  }
  for (const [bits, round, detail] of BITS) {
    yield by(bits === 11 ? 'scores-f16' : bits === 8 ? 'scores-bf16' : 'scores-bits', (query) => {
      const row = scene.row(query);
      return scored(row, row.S.map(round));
    }, detail);
    yield by(bits === 11 ? 'probabilities-f16' : bits === 8 ? 'probabilities-bf16' : 'probabilities-bits', (query) => {
      const row = scene.row(query);
      const { E, Z, lse } = softmax(scene, row.S);
      return { out: scene.weigh(row, E.map((x) => round(x) / Z)), lse };
    }, detail);
  }
  for (let power = 4; power <= 20; power++) {
    for (const ofAll of [false, true]) {
      yield by('weights-dropped', (query) => {
        const row = scene.row(query);
        const { E, Z, m, lse } = softmax(scene, row.S);
        const kept = E.map((x) => (x < 2 ** -power ? 0 : x));
        const sumOf = ofAll ? sum(kept) : Z;
        return { out: scene.weigh(row, kept.map((x) => x / sumOf)), lse: ofAll ? m + Math.log(sumOf) : lse };
      }, `below 2^-${power}`);
    }
  }
  yield* exponents(scene, by);
  yield* intermediates(scene, by);
  const { scale } = scene.parameters;
  for (const [dtype, round] of NARROW) {
    for (const before of [1, Math.LOG2E, 1 / scale]) {
      yield by(`scores-${dtype}`, (query) => {
        const row = scene.row(query);
        return scored(row, row.S.map((s) => round(s * before) / before));
      });
    }
    for (const factor of [scale, scale * Math.LOG2E]) {
      for (const which of ['k', 'q'] as const) {
        yield by(`${which}-scaled-${dtype}`, (query) => {
          const row = scene.row(query);
          return scored(row, row.keys.map((j) => product(scene, query, row.from * scene.N + j, {
            q: which === 'q' ? (x) => round(x * factor) : (x) => x, k: which === 'k' ? (x) => round(x * factor) : (x) => x,
          }) * scale / factor));
        });
      }
      if (round(factor) !== factor) {
        yield by(`scale-${dtype}`, (query) => {
          const row = scene.row(query);
          return scored(row, row.S.map((s) => s * round(factor) / factor));
        });
      }
    }
    for (const [ofS, ofOut] of [[true, false], [false, true], [true, true]] as const) {
      for (const how of [{}, { descending: true }, { exact: true }]) {
        yield by(`accumulated-${dtype}`, (query) => accumulate(scene, query, round, { ofS, ofOut, ...how }));
      }
    }
    yield by(`sum-${dtype}`, (query) => {
      const row = scene.row(query);
      const { E, m } = softmax(scene, row.S);
      const Z = E.reduce((total, x) => round(total + x), 0);
      return { out: scene.weigh(row, E.map((x) => x / Z)), lse: m + Math.log(Z) };
    });
  }
}

/** An exp of rounded arguments, or whose results are never below some number. */
function* exponents<T>(scene: Scene, by: By<T>): Generator<T> {
  const made = (query: number, E: (x: number) => number, tile: number): Made => {
    const row = scene.row(query);
    const { m } = softmax(scene, row.S);
    const maxima: number[] = [];
    let top = -Infinity;
    for (let at = 0; at < row.keys.length;) {
      let end = at;
      while (end < row.keys.length && Math.floor(row.keys[end] / tile) === Math.floor(row.keys[at] / tile)) end++;
      top = Math.max(top, ...row.S.slice(at, end));
      for (; at < end; at++) maxima.push(top);
    }
    const weights = row.S.map((x, n) => E(x - maxima[n]) * Math.exp(maxima[n] - m));
    const Z = sum(weights);
    return { out: scene.weigh(row, weights.map((x) => x / Z)), lse: m + Math.log(Z) };
  };
  const tiles = [scene.N, ...[16, 32, 64, 128].filter((tile) => tile < scene.N)];
  for (const [name, round] of [['float16', half], ['bfloat16', brain], ['TF32', tf32Cut]] as const) {
    for (const tile of tiles) {
      const where = tile === scene.N ? '' : `, by the maximum of tiles of ${tile} so far`;
      const detail = `S - m to ${name}${where}`;
      yield by('exponent-rounded', (query) => made(query, (x) => Math.exp(round(x)), tile), detail);
      yield by('exponent-rounded', (query) => made(query, (x) => 2 ** round(x * Math.LOG2E), tile), `(S - m) log2(e) to ${name}${where}`);
      yield by('exponent-rounded', (query) => made(query, (x) => round(Math.exp(round(x))), tile), `S - m and its exp to ${name}${where}`);
    }
  }
  for (let power = 4; power <= 20; power++) {
    for (const tile of tiles) {
      const where = tile === scene.N ? '' : `, by the maximum of tiles of ${tile} so far`;
      yield by('exp-approximate', (query) => made(query, (x) => Math.exp(Math.max(x, -power)), tile), `never below e^-${power}${where}`);
    }
  }
}

/** Tiles of keys whose weights, relative to the maximum so far, are rounded before their product with v. */
function onlineRounded(scene: Scene, query: number, tile: number, round: Round): Made {
  const row = scene.row(query);
  const { lse } = softmax(scene, row.S);
  let m = -Infinity;
  const total = new Float64Array(scene.d);
  for (let at = 0; at < row.keys.length;) {
    let end = at;
    while (end < row.keys.length && Math.floor(row.keys[end] / tile) === Math.floor(row.keys[at] / tile)) end++;
    const S = row.S.slice(at, end);
    const top = Math.max(m, ...S);
    const alpha = Math.exp(m - top);
    scene.weigh({ ...row, keys: row.keys.slice(at, end), S }, S.map((x) => round(scene.exp(x - top))))
      .forEach((x, c) => (total[c] = total[c] * alpha + x));
    [m, at] = [top, end];
  }
  return { out: total.map((x) => x / Math.exp(lse - m)), lse };
}

/** q . k of numbers that are rounded before. */
export function product({ q, k, d }: Scene, query: number, key: number, round: { q: Round; k: Round }): number {
  let total = 0;
  for (let c = 0; c < d; c++) total += round.q(q[query * d + c]) * round.k(k[key * d + c]);
  return total;
}

/**
 * Sums over d, over keys, or both, that are rounded after each term; `exact` rounds the sums alone, not the products.
 */
function accumulate(
  scene: Scene, query: number, round: Round,
  { ofS, ofOut, descending, exact }: { ofS: boolean; ofOut: boolean; descending?: boolean; exact?: boolean },
): Made {
  const term = exact ? (x: number): number => x : round;
  const { d, N, q, k, v } = scene;
  const row = scene.row(query);
  let { S } = row;
  if (ofS) {
    S = row.keys.map((j) => {
      let total = 0;
      for (let n = 0; n < d; n++) {
        const c = descending ? d - 1 - n : n;
        total = round(total + term(q[query * d + c] * k[(row.from * N + j) * d + c]));
      }
      return scene.parameters.scale * total;
    });
  }
  const { E, Z, lse } = softmax(scene, S);
  if (!ofOut) return { out: scene.weigh(row, E.map((x) => x / Z)), lse };
  const total = new Float64Array(d);
  const order = [...row.keys.keys()];
  for (const n of descending ? order.reverse() : order) {
    const at = (row.from * N + row.keys[n]) * d;
    for (let c = 0; c < d; c++) total[c] = round(total[c] + term(E[n] * v[at + c]));
  }
  return { out: total.map((x) => x / Z), lse };
}
