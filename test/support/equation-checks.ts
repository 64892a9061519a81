/**
 * Sections 2 to 8 of docs/equations.ts: mathjs on one side, the function each equation names on the other.
 * @module
 */
import { expect } from 'vitest';
import { attention, attentionBackward, maskGradient } from '../../reference/public/attention.ts';
import { KVCache } from '../../reference/public/cache.ts';
import { poolChunks } from '../../reference/chunks.ts';
import { lifetime } from '../../reference/public/lifetime.ts';
import { addTypeGradientRow, planTypeGradient } from '../../reference/mask.ts';
import { attentionMask, relaxedMask } from '../../reference/public/mask.ts';
import { addMemoryPrice, keptShare } from '../../reference/public/price.ts';
import { selectTokenTypes, tokenTypesBackward } from '../../reference/public/search.ts';
import type { MaskGradientRule } from '../../src/core/training-engine.ts';
import { ndarray } from '../../src/core/tensor.ts';
import { evaluateEquation, rowsOf, type Scope } from './mathjs.ts';
import { agree, type Draw, finite, flat, oneHead } from './equation-draw.ts';

/** Attention of `heads` query heads on one KV head: the reference's arguments, and one scope per query head. */
function drawAttention(draw: Draw) {
  const s = draw.sequence();
  const { N, d, W, t } = s;
  const heads = draw.whole(1, 2);
  const scale = draw.whole(1, 8) / 8;
  // Queries and keys are small: otherwise the weight of a hidden key, exp(S - lse), would dwarf all other magnitudes.
  const [k, v] = [draw.reals(N * d, 0.75), draw.reals(N * d)];
  const [q, dOut] = [draw.reals(heads * N * d, 0.75), draw.reals(heads * N * d)];
  const inputs = {
    q: ndarray(q, [1, heads, N, d]), k: ndarray(k, [1, 1, N, d]), v: ndarray(v, [1, 1, N, d]),
    last: ndarray(s.last, [1, 1, N]), scale,
  };
  const forward = attention(inputs);
  const scopes = Array.from({ length: heads }, (_, h) => {
    const part = (data: Float64Array): number[][] => rowsOf([...data.subarray(h * N * d, (h + 1) * N * d)], d);
    const scope: Scope = {
      N, d, W, t, scale, last: finite(s.last), q: part(q), do: part(dOut),
      k: rowsOf([...k], d), v: rowsOf([...v], d),
    };
    const ids = ['scores', 'mask', 'attention', 'attention-backward'];
    return ids.reduce((known, id) => evaluateEquation(id, known), scope);
  });
  const backward = { ...inputs, ...forward, dOut: ndarray(dOut, [1, heads, N, d]) };
  return { ...s, forward, backward, scopes, scope: { all: scopes.map(Object.values) } };
}

/** Sums the values of a name over the query heads of the group. */
function sumOver(scopes: readonly Scope[], name: string): number[] {
  const all = scopes.map((scope) => flat(scope[name]));
  return all[0].map((_, n) => all.reduce((sum, head) => sum + head[n], 0));
}

function checkMaskGradient(draw: Draw, rule: MaskGradientRule): void {
  const { backward, scopes, N, t, W } = drawAttention(draw);
  const graded = scopes.map((scope) => evaluateEquation(`mask-gradient-${rule}`, scope));
  const dM = sumOver(graded, 'dM');
  const magnitudes = { graded: graded.map(Object.values) };
  agree(maskGradient({ ...backward, rule }).data, dM, magnitudes);
  // The type gradients of the whole backward must be those of the same dM.
  const { dTypes } = attentionBackward({ ...backward, rule, types: oneHead(t), window: W });
  const sum = dM.reduce((a, x) => a + Math.abs(x), 0);
  agree(dTypes!.data, typeGradient({ N, t, W, dM: rowsOf(dM, N) }), { ...magnitudes, sum });
}

/** (dg, dl, dw) per token. */
function typeGradient(scope: Scope): number[] {
  const { dg, dl, dw } = evaluateEquation('type-gradient', scope) as Record<string, number[]>;
  return dg.flatMap((x, j) => [x, dl[j], dw[j]]);
}

/** One check per equation of sections 2 to 8, by its name. */
export const checks: Readonly<Record<string, (draw: Draw) => void>> = {
  lifetime(draw) {
    const { N, W, t, last } = draw.sequence();
    expect(finite(last)).toEqual(evaluateEquation('lifetime', { N, W, t })['last']);
  },
  mask(draw) {
    const { N, last } = draw.sequence(true);
    const mask = attentionMask(ndarray(last, [1, 1, N])).data;
    expect([...mask]).toEqual(flat(evaluateEquation('mask', { N, last: finite(last) })['M']));
  },
  'chunk-lifetime'(draw) {
    const { N, W, C, Nc, t, last } = draw.sequence(true);
    expect(finite(last)).toEqual(evaluateEquation('chunk-lifetime', { N, W, C, Nc, t })['last']);
  },
  'second-window'(draw) {
    const { N, W, t } = draw.sequence();
    const Wl = draw.whole(0, N + 1);
    const last = lifetime(oneHead(t), { window: W, localWindow: Wl }).data;
    expect(finite(last)).toEqual(evaluateEquation('second-window', { N, W, Wl, t })['last']);
  },
  'chunk-pool'(draw) {
    const { N, d, C, Nc } = draw.sequence(true);
    const x = draw.reals(N * d);
    const scope = evaluateEquation('chunk-pool', { N, C, Nc, x: rowsOf([...x], d) });
    agree(poolChunks(ndarray(x, [1, N, d]), 'mean', { B: 1, N, D: d, C, chunks: Nc }).data, scope['p'], scope);
  },
  scores(draw) {
    // A single visible key has weight 1, so lse is its score: W = 0 shows the diagonal of S.
    const { N, d } = draw.sequence();
    const [q, k] = [draw.reals(N * d), draw.reals(N * d)];
    const shape = [1, 1, N, d];
    const last = lifetime(oneHead(Array<number>(N).fill(2)), { window: 0 });
    const { lse } = attention({ q: ndarray(q, shape), k: ndarray(k, shape), v: ndarray(k, shape), last });
    const scale = 1 / Math.sqrt(d);
    const scope = evaluateEquation('scores', { N, scale, q: rowsOf([...q], d), k: rowsOf([...k], d) });
    agree(lse.data, (scope['S'] as number[][]).map((values, i) => values[i]), scope);
  },
  attention(draw) {
    const { forward, scopes, scope } = drawAttention(draw);
    agree(forward.out.data, scopes.map((s) => s['o']), scope);
    agree(forward.lse.data, scopes.map((s) => s['lse']), scope);
  },
  'attention-backward'(draw) {
    const { backward, scopes, scope } = drawAttention(draw);
    const { dq, dk, dv } = attentionBackward(backward);
    agree(dq.data, scopes.map((s) => s['dq']), scope);
    agree(dk.data, sumOver(scopes, 'dk'), scope);
    agree(dv.data, sumOver(scopes, 'dv'), scope);
  },
  'mask-gradient-exact': (draw) => checkMaskGradient(draw, 'exact'),
  'mask-gradient-bounded': (draw) => checkMaskGradient(draw, 'bounded'),
  'relaxed-mask': (draw) => checkRelaxedMask(draw, false),
  'relaxed-chunk-mask': (draw) => checkRelaxedMask(draw, true),
  'type-gradient'(draw) {
    const { N, W, t } = draw.sequence();
    const dM = rowsOf([...draw.reals(N * N)], N).map((values, i) => values.map((x, j) => j <= i ? x : 0));
    const plan = planTypeGradient(Int32Array.from(t), 0, N, { window: W, chunk: 1 });
    const dTypes = new Float64Array(3 * N);
    dM.forEach((values, i) => addTypeGradientRow(plan, Float64Array.from(values), i, dTypes, 0));
    agree(dTypes, typeGradient({ N, W, t, dM }), { dM, pairs: N * N });
  },
  'second-window-mask'(draw) {
    const { N, W } = draw.sequence();
    const [Wl, soft] = [draw.whole(0, N + 1), draw.reals(3 * N)];
    const [g, l, w] = [0, 1, 2].map((c) => rowsOf([...soft], 3).map((triple) => triple[c]));
    const scope = evaluateEquation('second-window-mask', { N, W, Wl, g, l, w });
    const how = { window: W, localWindow: Wl, length: N };
    agree(relaxedMask(ndarray(soft, [1, 1, N, 3]), how).data, scope['M'], scope);
  },
  'second-window-gradient'(draw) {
    const { N, W, t } = draw.sequence();
    const Wl = draw.whole(0, N + 1);
    const dM = rowsOf([...draw.reals(N * N)], N).map((values, i) => values.map((x, j) => j <= i ? x : 0));
    const plan = planTypeGradient(Int32Array.from(t), 0, N, { window: W, localWindow: Wl, chunk: 1 });
    const dTypes = new Float64Array(3 * N);
    dM.forEach((values, i) => addTypeGradientRow(plan, Float64Array.from(values), i, dTypes, 0));
    const scope = evaluateEquation('second-window-gradient', { N, W, Wl, dM });
    const { dg, dl, dw } = scope as Record<string, number[]>;
    agree(dTypes, dg.flatMap((x, j) => [x, dl[j], dw[j]]), { dM, pairs: N * N });
  },
  types(draw) {
    const tau = draw.whole(1, 16) / 8;
    const [s, u] = [draw.reals(3), draw.reals(3)];
    const { types, probabilities } = selectTokenTypes({
      scores: ndarray(s, [1, 1, 1, 3]), noise: ndarray(u, [1, 1, 1, 3]), temperature: tau,
    });
    const scope = evaluateEquation('types', { tau, s: [...s], u: [...u] });
    agree(probabilities.data, scope['y'], {});
    expect(types.data[0]).toBe(scope['t']);
  },
  'types-backward'(draw) {
    const tau = draw.whole(1, 16) / 8;
    const { probabilities } = selectTokenTypes({ scores: ndarray(draw.reals(3), [1, 1, 1, 3]) });
    const dt = draw.reals(3);
    const ds = tokenTypesBackward({ dTypes: ndarray(dt, [1, 1, 1, 3]), probabilities, temperature: tau });
    const scope = evaluateEquation('types-backward', { tau, y: [...probabilities.data], dt: [...dt] });
    agree(ds.data, scope['ds'], scope);
  },
  kept(draw) {
    const { N, last } = draw.sequence(true);
    const scope = evaluateEquation('kept', { N, last: finite(last) });
    agree(keptShare(ndarray(last, [1, 1, N])).data, scope['share'], scope);
  },
  price(draw) {
    const { N, W, t } = draw.sequence();
    const [lambda, L, G, B] = [draw.whole(0, 64) / 64, draw.whole(1, 4), draw.whole(1, 4), draw.whole(1, 4)];
    const scope = evaluateEquation('price', { N, W, t, lambda, L, G, B });
    const priced = addMemoryPrice({
      dTypes: ndarray(new Float64Array(3 * N), [1, 1, N, 3]), types: oneHead(t), length: N, window: W,
      weight: lambda * 2 / (L * G * B * N ** 2),
    });
    const { Kg, Kl, Kw } = scope as Record<string, number[]>;
    agree(priced.data, Kg.flatMap((x, j) => [x, Kl[j], Kw[j]]), scope);
  },
  'second-window-price'(draw) {
    const { N, W, t } = draw.sequence();
    const Wl = draw.whole(0, N + 1);
    const [lambda, L, G, B] = [draw.whole(0, 64) / 64, draw.whole(1, 4), draw.whole(1, 4), draw.whole(1, 4)];
    const scope = evaluateEquation('second-window-price', { N, Wl, lambda, L, G, B });
    const priced = addMemoryPrice({
      dTypes: ndarray(new Float64Array(3 * N), [1, 1, N, 3]), types: oneHead(t), length: N, window: W, localWindow: Wl,
      weight: scope['K'] as number,
    });
    agree(priced.data.filter((_, n) => n % 3 === 1), scope['Kl'], scope);
  },
  cache(draw) {
    const { N, W, t } = draw.sequence();
    const cache = new KVCache({ batch: 1, kvHeads: 1, headDim: 1, window: W, blockSize: 2 });
    for (let i = 0, T; i < N; i += T) {
      T = draw.whole(1, N - i);
      const x = ndarray(new Float64Array(T), [1, 1, T, 1]);
      cache.step({ q: x, k: x, v: x, types: oneHead(t.slice(i, i + T)) });
      const known = evaluateEquation('lifetime', { N: i + T, W, t: t.slice(0, i + T) });
      const live = evaluateEquation('cache', { ...known, i, T })['live'] as number[];
      expect([...cache.positions(0, 0)]).toEqual(live.flatMap((stays, j) => stays ? [j] : []));
    }
  },
};


function checkRelaxedMask(draw: Draw, chunked: boolean): void {
  const { N, W, C, Nc } = draw.sequence(chunked);
  const soft = draw.reals(3 * Nc);
  const [g, l, w] = [0, 1, 2].map((c) => rowsOf([...soft], 3).map((triple) => triple[c]));
  const scope = evaluateEquation(chunked ? 'relaxed-chunk-mask' : 'relaxed-mask', { N, W, C, Nc, g, l, w });
  // Products of up to N factors (1 - g) of at most 4 may have larger intermediate values than their result.
  agree(relaxedMask(ndarray(soft, [1, 1, Nc, 3]), { window: W, chunk: C, length: N }).data, scope['M'], scope);
}
