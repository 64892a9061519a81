/**
 * Wrong gradients of attention (§4): dv, dq, dk, and the row sums of dM.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import type { Change } from './backward-change.ts';
import { wrongIntermediates } from './backward-intermediates.ts';
import { backwardRoundings } from './rounding-hypotheses.ts';
import { wrongLifetimes } from './wrong-lifetimes.ts';
import { ownForward } from './own-forward.ts';
import { logSum, MOST_KEPT, type Scene, type Sees } from './scene.ts';

function* changes(scene: Scene): Generator<Change> {
  const { scale, headDim: d, kvHeads: G, queryHeads: H } = scene.parameters;
  const { R } = scene;
  const causal: Sees = (_, i, j) => j <= i;
  const small = scene.N <= MOST_KEPT; // each further forward pass takes O(N^2 d)
  if (R > 1) {
    yield { name: 'group-first', counts: (r) => r === 0 };
    yield { name: 'group-last', counts: (r) => r === R - 1 };
    yield { name: 'group-mean', factor: 1 / R };
    yield { name: 'gqa-modulo', modulo: true };
    if (G > 1) yield { name: 'group-modulo', modulo: true, foreign: true };
  }
  yield { name: 'gradient-unscaled', factor: 1 / scale };
  yield { name: 'gradient-scale-twice', factor: scale };
  yield { name: 'd-missing', change: (query, key) => scene.gain(query, key) };
  const unnormalised = (query: number): number => scene.D(query) * Math.exp(scene.lse(query) - scene.shift(query));
  yield { name: 'd-unnormalised', change: (query, key) => scene.gain(query, key) - unnormalised(query) };
  yield {
    name: 'd-from-value',
    change: (query, key) => scene.gain(query, key) - scene.gain(query, scene.headOf(query) * scene.N + query % scene.N),
  };
  yield { name: 'ds-without-a', weight: () => 1 };
  yield { name: 'weights-unnormalised', weight: (query, S) => Math.exp(S - scene.shift(query)) };
  yield { name: 'backward-unmasked', sees: causal };
  const causalShift = (query: number): number => scene.causalLse(query);
  yield { name: 'backward-unmasked', sees: causal, weight: (query, S) => Math.exp(S - causalShift(query)) };
  for (const { name, sees, detail } of wrongLifetimes(scene)) {
    const wrong = { name, sees, ...(detail !== undefined && { detail }) };
    if (name !== 'mask-ignored') yield wrong;
    if (small) yield { ...wrong, ...ownForward(scene, { sees }) };
  }
  yield { name: 'normalised-by-all', weight: (query, S) => Math.exp(S - causalShift(query)) };
  if (G > 1) {
    yield { name: 'gqa-modulo', from: (head, query) => head - head % G + Math.floor(query / scene.N) % H % G };
    yield { name: 'kv-reversed', from: (head) => head - head % G + G - 1 - head % G };
    yield { name: 'kv-first', from: (head) => head - head % G };
  }
  const scales = [
    ['scale-own', 1 / Math.sqrt(d)], ['scale-forgotten', 1], ['scale-twice', scale * scale], ['scale-inverted', 1 / scale],
  ] as const;
  for (const [name, other] of scales) {
    yield { name, scale: other };
    if (!small) continue;
    const own = ownForward(scene, { scale: other });
    for (const factor of [other / scale, 1]) yield { name, scale: other, factor, ...own };
  }
  yield { name: 'exp2-weights', weight: (query, S) => 2 ** (S - scene.lse(query)) };
  yield { name: 'query-lost', sees: (head, i, j) => i < scene.N - 1 && scene.sees(head, i, j) };
  yield* backwardRoundings(scene);
  yield* wrongIntermediates(scene);
}

export const backwardHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N, d, q, k, dout } = scene;
  const { scale } = scene.parameters;
  for (const made of changes(scene)) {
    const { name, sees = scene.sees, factor = 1 } = made;
    const seen = { ...made.sees && { sees: made.sees }, ...made.detail !== undefined && { detail: made.detail } };
    if (output === 'dq') {
      if (name.startsWith('group') || made.roundHead) continue;
      yield { name, ...seen, predict: (query) => {
        const head = scene.headOf(query);
        const out = new Float64Array(d);
        const from = made.from?.(head, query) ?? head;
        for (let j = 0; j < N; j++) {
          if (!sees(head, query % N, j)) continue;
          const key = from * N + j;
          axpy((made.byHead ? 1 : factor * scale) * slope(scene, made, query, key), k, key, out, d, made.round);
        }
        return made.byHead ? out.map((x) => factor * scale * x) : out;
      } };
      continue;
    }
    const changesS = (made.change !== undefined && !made.weight)
      || made.roundSlope !== undefined
      || name.startsWith('gradient') || name === 'ds-without-a';
    if (output === 'dv' && changesS) continue;
    yield { name, ...seen, predict: (at) => {
      const [head, j] = [Math.floor(at / N), at % N];
      const out = new Float64Array(d);
      const late = output === 'dk' && made.byHead ? factor * scale : 1;
      for (const first of groupOf(scene, made, head)) {
        const sums = made.byHead || made.roundHead ? new Float64Array(d) : out;
        const own = made.foreign ? Math.floor(first / scene.R) : head;
        const key = own * N + j;
        for (let i = 0; i < N; i++) {
          if (!sees(own, i, j)) continue;
          const query = first * N + i;
          if (output === 'dv') axpy(factor * weightOf(scene, made, query, key), dout, query, sums, d, made.round);
          else axpy(factor * scale / late * slope(scene, made, query, key), q, query, sums, d, made.round);
        }
        if (sums !== out) sums.forEach((x, c) => (out[c] = out[c] + (made.roundHead ?? ((y) => y))(late * x)));
      }
      return out;
    } };
  }
};

/** The numbers b H + h of the query heads that are summed for KV head `head`. */
function groupOf(scene: Scene, { counts, modulo }: Change, head: number): number[] {
  const { kvHeads: G, queryHeads: H } = scene.parameters;
  const [b, g] = [Math.floor(head / G), head % G];
  if (modulo) return Array.from({ length: H }, (_, h) => h).filter((h) => h % G === g).map((h) => b * H + h);
  return Array.from({ length: scene.R }, (_, r) => r).filter((r) => counts?.(r) ?? true).map((r) => head * scene.R + r);
}

/** The weight of a pair. */
export function weightOf(
  scene: Scene, { weight, pairWeight, scale = scene.parameters.scale }: Change, query: number, key: number,
): number {
  if (pairWeight) return pairWeight(query, key);
  if (!weight && scale === scene.parameters.scale) return scene.weight(query, key);
  const S = scale * scene.product(query, key);
  return weight ? weight(query, S) : Math.exp(S - scene.lse(query));
}

/** dS of a pair, before it is multiplied by the scale. */
export function slope(scene: Scene, made: Change, query: number, key: number): number {
  const change = made.change ? made.change(query, key) : scene.gain(query, key) - scene.D(query);
  const dS = weightOf(scene, made, query, key) * change;
  return made.roundSlope ? made.roundSlope(dS) : dS;
}

function axpy(
  a: number, x: Float64Array, row: number, y: Float64Array, d: number, round?: (x: number) => number,
): void {
  if (round) for (let c = 0; c < d; c++) y[c] = round(y[c] + a * x[row * d + c]);
  else for (let c = 0; c < d; c++) y[c] = y[c] + a * x[row * d + c];
}

/** A wrong dM. */
export interface WrongPair {
  readonly name: DiagnosisName;
  /** dM of one pair, summed over the group. */
  readonly at: (head: number, i: number, j: number) => number;
  readonly detail?: string;
}

export const detailOf = ({ detail }: WrongPair): Pick<Hypothesis, 'detail'> => (detail === undefined ? {} : { detail });

/** The dM of §4, summed over the query heads of the group. */
export function rightPair(scene: Scene): WrongPair['at'] {
  const exact = scene.parameters.rule === 'exact';
  return pairs(scene, (query, S) => Math.exp(S - (exact ? scene.lse(query) : scene.causalLse(query))));
}

function pairs(
  scene: Scene, weight: (query: number, S: number, head: number, j: number) => number,
  change: (query: number, key: number) => number = (query, key) => scene.gain(query, key) - scene.D(query),
  counts: (r: number) => boolean = () => true,
): WrongPair['at'] {
  return (head, i, j) => {
    let total = 0;
    scene.queriesOf(head, i).forEach((query, r) => {
      if (!counts(r)) return;
      const S = scene.parameters.scale * scene.product(query, head * scene.N + j);
      total += weight(query, S, head, j) * change(query, head * scene.N + j);
    });
    return total;
  };
}

/** Wrong dM: of all pairs, and then of hidden or visible pairs alone. */
export function* wrongPairs(scene: Scene): Generator<WrongPair> {
  const right = rightPair(scene);
  yield* wrongEverywhere(scene);
  for (const hidden of [true, false]) {
    for (const { name, at } of wrongEverywhere(scene)) {
      if (!/^(dm-without-d|dm-scaled|sign|ds-without-a|weights-|d-unnormalised|rule-)/.test(name)) continue;
      yield { name, detail: `of ${hidden ? 'hidden' : 'visible'} pairs alone`, at: (head, i, j) => (scene.sees(head, i, j) === hidden ? right : at)(head, i, j) };
    }
  }
}

function* wrongEverywhere(scene: Scene): Generator<WrongPair> {
  const { scale, rule } = scene.parameters;
  const { R } = scene;
  const exact = (query: number, S: number): number => Math.exp(S - scene.lse(query));
  const bounded = (query: number, S: number): number => Math.exp(S - scene.causalLse(query));
  const weight = rule === 'exact' ? exact : bounded;
  const right = rightPair(scene);
  yield rule === 'exact' ? { name: 'rule-bounded', at: pairs(scene, bounded) } : { name: 'rule-exact', at: pairs(scene, exact) };
  yield { name: 'dm-visible', at: (head, i, j) => (scene.sees(head, i, j) ? right(head, i, j) : 0) };
  yield { name: 'dm-visible', at: (head, i, j) => (scene.sees(head, i, j) ? pairs(scene, exact)(head, i, j) : 0) };
  yield { name: 'dm-without-d', at: pairs(scene, weight, (query, key) => scene.gain(query, key)) };
  yield { name: 'dm-scaled', at: (head, i, j) => scale * right(head, i, j) };
  yield { name: 'sign', at: (head, i, j) => -right(head, i, j) };
  yield { name: 'dm-clamped', at: pairs(scene, (query, S) => Math.min(1, weight(query, S))) };
  yield { name: 'ds-without-a', at: pairs(scene, () => 1) };
  yield { name: 'weights-unnormalised', at: pairs(scene, (query, S) => Math.exp(S - scene.shift(query))) };
  const unnormalised = (query: number): number => scene.D(query) * Math.exp(scene.lse(query) - scene.shift(query));
  yield { name: 'd-unnormalised', at: pairs(scene, weight, (query, key) => scene.gain(query, key) - unnormalised(query)) };
  if (R > 1) {
    yield { name: 'group-first', at: pairs(scene, weight, undefined, (r) => r === 0) };
    yield { name: 'group-last', at: pairs(scene, weight, undefined, (r) => r === R - 1) };
    yield { name: 'group-mean', at: (head, i, j) => right(head, i, j) / R };
  }
  if (R > 1 && scene.parameters.kvHeads > 1) yield* modulo(scene);
}

/** dM summed over the query heads h mod G, with the keys of their own groups, or with the keys of KV head h mod G. */
function* modulo(scene: Scene): Generator<WrongPair> {
  const { kvHeads: G, queryHeads: H, rule, scale } = scene.parameters;
  const { N, R } = scene;
  const single = (query: number, key: number, lse: number, D: number): number =>
    Math.exp(scale * scene.product(query, key) - lse) * (scene.gain(query, key) - D);
  const norm = (query: number): number => (rule === 'exact' ? scene.lse(query) : scene.causalLse(query));
  yield {
    name: 'group-modulo',
    at: (head, i, j) => {
      const b = Math.floor(head / G);
      let total = 0;
      for (let h = head % G; h < H; h += G) {
        const query = (b * H + h) * N + i;
        total += single(query, (b * G + Math.floor(h / R)) * N + j, norm(query), scene.D(query));
      }
      return total;
    },
  };
  if (N > MOST_KEPT) return;
  const own = new Map<number, { lse: number; all: number; D: number }>();
  const other = (query: number): number => {
    const h = Math.floor(query / N) % H;
    return Math.floor(query / (N * H)) * G + h % G;
  };
  const forward = (query: number): { lse: number; all: number; D: number } => {
    let made = own.get(query);
    if (made) return made;
    const row = scene.row(query, { from: other(query) });
    const lse = logSum(row.S);
    const D = row.keys.reduce((a, j, n) => a + Math.exp(row.S[n] - lse) * scene.gain(query, row.from * N + j), 0);
    const all = logSum(scene.row(query, { from: other(query), sees: (_, i, j) => j <= i }).S);
    own.set(query, made = { lse, all, D });
    return made;
  };
  yield {
    name: 'gqa-modulo',
    at: (head, i, j) => scene.queriesOf(head, i).reduce((total, query) => {
      const { lse, all, D } = forward(query);
      return total + single(query, other(query) * N + j, rule === 'exact' ? lse : all, D);
    }, 0),
  };
}

/** The row sums of dM. */
export const rowSumHypotheses: Hypotheses = function* (scene): Generator<Hypothesis> {
  for (const { name, at, detail } of wrongPairs(scene)) {
    yield { name, ...(detail !== undefined && { detail }), predict: (row) => {
      const [head, i] = [Math.floor(row / scene.N), row % scene.N];
      let total = 0;
      for (let j = 0; j <= i; j++) total += at(head, i, j);
      return [total];
    } };
  }
};
