/**
 * Wrong gradients of attention (§4): dv, dq and dk.
 * @module
 */
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import type { Change } from './backward-change.ts';
import { wrongIntermediates } from './backward-intermediates.ts';
import { backwardRoundings } from './backward-roundings.ts';
import { wrongLifetimes } from './wrong-lifetimes.ts';
import { ownForward } from './own-forward.ts';
import { MOST_KEPT, type Scene, type Sees } from './scene.ts';
import type { OutputName } from '../types.ts';

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
    // Of all types: a tile that is left out of a sum, and no lifetime.
    if (name === 'ends-by-tile' && detail?.startsWith('all with')) continue;
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

export const backwardHypotheses: Hypotheses = (scene, output) => gradientsBy(scene, output, changes(scene));

/** dv, dq or dk with each of some changes. */
export function* gradientsBy(scene: Scene, output: OutputName, all: Iterable<Change>): Generator<Hypothesis> {
  const { N, d, q, k, dout } = scene;
  const { scale } = scene.parameters;
  for (const made of all) {
    const { name, sees = scene.sees, factor = 1, operand, only = output } = made;
    if (only !== output) continue;
    const seen = { ...made.sees && { sees: made.sees }, ...made.detail !== undefined && { detail: made.detail } };
    if (output === 'dq') {
      if (name.startsWith('group') || made.roundHead) continue;
      const late = made.byHead || made.late ? factor * scale : 1;
      yield { name, ...seen, predict: (query) => {
        const head = scene.headOf(query);
        const sums = new Sums(d, made);
        const from = made.from?.(head, query) ?? head;
        for (let j = 0; j < N; j++) {
          if (!sees(head, query % N, j)) continue;
          const key = from * N + j;
          sums.add(factor * scale / late * slope(scene, made, query, key), operand ?? k, key, j);
        }
        return late === 1 ? sums.total() : sums.total().map((x) => late * x);
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
      const late = output === 'dk' && (made.byHead || made.late) ? factor * scale : 1;
      const each = made.byHead || made.roundHead;
      let sums = new Sums(d, made);
      for (const first of groupOf(scene, made, head)) {
        const own = made.foreign ? Math.floor(first / scene.R) : head;
        const key = own * N + j;
        for (let i = 0; i < N; i++) {
          if (!sees(own, i, j)) continue;
          const query = first * N + i;
          if (output === 'dv') sums.add(factor * weightOf(scene, made, query, key), operand ?? dout, query, i);
          else sums.add(factor * scale / late * slope(scene, made, query, key), operand ?? q, query, i);
        }
        sums.flush();
        if (!each) continue;
        sums.total().forEach((x, c) => (out[c] = out[c] + (made.roundHead ?? ((y) => y))(late * x)));
        sums = new Sums(d, made);
      }
      return each ? out : late === 1 ? sums.total() : sums.total().map((x) => late * x);
    } };
  }
};

/** Sums of d numbers, rounded as a Change says. */
class Sums {
  readonly #d: number;
  readonly #round: Change['round'];
  readonly #tile: number | undefined;
  readonly #total: Float64Array;
  readonly #part: Float64Array;
  #at = -1;

  constructor(d: number, { round, tile }: Change) {
    this.#d = d;
    [this.#round, this.#tile] = [round, tile];
    this.#total = new Float64Array(d);
    this.#part = tile ? new Float64Array(d) : this.#total;
  }

  /** Adds a times row `row` of x: the term of query, or key, n. */
  add(a: number, x: Float64Array, row: number, n: number): void {
    const [y, d, round] = [this.#part, this.#d, this.#round];
    if (this.#tile) {
      if (Math.floor(n / this.#tile) !== this.#at) this.flush();
      this.#at = Math.floor(n / this.#tile);
    } else if (round) {
      for (let c = 0; c < d; c++) y[c] = round(y[c] + a * x[row * d + c]);
      return;
    }
    for (let c = 0; c < d; c++) y[c] = y[c] + a * x[row * d + c];
  }

  /** Adds the sum of the tile that is not complete. */
  flush(): void {
    if (!this.#tile || this.#at < 0) return;
    for (let c = 0; c < this.#d; c++) {
      this.#total[c] = this.#round!(this.#total[c] + this.#part[c]);
      this.#part[c] = 0;
    }
    this.#at = -1;
  }

  total(): Float64Array {
    this.flush();
    return this.#total;
  }
}

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
