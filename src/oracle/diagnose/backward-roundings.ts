/**
 * Too little precision in the gradients of attention (§4): each intermediate, for each product, in each format.
 * @module
 */
import type { Change } from './backward-change.ts';
import type { DiagnosisName } from './diagnoses.ts';
import { FORMATS } from './narrow-floats.ts';
import { NARROW, product, WEIGHTS } from './rounding-hypotheses.ts';
import type { Scene } from './scene.ts';

type Round = (x: number) => number;

const isPowerOfTwo = (x: number): boolean => Number.isInteger(Math.log2(Math.abs(x)));

/** Numbers of queries that are computed when they are first asked for. */
export function remembered(make: (query: number) => number): (query: number) => number {
  const known = new Map<number, number>();
  return (query) => {
    let made = known.get(query);
    if (made === undefined) known.set(query, made = make(query));
    return made;
  };
}

/** The ways to round S, or S less the normaliser that is given, before exp. */
export function roundedWeights(
  { parameters: { scale } }: Scene, to: string, round: Round, norm: (query: number) => number, normWords: string,
): (readonly [DiagnosisName, string, (query: number, S: number) => number])[] {
  const exponent = `S - ${normWords}`;
  return [
    ['intermediate-rounded', `S to ${to}`, (query, S) => Math.exp(round(S) - norm(query))],
    ...isPowerOfTwo(scale) ? [] : [
      ['intermediate-rounded', `q . k before the scale to ${to}`, (query: number, S: number): number => Math.exp(round(S / scale) * scale - norm(query))] as const,
    ],
    ['intermediate-rounded', `S log2(e) to ${to}`, (query, S) => 2 ** (round(S * Math.LOG2E) - norm(query) * Math.LOG2E)],
    ['exponent-rounded', `${exponent} to ${to}, in the backward`, (query, S) => Math.exp(round(S - norm(query)))],
    ['exponent-rounded', `(${exponent}) log2(e) to ${to}, in the backward`, (query, S) => 2 ** round((S - norm(query)) * Math.LOG2E)],
    ['intermediate-rounded', `${normWords} log2(e) to ${to}`, (query, S) => 2 ** (S * Math.LOG2E - round(norm(query) * Math.LOG2E))],
  ];
}

/** The ways to round dP, D, what D is made of, or their difference. */
export function roundedChanges(
  scene: Scene, to: string, round: Round,
): (readonly [string, (query: number, key: number) => number])[] {
  const { d, dout } = scene;
  const out = scene.truth('out');
  const D = remembered((query) => {
    let total = 0;
    for (let c = 0; c < d; c++) total += dout[query * d + c] * round(out[query * d + c]);
    return total;
  });
  return [
    [`o to ${to}, for D`, (query, key) => scene.gain(query, key) - D(query)],
    [`dP = dout v to ${to}`, (query, key) => round(scene.gain(query, key)) - scene.D(query)],
    [`D to ${to}`, (query, key) => scene.gain(query, key) - round(scene.D(query))],
    [`dP - D to ${to}`, (query, key) => round(scene.gain(query, key) - scene.D(query))],
  ];
}

/** Gradients that round somewhere. */
export function* backwardRoundings(scene: Scene): Generator<Change> {
  const { scale } = scene.parameters;
  for (const [name, round] of WEIGHTS) yield { name, weight: (query, S) => round(Math.exp(S - scene.lse(query))) };
  for (const [dtype, round] of NARROW) {
    yield { name: `lse-${dtype}`, weight: (query, S) => Math.exp(S - round(scene.lse(query))) };
    for (const late of isPowerOfTwo(scale) ? [false] : [false, true]) {
      yield { name: `accumulated-${dtype}`, round, late };
      for (const tile of [16, 32, 64, 128].filter((size) => size < scene.N)) {
        yield { name: `accumulated-${dtype}`, round, late, tile, detail: `sums of tiles of ${tile} added` };
      }
    }
    yield { name: `accumulated-${dtype}`, round, byHead: true };
    const word = dtype === 'f16' ? 'float16' : 'bfloat16';
    yield { name: 'intermediate-rounded', detail: `dk and dv of each query head to ${word}`, roundHead: round };
    for (const factor of [scale, scale * Math.LOG2E]) {
      for (const which of ['k', 'q'] as const) {
        const name = `${which}-scaled-${dtype}` as const;
        yield { name, detail: 'in the backward', pairWeight: (query, key) => Math.exp(scale / factor * product(scene, query, key, {
          q: which === 'q' ? (x) => round(x * factor) : (x) => x, k: which === 'k' ? (x) => round(x * factor) : (x) => x,
        }) - scene.lse(query)) };
      }
    }
  }
  for (const [to, round] of FORMATS) {
    for (const [name, detail, weight] of roundedWeights(scene, to, round, (query) => scene.lse(query), 'lse')) {
      yield { name, detail, weight };
    }
    for (const [detail, change] of roundedChanges(scene, to, round)) yield { name: 'intermediate-rounded', detail, change };
    yield { name: 'intermediate-rounded', detail: `dS to ${to}`, roundSlope: round };
    if (!isPowerOfTwo(scale)) yield { name: 'intermediate-rounded', detail: `dS times the scale to ${to}`, roundSlope: (x) => round(x * scale) / scale };
    yield { name: 'intermediate-rounded', detail: `exp(S - m) to ${to}`, weight: (query, S) => round(Math.exp(S - scene.shift(query))) * Math.exp(scene.shift(query) - scene.lse(query)) };
    yield { name: 'intermediate-rounded', detail: `Z to ${to}`, weight: (query, S) => Math.exp(S - scene.shift(query)) / round(Math.exp(scene.lse(query) - scene.shift(query))) };
    yield { name: 'intermediate-rounded', detail: `1 / Z to ${to}`, weight: (query, S) => Math.exp(S - scene.shift(query)) * round(Math.exp(scene.shift(query) - scene.lse(query))) };
    if (!/float16$/.test(to)) {
      if (!/^(TF32|fp8)/.test(to)) yield { name: 'probabilities-bits', detail: `to ${to}`, weight: (query, S) => round(Math.exp(S - scene.lse(query))) };
      yield { name: 'intermediate-rounded', detail: `lse to ${to}`, weight: (query, S) => Math.exp(S - round(scene.lse(query))) };
    }
    const own = scaled(scene, round);
    if (own) {
      for (const [only, words, operand] of own) yield { name: 'intermediate-rounded', detail: `${words} times the scale to ${to}, for ${only}`, operand, only };
    }
  }
}

/** k and q times the scale, rounded, as dq and dk multiply dS by them. */
function scaled(scene: Scene, round: Round): (readonly ['dq' | 'dk', string, Float64Array])[] | undefined {
  const { scale } = scene.parameters;
  if (scene.N > 512 || isPowerOfTwo(scale)) return undefined;
  const of = (x: Float64Array): Float64Array => x.map((each) => round(each * scale) / scale);
  return [['dq', 'k', of(scene.k)], ['dk', 'q', of(scene.q)]];
}
