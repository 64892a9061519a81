/**
 * Masked attention and its gradients, one KV head after the other: kernels/attention.ts and attention-backward.ts.
 * @module
 */
import { chunkCount, TokenType, windowEnd } from '../src/core/lifetime.ts';
import type { AttentionSizes } from '../src/core/sizes.ts';
import type { AttentionBackwardInputs } from '../src/core/training-engine.ts';
import type { Machine, WasmArray } from './machine.ts';
import { planTypeGradient } from './mask.ts';

export interface Inputs {
  readonly q: WasmArray;
  readonly k: WasmArray;
  readonly v: WasmArray;
  readonly last: WasmArray;
  readonly scale: number;
}

/** Queries of a part: a multiple of the tile in kernels/attention.ts, so that tiles do not depend on threads. */
const BLOCK = 64;

/** out [B,H,N,d] and lse [B,H,N]. */
export function attention(
  on: Machine, { q, k, v, last, scale }: Inputs, { B, H, G, N, d }: AttentionSizes,
): { out: WasmArray; lse: WasmArray } {
  const [out, lse] = [on.make(q.shape), on.make(q.shape.slice(0, 3))];
  const [Q, K, V] = [on.real(q), on.real(k), on.real(v)];
  const share = H / G;
  const row = N * d * on.size;
  on.withIntegers(last.integers!, (ends) => {
    const heads = Array.from({ length: B * G }, (_, head) => head);
    const parts = on.ranges(N, BLOCK, B * H * N * N * d).flatMap(([from, to]) => heads.map((head) => {
      const first = head * share;
      const at = first * row + from * d * on.size;
      return [
        Q + at, row, K + head * row, V + head * row, 0, ends + head * N * 4, N, from, to - from, share, d, scale,
        out.at + at, lse.at + (first * N + from) * on.size, N * on.size,
      ];
    }));
    on.together(on.own('attend'), parts.reverse(), { // the last queries see the most
      room: on.call('attendRoom', N, d, share), work: B * H * N * N * d,
    });
  });
  return { out, lse };
}

/** dq, dk and dv, and the gradient of the types if there are any. */
export function attentionBackward(
  on: Machine, inputs: AttentionBackwardInputs<WasmArray>, sizes: AttentionSizes,
): { dq: WasmArray; dk: WasmArray; dv: WasmArray; dTypes?: WasmArray } {
  const { q, k, v, last, lse, out, dOut, scale, types } = inputs;
  const { B, H, G, N, d } = sizes;
  const [dq, dk, dv] = [on.zeros(q.shape), on.zeros(k.shape), on.zeros(v.shape)];
  const [Q, K, V, O, L, dO] = [q, k, v, out, lse, dOut].map((x) => on.real(x));
  const share = H / G;
  const row = N * d * on.size;
  on.withIntegers(last.integers!, (ends) => on.together(on.own('backward'), Array.from({ length: B * G }, (_, head) => {
    const [first, own] = [head * share * row, head * row];
    return [
      Q + first, O + first, dO + first, dq.at + first, row, L + head * share * N * on.size, N * on.size,
      K + own, V + own, dk.at + own, dv.at + own, ends + head * N * 4, N, share, d, scale,
    ];
  }), { room: N * 4, work: B * H * N * N * d }));
  return { dq, dk, dv, ...(types && { dTypes: typeGradient(on, inputs, types, sizes) }) };
}

/** (dg, dl, dw) of §5, each head on its own. */
function typeGradient(
  on: Machine, { q, k, v, out, lse, dOut, scale }: AttentionBackwardInputs<WasmArray>,
  { types, rule, window, localWindow, chunk, reach = 0x7fffffff }: NonNullable<AttentionBackwardInputs<WasmArray>['types']>,
  { B, H, G, N, d }: AttentionSizes,
): WasmArray {
  const chunks = chunkCount(N, chunk);
  const share = H / G;
  const dTypes = on.zeros([...types.shape, 3]);
  const [Q, K, V, O, L, dO] = [q, k, v, out, lse, dOut].map((x) => on.real(x));
  const row = N * d * on.size;
  const ends = Int32Array.from({ length: chunks }, (_, c) => windowEnd(c, chunk, window));
  const tables = new Int32Array(B * G * 4 * chunks);
  for (let head = 0; head < B * G; head++) {
    const plan = planTypeGradient(types.integers!, head * chunks, N, { window, localWindow, chunk });
    // With a second window GLOBAL closes nothing, so to the kernel no chunk is LOCAL.
    if (localWindow !== undefined) plan.types.fill(TokenType.WINDOW);
    const lists = [plan.closing, plan.previousGlobal, plan.types, ends];
    lists.forEach((each, n) => tables.set(each, (4 * head + n) * chunks));
  }
  on.withIntegers(tables, (table) => {
    const parts = Array.from({ length: B * G }, (_, head) => {
      const [first, own] = [head * share * row, head * row];
      return [
        Q + first, O + first, dO + first, row, L + head * share * N * on.size, N * on.size, K + own, V + own,
        table + 16 * head * chunks, dTypes.at + head * chunks * 3 * on.size, N, share, d, chunks, chunk, scale,
        Number(rule === 'bounded'), reach,
      ];
    });
    on.together(on.own('typeHead'), parts, { room: on.run('typeRoom', N, d), work: B * H * N * N * d });
  });
  return dTypes;
}
