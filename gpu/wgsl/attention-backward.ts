/**
 * §4: the gradients of masked attention.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import type { AttentionSizes } from '../../src/core/sizes.ts';
import { KEY_ORDER, keyGradients, LONG } from './attention-dkv.ts';
import { queryGradients } from './attention-dq.ts';
import { ownRows, pairTile } from './attention-pairs.ts';
import { blocks } from './attention-tile.ts';
import { typeGradient, type TypeGradientOptions } from './attention-types.ts';
import { fitsUnits, ownOf, type UnitTile } from './attention-units.ts';
import { unitKeyGradients } from './attention-units-dkv.ts';
import { unitQueryGradients } from './attention-units-dq.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import { type FastKernel, runsOn } from './fast/index.ts';
import { MATRIX_UNITS, type Units } from './fast/units.ts';
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

/** The kernels of dq and of dk, dv, and the rows that a workgroup of theirs owns. */
interface Way {
  readonly queries: FastKernel<unknown>;
  readonly keys: FastKernel<unknown>;
  readonly own: number;
}

/** Ways by what they depend on: to write a kernel takes longer than to run it. */
const ways = new WeakMap<WgslDevice, Map<string, Way>>();

/** By matrix units, whose factors are float16, on a device that computes in float16 and has them. */
function wayOf(device: WgslDevice, d: number, spelledOut: Units | undefined): Way {
  let known = ways.get(device);
  if (!known) ways.set(device, known = new Map());
  const key = `${d} ${spelledOut !== undefined}`;
  let way = known.get(key);
  if (way) return way;
  const units = spelledOut ?? (device.compute === 'f16' ? MATRIX_UNITS : undefined);
  if (units && fitsUnits(d)) {
    const tile: UnitTile = { on: units, d, strips: spelledOut ? 2 : 4 }; // software has less workgroup memory
    way = { queries: unitQueryGradients(tile), keys: unitKeyGradients(tile), own: ownOf(tile) };
    if (![way.queries, way.keys].every((kernel) => runsOn(device.gpuDevice, device.info, kernel))) way = undefined;
  }
  if (!way && spelledOut) throw new DeviceError(`heads of size ${d} are too long for matrix units spelled out`);
  if (!way) {
    const tile = pairTile(device, d);
    way = { queries: queryGradients(tile), keys: keyGradients(tile), own: ownRows(tile) };
  }
  known.set(key, way);
  return way;
}

/**
 * The gradients of §4: dq, dk, dv; with `typed` also that of §5: dTypes [B,G,Nc,3].
 *
 * @param spelledOut For tests: matrix units in core WGSL.
 */
export function attentionBackward(
  device: WgslDevice, { q, k, v, last, out, lse, dOut }: BackwardInputs, sizes: AttentionSizes, scale: number,
  typed?: TypeGradientOptions, spelledOut?: Units,
): [dq: Memory, dk: Memory, dv: Memory, dTypes?: Memory] {
  const { B, H, G, N, d } = sizes;
  const rows = device.allocate(2 * B * H * N);
  device.run(DELTA, {
    params: { length: B * H * N, d }, inputs: [dOut, out, lse], outputs: [rows], groups: flat(B * H * N),
    work: B * H * N * d * 2,
  });
  const way = wayOf(device, d, spelledOut);
  const [dq, dk, dv, order] = [B * H * N * d, B * G * N * d, B * G * N * d, 2 * B * G * N]
    .map((length) => device.allocate(length));
  const tiles = Math.ceil(N / way.own);
  const backward = (
    of: Kernel, heads: number, share: number, inputs: readonly Memory[], outputs: readonly Memory[],
  ): void => {
    for (const { skipped, groups, work } of blocks(device, tiles, heads, B * H * N * N * d * share)) {
      device.run(of, { params: { N, group: H / G, scale, skipped }, inputs, outputs, groups, work });
    }
  };
  backward(way.queries, B * H, 3, [q, k, v, last, rows, dOut], [dq]);
  device.run(KEY_ORDER({ LANES: device.width }), {
    params: { N, long: LONG }, inputs: [last], outputs: [order], groups: [B * G], work: B * G * N * 8,
  });
  backward(way.keys, B * G, 4, [q, k, v, rows, dOut, order], [dk, dv]);
  device.free(order);
  const dTypes = typed && typeGradient(device, { q, k, v, dOut, rows }, sizes, scale, typed, lse);
  device.free(rows);
  return [dq, dk, dv, dTypes];
}
