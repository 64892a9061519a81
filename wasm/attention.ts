/**
 * Masked attention and its gradients, one KV head after the other: kernels/attention.ts and attention-backward.ts.
 * @module
 */
import { chunkCount, windowEnd } from '../src/core/lifetime.ts';
import type { AttentionSizes } from '../src/core/sizes.ts';
import type { AttentionBackwardInputs } from '../src/core/training-engine.ts';
import { panelBytes, product } from './linear.ts';
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

/** How many rows of dM are in memory at once. */
const QUERY_BLOCK = 32;

/** (dg, dl, dw) of §5, from blocks of rows of dM. Since hidden pairs count too, S and P' are plain matrix products. */
function typeGradient(
  on: Machine, { q, k, v, out, lse, dOut, scale }: AttentionBackwardInputs<WasmArray>,
  { types, rule, window, chunk, reach = 0x7fffffff }: NonNullable<AttentionBackwardInputs<WasmArray>['types']>,
  { B, H, G, N, d }: AttentionSizes,
): WasmArray {
  const chunks = chunkCount(N, chunk);
  const share = H / G;
  const dTypes = on.zeros([...types.shape, 3]);
  const [Q, K, V, O, L, dO] = [q, k, v, out, lse, dOut].map((x) => on.real(x));
  const panels = panelBytes(on, N, d);
  const block = QUERY_BLOCK * N * on.size;
  const pack = on.size === 4 ? 'pack32x8' : 'pack64x4';
  on.within(2 * panels + 3 * block + 64, (room) => {
    const [keys, values] = [room, room + panels];
    const [S, P, dM] = [0, 1, 2].map((n) => room + 2 * panels + n * block);
    for (let head = 0; head < B * G; head++) {
      const plan = planTypeGradient(types.integers!, head * chunks, N, { window, chunk });
      const ends = Int32Array.from({ length: chunks }, (_, c) => windowEnd(c, chunk, window));
      on.call(pack, K + head * N * d * on.size, N, d, keys);
      on.call(pack, V + head * N * d * on.size, N, d, values);
      on.withIntegers([...plan.closing, ...plan.previousGlobal, ...plan.types, ...ends], (table) => {
        for (let first = 0; first < N; first += QUERY_BLOCK) {
          const rows = Math.min(QUERY_BLOCK, N - first);
          const seen = first + rows;
          on.bytes(dM, rows * seen * on.size).fill(0);
          for (let h = 0; h < share; h++) {
            const at = (head * share + h) * N + first;
            const from = at * d * on.size;
            product(on, Q + from, keys, S, rows, seen, d);
            product(on, dO + from, values, P, rows, seen, d);
            on.run('maskRows', S, P, dO + from, O + from, L + at * on.size, dM,
              rows, seen, first, d, scale, Number(rule === 'bounded'), reach);
          }
          on.run('typeRows', table, chunks, chunk, dM, rows, seen, first, dTypes.at + head * chunks * 3 * on.size);
        }
      });
    }
  });
  return dTypes;
}

