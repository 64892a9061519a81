/**
 * §5 and §7: what they need to know about the types of every KV head, and the price of memory.
 * @module
 */
import type { LifetimeOptions } from '../../src/core/lifetime.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import { limitsOf } from './lifetime.ts';
import { kernel } from './template.ts';

const PLAN = kernel('type plan', `
// Of each chunk c of a KV head: its type (a last chunk that is not full is GLOBAL), closing[c], the last token of the first
// GLOBAL chunk after c, or with a second window local >= 0 the last token of c + local, at most N - 1, and previous[c], the
// last GLOBAL chunk before c, or -1. A thread for each chunk.
struct Params { length: u32, N: u32, chunks: u32, C: u32, local: i32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> types: array<i32>;
@group(0) @binding(2) var<storage, read_write> plan: array<vec3i>;

fn kindOf(head: u32, c: u32) -> i32 {
  if ((c + 1u) * p.C > p.N) { return 0; }
  return types[head * p.chunks + c];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let head = n / p.chunks;
  let c = n % p.chunks;
  var closing = i32(p.N) - 1;
  if (p.local >= 0 && p.local < i32(p.N)) { closing = min(closing, i32(min((c + 1u) * p.C, p.N)) - 1 + p.local); }
  for (var next = c + 1u; next < p.chunks && p.local < 0; next++) {
    if (kindOf(head, next) == 0) {
      closing = min(closing, i32((next + 1u) * p.C) - 1);
      break;
    }
  }
  var previous = i32(c) - 1;
  while (previous >= 0 && kindOf(head, u32(max(previous, 0))) != 0) { previous--; }
  plan[n] = vec3i(kindOf(head, c), closing, previous);
}`);

/** (type, closing, previous) of every chunk, each in four words. */
export function planTypes(
  device: WgslDevice, types: Memory, BG: number, N: number, options: LifetimeOptions,
): { readonly plan: Memory; readonly chunks: number } {
  const C = options.chunk;
  const chunks = Math.ceil(N / C);
  const length = BG * chunks;
  const plan = device.allocate(4 * length);
  const { local } = limitsOf(options);
  device.run(PLAN, { params: { length, N, chunks, C, local }, inputs: [types], outputs: [plan], groups: flat(length) });
  return { plan, chunks };
}

const PRICE = kernel('memory price', `
// priced[c, type] = dTypes[c, type] + weight times the queries that the tokens of chunk c would be kept for with that type (§7),
// each for at most reach. A thread for each.
struct Params { length: u32, N: u32, chunks: u32, C: u32, window: u32, reach: i32, weight: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dTypes: array<f32>;
@group(0) @binding(2) var<storage, read> plan: array<vec3i>;
@group(0) @binding(3) var<storage, read_write> priced: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let c = n / 3u % p.chunks;
  var end = i32(p.N) - 1;
  if (n % 3u == 1u) { end = plan[n / 3u].y; }
  if (n % 3u == 2u && p.window < p.N) { end = min(end, i32(min((c + 1u) * p.C, p.N) + p.window) - 1); }
  var queries = 0.0;
  for (var j = c * p.C; j < min((c + 1u) * p.C, p.N); j++) { queries += f32(min(end - i32(j), p.reach)); }
  priced[n] = dTypes[n] + p.weight * queries;
}`);

/** dTypes + K times the queries that each token would be kept for, per type: [BG,Nc,3]. */
export function addMemoryPrice(
  device: WgslDevice, dTypes: Memory, types: Memory, BG: number, N: number,
  options: LifetimeOptions & { weight: number },
): Memory {
  const { plan, chunks } = planTypes(device, types, BG, N, options);
  const length = BG * chunks * 3;
  const priced = device.allocate(length);
  device.run(PRICE, {
    params: { length, N, chunks, C: options.chunk, ...limitsOf(options), weight: options.weight },
    inputs: [dTypes, plan], outputs: [priced], groups: flat(length),
  });
  device.free(plan);
  return priced;
}
