/**
 * Inputs that are read from a wrong place, or rounded when they are read: the algorithm itself on other numbers.
 * @module
 */
import { rightPair, slope, weightOf, type WrongPair } from './backward-hypotheses.ts';
import type { DiagnosisName } from './diagnoses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { e4m3, e5m2, whole } from './narrow-floats.ts';
import { attend } from './forward-hypotheses.ts';
import { MOST_KEPT, type Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

type Name = 'q' | 'k' | 'v' | 'dout';
/** One way to read an input. */
interface Reading {
  readonly name: DiagnosisName;
  readonly detail: string;
  readonly of: readonly Name[];
  /** The same for the same `read`, whichever inputs are read so. */
  readonly how: string;
  readonly read: (data: Float64Array, sizes: Sizes) => Float64Array;
}
interface Sizes {
  readonly B: number;
  readonly H: number;
  readonly N: number;
  readonly d: number;
}

const INPUTS: readonly (readonly Name[])[] = [['k', 'v'], ['k'], ['v'], ['q'], ['dout']];

/** Where an input is read for the one at place `at` of an axis. */
type Move = readonly [where: string, axis: keyof Sizes, from: (at: number, size: number) => number];

const MOVES: readonly Move[] = [
  ['batch 0', 'B', () => 0],
  ['the next sequence', 'B', (b, B) => (b + 1) % B],
  ['the sequence before', 'B', (b, B) => (b + B - 1) % B],
  ['head 0', 'H', () => 0],
  ['the next head', 'H', (h, H) => (h + 1) % H],
  ['the head before', 'H', (h, H) => (h + H - 1) % H],
  ['heads in reverse order', 'H', (h, H) => H - 1 - h],
  ['the token before', 'N', (n) => Math.max(n - 1, 0)],
  ['the next token', 'N', (n, N) => Math.min(n + 1, N - 1)],
  ...[8, 16, 32, 64, 128, 256].map((size): Move => [`token j mod ${size}`, 'N', (n) => n % size]),
  ...[8, 16, 32, 64].flatMap((size): Move[] => [
    [`odd tiles of ${size} tokens are those before them (slot j mod ${size} in pages of ${2 * size})`, 'N', (n) => n - n % (2 * size) + n % size],
    [`each tile of ${size} tokens is the one before`, 'N', (n) => (n < size ? n : n - size)],
  ]),
  ['the other half of d', 'd', (c, d) => (c + (d >> 1)) % d],
  ['d in reverse order', 'd', (c, d) => d - 1 - c],
  ['neighbours in d swapped', 'd', (c, d) => ((c ^ 1) < d ? c ^ 1 : c)],
  ['the number of d before', 'd', (c, d) => (c + d - 1) % d],
  ['the next number of d', 'd', (c, d) => (c + 1) % d],
];

function* readings(): Generator<Reading> {
  const layout = (data: Float64Array, { B, H, N, d }: Sizes): Float64Array => data.map((_, at) => {
    const [b, h] = [Math.floor(at / (H * N * d)) % B, Math.floor(at / (N * d)) % H];
    const [n, c] = [Math.floor(at / d) % N, at % d];
    return data[((b * N + n) * H + h) * d + c];
  });
  const packed = (data: Float64Array, { H, N, d }: Sizes): Float64Array => data.map((x, at) => {
    if (at < H * N * d) return x;
    return data[Math.floor(at / d) % N > 0 ? at - d : at - (H - 1) * N * d - d];
  });
  for (const of of INPUTS) {
    for (const move of MOVES) {
      yield { name: 'input-misread', detail: `${of.join(' and ')}: ${move[0]}`, of, how: move[0], read: (data, s) => moved(data, s, move) };
    }
    yield { name: 'input-misread', detail: `${of.join(' and ')} read as if it were [B,N,H,d]`, of, how: 'layout', read: layout };
    yield { name: 'input-misread', detail: `${of.join(' and ')}: the token before, in packed sequences`, of, how: 'packed', read: packed };
  }
  for (const of of [...INPUTS, ['q', 'k'], ['q', 'k', 'v']] as const) {
    for (const [to, round] of [['e4m3', e4m3], ['e5m2', e5m2]] as const) {
      yield { name: 'input-rounded', detail: `${of.join(' and ')} to fp8 ${to}`, of, how: to, read: (data) => data.map(round) };
    }
    for (const [steps, most] of [['e4m3', 448], ['8 bits', 127], ['4 bits', 7]] as const) {
      for (const by of ['row', 'head', 'tensor'] as const) {
        for (const mode of steps === 'e4m3' ? ['even'] as const : ['even', 'up', 'cut'] as const) {
          const round = steps === 'e4m3' ? e4m3 : whole[mode];
          const detail = `${of.join(' and ')} to ${steps === 'e4m3' ? 'fp8 e4m3' : `whole numbers of ${steps}`}, scaled by the largest of each ${by}`;
          yield { name: 'input-rounded', detail, of, how: `${steps} ${by} ${mode}`, read: (data, s) => scaled(data, s, by, most, round) };
        }
      }
    }
  }
}

function moved(data: Float64Array, s: Sizes, [, moves, from]: Move): Float64Array {
  const places = (axis: keyof Sizes): Int32Array =>
    Int32Array.from({ length: s[axis] }, (_, at) => (axis === moves ? from(at, s[axis]) : at));
  const [ofB, ofH, ofN, ofD] = [places('B'), places('H'), places('N'), places('d')];
  const made = new Float64Array(data.length);
  let at = 0;
  for (const b of ofB) {
    for (const h of ofH) {
      for (const n of ofN) {
        const row = ((b * s.H + h) * s.N + n) * s.d;
        for (let c = 0; c < s.d; c++) made[at++] = data[row + ofD[c]];
      }
    }
  }
  return made;
}

function scaled(
  data: Float64Array, { N, d }: Sizes, by: 'row' | 'head' | 'tensor', most: number, round: (x: number) => number,
): Float64Array {
  const size = { row: d, head: N * d, tensor: data.length }[by];
  const made = data.slice();
  for (let start = 0; start < data.length; start += size) {
    const part = data.subarray(start, start + size);
    let largest = 0;
    for (let n = 0; n < part.length; n++) largest = Math.max(largest, Math.abs(part[n]));
    const unit = largest / most;
    if (!(unit > 0) || !Number.isFinite(unit)) continue;
    for (let n = 0; n < part.length; n++) made[start + n] = round(part[n] / unit) * unit;
  }
  return made;
}

/** An input as it is read otherwise, and whether that changes anything. */
interface Read {
  readonly data: Float64Array;
  readonly differs: boolean;
}

/** The scene with an input read otherwise, made when it is first asked for; undefined if nothing changes. */
function* scenes(scene: Scene, wanted: (name: Name) => boolean): Generator<{ reading: Reading; changed: () => Scene }> {
  const { batch: B, queryHeads, kvHeads, tokens: N, headDim: d } = scene.parameters;
  if (N > MOST_KEPT) return;
  const known = new Map<string, Read>();
  const readOf = ({ how, read }: Reading, name: Name, given: Float64Array): Read => {
    const key = `${name} ${how}`;
    let made = known.get(key);
    if (!made) {
      const H = name === 'q' || name === 'dout' ? queryHeads : kvHeads;
      const data = read(given, { B, H, N, d });
      known.set(key, made = { data, differs: data.some((x, n) => !Object.is(x, given[n])) });
    }
    return made;
  };
  for (const reading of readings()) {
    if (!reading.of.some(wanted)) continue;
    const inputs: Record<string, unknown> = { ...scene.inputs };
    let differs = false;
    for (const name of reading.of) {
      const given = scene.inputs[name];
      if (!given) continue;
      const read = readOf(reading, name, given.data as Float64Array);
      differs ||= read.differs;
      inputs[name] = { ...given, data: read.data };
    }
    if (differs) yield { reading, changed: () => scene.withInputs(inputs as Scene['inputs']) };
  }
}

/** Outputs of the algorithm on inputs that are read otherwise. */
export const inputHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N, d } = scene;
  if (output === 'dm_rows') {
    for (const { name, detail, at } of inputPairs(scene)) {
      yield { name, detail, predict: (row) => {
        let total = 0;
        for (let j = 0; j <= row % N; j++) total += at(Math.floor(row / N), row % N, j);
        return [total];
      } };
    }
    return;
  }
  const forward = output === 'out' || output === 'lse' || output === 'cache_out';
  if (!forward && output !== 'dv' && output !== 'dq' && output !== 'dk') return;
  const wanted = (name: Name): boolean => (forward ? name !== 'dout' && !(output === 'lse' && name === 'v') : true);
  for (const { reading: { name, detail }, changed } of scenes(scene, wanted)) {
    let other: Scene | undefined;
    yield { name, detail, predict: (row) => {
      other ??= changed();
      if (forward) {
        const made = attend(other, other.row(row));
        return output === 'lse' ? [made.lse] : made.out;
      }
      return gradient(other, output, row, N, d);
    } };
  }
};

function gradient(scene: Scene, output: OutputName, at: number, N: number, d: number): Float64Array {
  const total = new Float64Array(d);
  const { scale } = scene.parameters;
  const add = (a: number, x: Float64Array, row: number): void => {
    for (let c = 0; c < d; c++) total[c] = total[c] + a * x[row * d + c];
  };
  const right = { name: 'unknown' } as const;
  if (output === 'dq') {
    const head = scene.headOf(at);
    for (let j = 0; j < N; j++) {
      if (scene.sees(head, at % N, j)) add(scale * slope(scene, right, at, head * N + j), scene.k, head * N + j);
    }
    return total;
  }
  const [head, j] = [Math.floor(at / N), at % N];
  for (let i = j; i < N; i++) {
    if (!scene.sees(head, i, j)) continue;
    for (const query of scene.queriesOf(head, i)) {
      if (output === 'dv') add(weightOf(scene, right, query, at), scene.dout, query);
      else add(scale * slope(scene, right, query, at), scene.q, query);
    }
  }
  return total;
}

/** dM of inputs that are read otherwise. */
export function* inputPairs(scene: Scene): Generator<WrongPair & { readonly detail: string }> {
  for (const { reading: { name, detail }, changed } of scenes(scene, () => true)) {
    let at: WrongPair['at'] | undefined;
    yield { name, detail, at: (head, i, j) => (at ??= rightPair(changed()))(head, i, j) };
  }
}
