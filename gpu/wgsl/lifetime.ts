/**
 * §2: from token types to lifetimes, and §7: the share of tokens that is kept.
 * @module
 */
import { FOREVER, type LifetimeOptions } from '../../src/core/lifetime.ts';
import type { TypeSizes } from '../../src/core/sizes.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import { kernel, template } from './template.ts';

const LIFETIME = kernel('lifetime', `
// last[head, j] from types [heads,Nc], a thread for each token, which looks ahead to the first GLOBAL chunk after its own. A
// chunk that does not end inside the sequence counts as GLOBAL. A second window local >= 0 ends LOCAL chunks instead. No
// token j lives beyond j + reach. An unknown type (a NaN score) makes last -1.
struct Params { length: u32, N: u32, chunks: u32, C: u32, window: i32, local: i32, reach: i32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> types: array<i32>;
@group(0) @binding(2) var<storage, read_write> last: array<i32>;

const FOREVER = 0x7fffffff;
fn after(position: u32, distance: i32) -> i32 {
  return select(i32(position) + distance, FOREVER, distance > FOREVER - i32(position));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let j = n % p.N;
  let start = n / p.N * p.chunks;
  let c = j / p.C;
  var end = FOREVER;
  if ((c + 1u) * p.C <= p.N) {
    let kind = types[start + c];
    if (kind == 1 && p.local < 0) {
      for (var next = c + 1u; next < p.chunks; next++) {
        if ((next + 1u) * p.C > p.N || types[start + next] == 0) {
          end = i32((next + 1u) * p.C) - 1;
          break;
        }
      }
    }
    if (kind == 1 && p.local >= 0) { end = after((c + 1u) * p.C - 1u, p.local); }
    if (kind == 2) { end = after((c + 1u) * p.C - 1u, p.window); }
    if (kind < 0 || kind > 2) { end = -1; }
  }
  last[n] = min(end, after(j, p.reach));
}`);

/** How far lifetimes reach, as kernels read it. */
export interface Limits {
  readonly window: number;
  /** The second window, or -1 if LOCAL lasts until the next GLOBAL. */
  readonly local: number;
  readonly reach: number;
}

export function limitsOf({ window, localWindow, reach = FOREVER }: Omit<LifetimeOptions, 'chunk'>): Limits {
  const local = localWindow === undefined ? -1 : Math.min(localWindow, FOREVER);
  return { window: Math.min(window, FOREVER), local, reach: Math.min(reach, FOREVER) };
}

/** last [B,G,N] of types [B,G,Nc]. */
export function lifetime(
  device: WgslDevice, types: Memory, options: LifetimeOptions,
  { B, G, N, chunks }: TypeSizes & { N: number },
): Memory {
  const length = B * G * N;
  const last = device.allocate(length);
  device.run(LIFETIME, {
    params: { length, N, chunks, C: options.chunk, ...limitsOf(options) },
    inputs: [types], outputs: [last], groups: flat(length),
  });
  return last;
}

const KEPT = template('kept share', `
// share[head] = the mean over j of (min(last[j], N - 1) - j) / N * 2  (§7): a workgroup for each head.
struct Params { N: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> last: array<i32>;
@group(0) @binding(2) var<storage, read_write> share: array<f32>;

var<workgroup> sums: array<f32, $LANES>;

@compute @workgroup_size($LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var j = lane; j < p.N; j += $LANESu) { sum += f32(min(last[group.x * p.N + j], i32(p.N) - 1) - i32(j)); }
  sums[lane] = sum;
  workgroupBarrier();
  if (lane > 0u) { return; }
  var total = 0.0;
  for (var n = 0u; n < $LANESu; n++) { total += sums[n]; }
  share[group.x] = select(0.0, total / f32(p.N) * 2.0 / f32(p.N), p.N > 0u);
}`, 'LANES');

/** §7: the mean over j of kept_j, for each KV head. */
export function keptShare(device: WgslDevice, last: Memory, BG: number, N: number): Memory {
  const share = device.allocate(BG);
  device.run(KEPT({ LANES: device.width }), { params: { N }, inputs: [last], outputs: [share], groups: [BG] });
  return share;
}
