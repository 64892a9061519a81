/**
 * §4: the gradients of masked attention.
 * @module
 */
import type { AttentionSizes } from '../../src/core/sizes.ts';
import { KEY_ORDER, keyGradients, LONG } from './attention-dkv.ts';
import { queryGradients } from './attention-dq.ts';
import { ownRows, pairTile } from './attention-pairs.ts';
import { blocks } from './attention-tile.ts';
import { typeGradient, type TypeGradientOptions } from './attention-types.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import { type Kernel, kernel } from './template.ts';

/** The tensors of a call. */
export interface BackwardInputs {
  readonly q: Memory;
  readonly k: Memory;
  readonly v: Memory;
  readonly last: Memory;
  readonly out: Memory;
  readonly lse: Memory;
  readonly dOut: Memory;
}

const DELTA = kernel('attention delta', `
// rows[i] = (lse[i], D[i]) with D[i] = do[i] . o[i], a thread for each query of every head.
struct Params { length: u32, d: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dOut: array<f32>;
@group(0) @binding(2) var<storage, read> out: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> rows: array<vec2f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  var sum = 0.0;
  for (var e = 0u; e < p.d; e++) { sum += dOut[n * p.d + e] * out[n * p.d + e]; }
  rows[n] = vec2f(lse[n], sum);
}`);

/** The gradients of §4: dq, dk, dv; with `typed` also that of §5: dTypes [B,G,Nc,3]. */
export function attentionBackward(
  device: WgslDevice, { q, k, v, last, out, lse, dOut }: BackwardInputs, sizes: AttentionSizes, scale: number,
  typed?: TypeGradientOptions,
): [dq: Memory, dk: Memory, dv: Memory, dTypes?: Memory] {
  const { B, H, G, N, d } = sizes;
  const rows = device.allocate(2 * B * H * N);
  device.run(DELTA, {
    params: { length: B * H * N, d }, inputs: [dOut, out, lse], outputs: [rows], groups: flat(B * H * N),
    work: B * H * N * d * 2,
  });
  const tile = pairTile(device, d);
  const [dq, dk, dv, order] = [B * H * N * d, B * G * N * d, B * G * N * d, 2 * B * G * N]
    .map((length) => device.allocate(length));
  const tiles = Math.ceil(N / ownRows(tile));
  const backward = (
    of: Kernel, heads: number, share: number, inputs: readonly Memory[], outputs: readonly Memory[],
  ): void => {
    for (const { skipped, groups, work } of blocks(device, tiles, heads, B * H * N * N * d * share)) {
      device.run(of, { params: { N, group: H / G, scale, skipped }, inputs, outputs, groups, work });
    }
  };
  backward(queryGradients(tile), B * H, 3, [q, k, v, last, rows, dOut], [dq]);
  device.run(KEY_ORDER({ LANES: device.width }), {
    params: { N, long: LONG }, inputs: [last], outputs: [order], groups: [B * G], work: B * G * N * 8,
  });
  backward(keyGradients(tile), B * G, 4, [q, k, v, rows, dOut, order], [dk, dv]);
  device.free(order);
  const dTypes = typed && typeGradient(device, { q, k, v, dOut, rows }, sizes, scale, typed, lse);
  device.free(rows);
  return [dq, dk, dv, dTypes];
}
