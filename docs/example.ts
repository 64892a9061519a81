/**
 * The running example of the chapters, computed by the reference: one head of size 1, so that every query, key and
 * value is one number, and eight tokens of the types G L L W G L W W with W = 2.
 * @module
 */
import { attention, attentionBackward, maskGradient } from '../reference/public/attention.ts';
import { KVCache } from '../reference/public/cache.ts';
import { lifetime } from '../reference/public/lifetime.ts';
import { attentionMask } from '../reference/public/mask.ts';
import { massAttention } from '../reference/public/mass.ts';
import { addMemoryPrice, keptShare } from '../reference/public/price.ts';
import { selectTokenTypes, tokenTypesBackward } from '../reference/public/search.ts';
import { FOREVER } from '../src/core/lifetime.ts';
import { ndarray, type NDArray } from '../src/core/tensor.ts';
import { kindOf, parsePolicy } from '../src/policies/index.ts';

type Row = number[];
type Table = Row[];

/** What is given. */
export const GIVEN = {
  types: [0, 1, 1, 2, 0, 1, 2, 2], window: 2, lambda: 0.8, tau: 1,
  q: [1, 1, 2, 1, 1, -1, 1, 2], k: [1, 0, 1, -1, 2, 1, 0, 1], v: [1, 2, 0, 3, 1, -1, 2, 0],
  dOut: [0, 1, 0, -1, 1, 0, 1, -1],
  /** Scores of GLOBAL, LOCAL and WINDOW, and the noise of one training step, which overrules one of them. */
  scores: [[2, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 2], [1, 1, 0], [0, 2, 1], [0, 0, 1], [1, 0, 1]],
  noise: [[0, 0, 0], [0, 0, 0], [0, 0.5, 0], [0, 0, 0], [0.5, 0, 0], [0, 0, 0], [0, 0, 0], [-0.5, 0, 0.5]],
} as const;

const vector = (x: readonly number[]): NDArray => ndarray(Float64Array.from(x), [1, 1, x.length, 1]);
const whole = (x: readonly number[]): NDArray<Int32Array> => ndarray(Int32Array.from(x), [1, 1, x.length]);
const three = (x: readonly (readonly number[])[]): NDArray => ndarray(Float64Array.from(x.flat()), [1, 1, x.length, 3]);
/** The rows of an array whose last axis has `width` numbers. */
function rows({ data }: { readonly data: ArrayLike<number> }, width: number): Table {
  const row = (r: number): Row => Array.from({ length: width }, (_, c) => data[r * width + c]);
  return Array.from({ length: data.length / width }, (_, r) => row(r));
}

/** Everything that the chapters say about the example. Lists have a number per token; tables are [query][key]. */
export interface Example {
  readonly last: Row;
  readonly M: Table;
  readonly S: Table;
  readonly m: Row;
  readonly Z: Row;
  readonly A: Table;
  readonly out: Row;
  readonly lse: Row;
  readonly D: Row;
  readonly dq: Row;
  readonly dk: Row;
  readonly dv: Row;
  /** The gradient of the mask by the rules `exact` and `bounded`. */
  readonly dM: Table;
  readonly bounded: Table;
  /** [dg, dl, dw] of each token, from dM by the rule `exact`. */
  readonly dTypes: Table;
  readonly kept: number;
  /** The price of [g, l, w] of each token. */
  readonly price: Table;
  /** The gradient of [g, l, w], the price included, and its mean under y. */
  readonly dt: Table;
  readonly mean: Row;
  readonly y: Table;
  readonly chosen: Row;
  readonly dScores: Table;
  /** The positions held after each token. */
  readonly held: Table;
}

/** Computes the example. */
export function example(): Example {
  const N = GIVEN.types.length;
  const [q, k, v, dOut] = [GIVEN.q, GIVEN.k, GIVEN.v, GIVEN.dOut].map(vector);
  const [types, { window }] = [whole(GIVEN.types), GIVEN];
  const last = lifetime(types, { window });
  const forward = attention({ q, k, v, last });
  const back = { q, k, v, last, ...forward, dOut, types, window };
  const gradient = attentionBackward({ ...back, rule: 'exact' });
  const M = rows(attentionMask(last), N);
  const S = GIVEN.q.map((qi) => GIVEN.k.map((kj) => qi * kj));
  const lse = [...forward.lse.data];
  const m = S.map((row, i) => Math.max(...row.filter((_, j) => M[i][j] === 1)));
  const dTypes = gradient.dTypes!;
  const weight = 2 * GIVEN.lambda / N ** 2;
  const priced = addMemoryPrice({ dTypes, types, length: N, window, weight });
  const price = addMemoryPrice({ dTypes: three(GIVEN.types.map(() => [0, 0, 0])), types, length: N, window, weight });
  const { types: chosen, probabilities } = selectTokenTypes({
    scores: three(GIVEN.scores), noise: three(GIVEN.noise), temperature: GIVEN.tau,
  });
  const cache = new KVCache({ batch: 1, kvHeads: 1, headDim: 1, window });
  return {
    last: [...last.data].map((end) => (end === FOREVER ? Infinity : end)),
    M, S, m, lse,
    Z: lse.map((x, i) => Math.exp(x - m[i])),
    A: S.map((row, i) => row.map((s, j) => M[i][j] * Math.exp(s - lse[i]))),
    out: [...forward.out.data],
    D: [...forward.out.data].map((o, i) => o * GIVEN.dOut[i]),
    dq: [...gradient.dq.data], dk: [...gradient.dk.data], dv: [...gradient.dv.data],
    dM: rows(maskGradient({ ...back, rule: 'exact' }), N),
    bounded: rows(maskGradient({ ...back, rule: 'bounded' }), N),
    dTypes: rows(dTypes, 3),
    kept: keptShare(last).data[0],
    price: rows(price, 3),
    dt: rows(priced, 3),
    mean: rows(priced, 3).map((dt, t) => dt.reduce((sum, x, c) => sum + x * probabilities.data[3 * t + c], 0)),
    y: rows(probabilities, 3), chosen: [...chosen.data],
    dScores: rows(tokenTypesBackward({ dTypes: priced, probabilities, temperature: GIVEN.tau }), 3),
    held: GIVEN.types.map((type, t) => {
      cache.step({ q: vector([GIVEN.q[t]]), k: vector([GIVEN.k[t]]), v: vector([GIVEN.v[t]]), types: whole([type]) });
      return [...cache.positions(0, 0)];
    }),
  };
}

/** The positions that a policy holds after each of the example's tokens, if it attends with the same q and k. */
export function heldBy(name: string): Table {
  const policy = parsePolicy(name);
  const kind = kindOf(policy);
  const rule = kind.rule(policy, { window: GIVEN.window, chunk: 1 });
  const [q, k, v] = [GIVEN.q, GIVEN.k, GIVEN.v].map(vector);
  const last = 'mass' in rule
    ? massAttention({ q, k, v, mass: rule.mass, ...(kind.ranks && { typeScores: three(GIVEN.scores) }) }).last
    : lifetime(whole(GIVEN.types.map((type, t) => kind.type?.(policy, t) ?? type)), { window: rule.window });
  return GIVEN.types.map((_, i) => GIVEN.types.flatMap((__, j) => (j <= i && last.data[j] > i ? [j] : [])));
}
