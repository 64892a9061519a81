/**
 * Wrong dM (§4), and its row sums.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { roundedChanges, roundedWeights } from './backward-roundings.ts';
import { FORMATS } from './narrow-floats.ts';
import { logSum, MOST_KEPT, type Scene } from './scene.ts';

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

/** dM by other weights, by another factor than dP - D, of some query heads of a group, each part rounded. */
export function pairs(
  scene: Scene, weight: (query: number, S: number, head: number, j: number) => number,
  change: (query: number, key: number) => number = (query, key) => scene.gain(query, key) - scene.D(query),
  counts: (r: number) => boolean = () => true, round: (x: number) => number = (x) => x,
): WrongPair['at'] {
  return (head, i, j) => {
    let total = 0;
    scene.queriesOf(head, i).forEach((query, r) => {
      if (!counts(r)) return;
      const S = scene.parameters.scale * scene.product(query, head * scene.N + j);
      total += round(weight(query, S, head, j) * change(query, head * scene.N + j));
    });
    return total;
  };
}

/** Functions that a kernel may put dM through. */
const FUNCTIONS: readonly (readonly [words: string, of: (x: number) => number])[] = [
  ['its absolute value', Math.abs], ['minus its absolute value', (x) => -Math.abs(x)],
  ['cut to at least 0', (x) => Math.max(x, 0)], ['cut to at most 0', (x) => Math.min(x, 0)],
  ['cut to -1..1', (x) => Math.min(Math.max(x, -1), 1)], ['its square', (x) => x * x], ['its sign', Math.sign],
];

/** Wrong dM: of all pairs, and then of hidden or visible pairs alone. */
export function* wrongPairs(scene: Scene): Generator<WrongPair> {
  const right = rightPair(scene);
  yield* wrongEverywhere(scene);
  yield* roundedPairs(scene);
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
  for (const [detail, of] of FUNCTIONS) {
    const single = pairs(scene, weight, undefined, undefined, of);
    yield { name: 'dm-other', detail: R > 1 ? `${detail} of each query head` : detail, at: single };
    if (R > 1) yield { name: 'dm-other', detail, at: (head, i, j) => of(right(head, i, j)) };
  }
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

/** The row sums of a wrong dM. */
export function rowSum(scene: Scene, { name, at, detail }: WrongPair): Hypothesis {
  return { name, ...(detail !== undefined && { detail }), predict: (row) => {
    const [head, i] = [Math.floor(row / scene.N), row % scene.N];
    let total = 0;
    for (let j = 0; j <= i; j++) total += at(head, i, j);
    return [total];
  } };
}

/** The row sums of dM. */
export const rowSumHypotheses: Hypotheses = function* (scene): Generator<Hypothesis> {
  for (const wrong of wrongPairs(scene)) yield rowSum(scene, wrong);
};

/** dM that rounds somewhere. */
function* roundedPairs(scene: Scene): Generator<WrongPair> {
  const { R, parameters: { rule } } = scene;
  const norm = (query: number): number => (rule === 'exact' ? scene.lse(query) : scene.causalLse(query));
  const weight = (query: number, S: number): number => Math.exp(S - norm(query));
  const right = rightPair(scene);
  const [normWords, ofDM] = [rule === 'exact' ? 'lse' : 'nu', 'for dM'];
  for (const [to, round] of FORMATS) {
    for (const [name, detail, rounded] of roundedWeights(scene, to, round, norm, normWords)) {
      yield { name, detail: `${detail.replace(', in the backward', '')}, ${ofDM}`, at: pairs(scene, rounded) };
    }
    const name = 'intermediate-rounded';
    yield { name, detail: `${normWords} to ${to}, ${ofDM}`, at: pairs(scene, (query, S) => Math.exp(S - round(norm(query)))) };
    yield { name, detail: `P to ${to}, ${ofDM}`, at: pairs(scene, (query, S) => round(weight(query, S))) };
    for (const [detail, change] of roundedChanges(scene, to, round)) {
      yield { name, detail: `${detail}, ${ofDM}`, at: pairs(scene, weight, change) };
    }
    yield { name, detail: R > 1 ? `dM of each query head to ${to}` : `dM to ${to}`, at: pairs(scene, weight, undefined, undefined, round) };
    if (R > 1) yield { name, detail: `dM to ${to}`, at: (head, i, j) => round(right(head, i, j)) };
  }
}
