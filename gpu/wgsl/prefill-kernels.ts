/**
 * What comes before and after attention of many queries by lists of keys (fast/prefill-lists.ts): keys, values and
 * lifetimes laid out head by head, and a count of what the queries saw.
 * @module
 */
import { type Kernel, kernel, type Template, template } from './template.ts';

export const GATHER: Template<'ELEMENT' | 'TO' | 'NARROW' | 'NAME' | 'FROM' | 'WIDE'> = template('prefill keys', `
// The slots of a cache, head by head: keys and values [heads,keys,width] as $NAME, and until[head,s], the last query that sees
// slot s. Queries are numbered like slots: the first one is starts[head], the slot of the step's first token.
// A thread for each piece of a row. Slots that are not in use are left as they are, and no query sees them.
struct Params { length: u32, keys: u32, width: u32, parity: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> heads: array<u32>;
@group(0) @binding(2) var<storage, read> entries: array<vec2i>;
@group(0) @binding(3) var<storage, read> k: array<$FROM>;
@group(0) @binding(4) var<storage, read> v: array<$FROM>;
@group(0) @binding(5) var<storage, read_write> keys: array<$TO>;
@group(0) @binding(6) var<storage, read_write> values: array<$TO>;
@group(0) @binding(7) var<storage, read_write> until: array<u32>;
@group(0) @binding(8) var<storage, read_write> starts: array<u32>;

fn wide(x: $FROM) -> $ELEMENT { return $WIDE; }
fn narrow(x: $ELEMENT) -> $TO { return $NARROW; }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let c = n % p.width;
  let row = n / p.width;
  let s = row % p.keys;
  let head = row / p.keys;
  let used = heads[12u * head + 2u + p.parity];
  let before = used - heads[12u * head + 9u];
  let slot = heads[12u * head] + min(s, max(used, 1u) - 1u);
  if (s < used) {
    keys[n] = narrow(wide(k[slot * p.width + c]));
    values[n] = narrow(wide(v[slot * p.width + c]));
  }
  if (c > 0u) { return; }
  let end = entries[slot].y - i32(heads[12u * head + 8u]) + i32(before);
  until[row] = select(0u, u32(max(end, 0)), s < used);
  if (s == 0u) { starts[head] = before; }
}`, 'ELEMENT', 'TO', 'NARROW', 'NAME', 'FROM', 'WIDE');

export const NARROWED: Kernel = kernel('prefill halves', `
// y = x as float16, two numbers to a word and the first in its low half: a thread for each four.
struct Params { length: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2u>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n < p.length) { y[n] = vec2u(pack2x16float(x[n].xy), pack2x16float(x[n].zw)); }
}`);

export const ENDS: Kernel = kernel('prefill lifetimes', `
// until = last, where numbers below 0, which hide a key from everyone, become 0; starts = 0. A thread for each key.
struct Params { length: u32, heads: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> last: array<i32>;
@group(0) @binding(2) var<storage, read_write> until: array<u32>;
@group(0) @binding(3) var<storage, read_write> starts: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n < p.length) { until[n] = u32(max(last[n], 0)); }
  if (n < p.heads) { starts[n] = 0u; }
}`);

export const COUNT: Kernel = kernel('prefill tally', `
// Adds to peakLive and visiblePairs of each head of a cache what its queries saw: a workgroup for each head. changes[head,t] is
// by how much query t sees more keys than the one before; sums of these are the counts.
struct Params { T: u32, keys: u32, parity: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> until: array<u32>;
@group(0) @binding(2) var<storage, read_write> changes: array<atomic<i32>>;
@group(0) @binding(3) var<storage, read_write> heads: array<u32>;

var<workgroup> first: atomic<i32>;
var<workgroup> sums: array<i32, 256>;
var<workgroup> peaks: array<i32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = 12u * group.x;
  let used = heads[head + 2u + p.parity];
  let start = used - heads[head + 9u];
  let base = group.x * p.T;
  for (var t = thread; t < p.T; t += 256u) { atomicStore(&changes[base + t], 0); }
  storageBarrier();
  workgroupBarrier();
  var oldest = 0;                           // keys that query 0 sees, most of all: counted apart
  for (var s = thread; s < used; s += 256u) {
    let end = until[group.x * p.keys + s];
    let begins = max(s, start);
    if (end >= begins) {
      if (begins == start) { oldest++; } else { atomicAdd(&changes[base + begins - start], 1); }
      if (end + 1u - start < p.T) { atomicSub(&changes[base + end + 1u - start], 1); }
    }
  }
  atomicAdd(&first, oldest);
  storageBarrier();
  workgroupBarrier();
  let each = (p.T + 255u) / 256u;           // queries of a thread, one after the other
  let begin = min(thread * each, p.T);
  let stop = min(begin + each, p.T);
  var sum = 0;
  for (var t = begin; t < stop; t++) { sum += atomicLoad(&changes[base + t]); }
  sums[thread] = sum;
  workgroupBarrier();
  var seen = atomicLoad(&first);
  for (var n = 0u; n < thread; n++) { seen += sums[n]; }
  var peak = 0;
  var pairs = 0;
  for (var t = begin; t < stop; t++) {
    seen += atomicLoad(&changes[base + t]);
    peak = max(peak, seen);
    pairs += seen;
  }
  workgroupBarrier();
  sums[thread] = pairs;
  peaks[thread] = peak;
  workgroupBarrier();
  if (thread > 0u) { return; }
  var low = heads[head + 5u];
  for (var n = 0u; n < 256u; n++) {
    heads[head + 4u] = max(heads[head + 4u], u32(peaks[n]));
    let next = low + u32(sums[n]);
    heads[head + 6u] += u32(next < low);
    low = next;
  }
  heads[head + 5u] = low;
}`);
