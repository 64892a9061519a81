/**
 * Inputs that are read from a wrong place, or rounded when they are read: the algorithm itself on other numbers.
 * @module
 */
import { gradientsBy, slope, weightOf } from './backward-hypotheses.ts';
import { pairs, rightPair, type WrongPair } from './wrong-pairs.ts';
import type { Change } from './backward-change.ts';
import { remembered } from './backward-roundings.ts';
import type { DiagnosisName } from './diagnoses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { bitsOf, e4m3, e5m2, FP8, whole } from './narrow-floats.ts';
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
  ['the last head', 'H', (_, H) => H - 1],
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

/** Formats that do not hold the inputs, which are exact in float16 and bfloat16. */
const NARROWER: readonly (readonly [string, (x: number) => number])[] = [
  ...FP8, ...[7, 6, 5].flatMap((bits) => (['even', 'cut'] as const).map((mode) =>
    [`${bits} bits${mode === 'cut' ? ', cut' : ''}`, bitsOf(bits, mode)] as const)),
];

function* readings(R: number): Generator<Reading> {
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
    const first: Move = ['the first query head of the group', 'H', (h) => h - h % R];
    for (const move of of[0] === 'q' || of[0] === 'dout' ? [...MOVES, first] : MOVES) {
      yield { name: 'input-misread', detail: `${of.join(' and ')}: ${move[0]}`, of, how: move[0], read: (data, s) => moved(data, s, move) };
    }
    yield { name: 'input-misread', detail: `${of.join(' and ')} read as if it were [B,N,H,d]`, of, how: 'layout', read: layout };
    yield { name: 'input-misread', detail: `${of.join(' and ')}: the token before, in packed sequences`, of, how: 'packed', read: packed };
  }
  for (const of of [...INPUTS, ['q', 'k'], ['q', 'k', 'v']] as const) {
    for (const [n, [to, round]] of NARROWER.entries()) {
      yield { name: 'input-rounded', detail: `${of.join(' and ')} to ${to}`, of, how: `${to} ${n}`, read: (data) => data.map(round) };
    }
    for (const [steps, most] of [['fp8 e4m3', 448], ['fp8 e5m2', 57_344], ['8 bits', 127], ['4 bits', 7]] as const) {
      const fp8 = { 'fp8 e4m3': e4m3, 'fp8 e5m2': e5m2, '8 bits': undefined, '4 bits': undefined }[steps];
      for (const by of ['row', 'head', 'tensor'] as const) {
        for (const mode of fp8 ? ['even'] as const : ['even', 'up', 'cut'] as const) {
          const round = fp8 ?? whole[mode];
          const detail = `${of.join(' and ')} to ${fp8 ? steps : `whole numbers of ${steps}`}, scaled by the largest of each ${by}`;
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

interface Changed {
  readonly reading: Reading;
  readonly changed: () => Scene;
  readonly data: (name: Name) => Float64Array;
}

/** The scene with an input read otherwise, made when it is first asked for; undefined if nothing changes. */
function* scenes(scene: Scene, wanted: (name: Name) => boolean): Generator<Changed> {
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
  for (const reading of readings(queryHeads / kvHeads)) {
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
    if (!differs) continue;
    yield {
      reading, changed: () => scene.withInputs(inputs as Scene['inputs']),
      data: (name) => (inputs as Scene['inputs'])[name].data as Float64Array,
    };
  }
}

/** The same for one product of the gradients alone: what the detail adds, and the change. */
function* inOneProduct(scene: Scene, output: 'dq' | 'dk'): Generator<Change> {
  const { d } = scene;
  const only = output;
  for (const { reading: { name, detail, of }, data } of scenes(scene, () => true)) {
    if (of.length > 1) continue;
    const read = { q: scene.q, k: scene.k, v: scene.v, dout: scene.dout, [of[0]]: data(of[0]) };
    const product = (x: Float64Array, query: number, y: Float64Array, key: number): number => {
      let total = 0;
      for (let c = 0; c < d; c++) total += x[query * d + c] * y[key * d + c];
      return total;
    };
    if (of[0] === 'dout' || of[0] === 'v') {
      yield { name, only, detail: `${detail}, for dP alone`, change: (query, key) => product(read.dout, query, read.v, key) - scene.D(query) };
      if (of[0] === 'v') continue;
      const D = remembered((query) => product(read.dout, query, scene.truth('out') as Float64Array, query));
      yield { name, only, detail: `${detail}, for D alone`, change: (query, key) => scene.gain(query, key) - D(query) };
      continue;
    }
    if ((of[0] === 'k') !== (output === 'dq')) continue; // the other one is in S alone
    yield { name, only, detail: `${detail}, for S alone`, pairWeight: (query, key) => Math.exp(scene.parameters.scale * product(read.q, query, read.k, key) - scene.lse(query)) };
    yield { name, only, detail: `${detail}, for ${output} alone`, operand: read[of[0]] };
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
  if (output === 'dq' || output === 'dk') yield* gradientsBy(scene, output, inOneProduct(scene, output));
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

/** dM of inputs that are read otherwise, in all products or in one alone. */
export function* inputPairs(scene: Scene): Generator<WrongPair & { readonly detail: string }> {
  const { d, parameters: { rule } } = scene;
  const norm = (query: number): number => (rule === 'exact' ? scene.lse(query) : scene.causalLse(query));
  const weight = (query: number, S: number): number => Math.exp(S - norm(query));
  for (const { reading: { name, detail, of }, changed, data } of scenes(scene, () => true)) {
    let at: WrongPair['at'] | undefined;
    yield { name, detail, at: (head, i, j) => (at ??= rightPair(changed()))(head, i, j) };
    if (of.length > 1) continue;
    if (of[0] === 'dout') {
      const dout = data('dout');
      const dot = (query: number, y: ArrayLike<number>, key: number): number => {
        let total = 0;
        for (let c = 0; c < d; c++) total += dout[query * d + c] * y[key * d + c];
        return total;
      };
      yield { name, detail: `${detail}, for dP alone`, at: pairs(scene, weight, (query, key) => dot(query, scene.v, key) - scene.D(query)) };
      const D = remembered((query) => dot(query, scene.truth('out'), query));
      yield { name, detail: `${detail}, for D alone`, at: pairs(scene, weight, (query, key) => scene.gain(query, key) - D(query)) };
    } else if (of[0] !== 'v' && rule === 'bounded') {
      let other: Scene | undefined;
      yield { name, detail: `${detail}, for S alone`, at: pairs(scene, (query, _, head, j) =>
        Math.exp(scene.parameters.scale * (other ??= changed()).product(query, head * scene.N + j) - norm(query))) };
    }
  }
}
