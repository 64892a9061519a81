/**
 * §3: masked attention by online softmax, over the keys that a tile of queries can see.
 * @module
 */
import type { AttentionSizes } from '../../src/core/sizes.ts';
import { blocks, TILE, type TileConstant, tileOf } from './attention-tile.ts';
import type { Slots } from './cache-store.ts';
import type { Memory, WgslDevice } from './device.ts';
import { hasPrefill, prefill } from './prefill.ts';
import { type Template, template } from './template.ts';

export const ATTEND: Template<TileConstant | 'HELD'> = template('attention', `
// out[i] = sum_j A[i,j] v[j] over the keys j that query i sees, and lse[i] = log sum_j exp(scale q[i] . k[j])  (§3).
//
// A workgroup takes ROWS queries of one query head. It looks through the keys, THREADS at a time, and queues those that any
// of its queries sees; KEYS queued keys make a tile. LANES threads share a query: each holds every LANES-th group of four
// columns of q and of the output, and computes that part of the scores, which go through workgroup memory. A row keeps
// the largest score so far, and rescales its sums when that grows.
//
// Keys that a row does not see never enter its sums: their scores are replaced, and values of weight 0 are left out, so that
// NaN and Infinity in them have no effect.
//
// Without a cache, key j of KV head g is row g N + j of k and v, and entries[g N + j] is the last query that sees it. In a
// cache, head g has slots from heads[12 g] on, heads[12 g + 2 + parity] of them; entries holds (position, last) of each, and
// queries 0 .. heads[12 g + 9] - 1 follow position heads[12 g + 8] - 1. Then stats[g N + i] counts the keys that query i sees.
struct Params { N: u32, group: u32, d: u32, cached: u32, parity: u32, scale: f32, skipped: u32 } // blocks of ROWS that other dispatches take
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<$ELEMENT>;
@group(0) @binding(2) var<storage, read> k: array<$HELD>;
@group(0) @binding(3) var<storage, read> v: array<$HELD>;
@group(0) @binding(4) var<storage, read> entries: array<i32>;
@group(0) @binding(5) var<storage, read> heads: array<u32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<storage, read_write> stats: array<u32>;

const ROWS = $ROWSu;
const LANES = $LANESu;
const THREADS = ROWS * LANES;
const KEYS = $KEYSu;
const VECTORS = $VECTORSu;        // groups of four columns: d / 4, rounded up
const OWN = VECTORS / LANES;      // of which a thread holds these
const LOWEST = -3.4028234e38;

var<workgroup> tile: array<vec4f, KEYS * VECTORS>;        // the keys of a tile, then their values
var<workgroup> parts: array<f32, ROWS * KEYS * LANES>;    // of scores
var<workgroup> scores: array<f32, ROWS * KEYS>;
var<workgroup> queue: array<u32, KEYS + THREADS>;
var<workgroup> spans: array<vec2i, KEYS>;                 // (position, last) of the tile's keys
var<workgroup> marks: array<atomic<u32>, (THREADS + 31u) / 32u>;
var<workgroup> found: u32;

fn spanOf(slot: u32) -> vec2i {
  if (p.cached == 1u) { return vec2i(entries[2u * slot], entries[2u * slot + 1u]); }
  return vec2i(i32(slot % p.N), entries[slot]);
}
$LOADS

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let block = group.x + p.skipped;
  let row = thread / LANES;
  let lane = thread % LANES;
  let head = group.y / p.group;
  let t = block * ROWS + row;                 // the row of this thread, and its query
  var slots = head * p.N;
  var count = min(p.N, (block + 1u) * ROWS);
  var first = 0;
  var queries = p.N;
  if (p.cached == 1u) {
    slots = heads[12u * head];
    count = heads[12u * head + 2u + p.parity];
    first = i32(heads[12u * head + 8u]);
    queries = heads[12u * head + 9u];
  }
  let present = t < queries;
  let i = select(-1, first + i32(t), present);
  let oldest = first + i32(block * ROWS);     // of the workgroup's queries
  let newest = first + i32(min((block + 1u) * ROWS, queries)) - 1;
  var own: array<vec4f, OWN>;
  var sums: array<vec4f, OWN>;
  for (var n = 0u; n < OWN; n++) {
    own[n] = vec4f();
    sums[n] = vec4f();
    if (present) { own[n] = fourOfQuery(group.y * p.N + t, 4u * (lane + LANES * n)); }
  }
  var most = LOWEST;
  var total = 0.0;
  var seen = 0u;
  var queued = 0u;
  for (var start = 0u; start < count; start += THREADS) {
    // Queue the keys of this block that some query sees.
    let slot = slots + start + thread;
    var live = false;
    if (start + thread < count) {
      let span = spanOf(slot);
      live = span.x <= newest && span.y >= oldest && span.y >= span.x;
    }
    if (thread < (THREADS + 31u) / 32u) { atomicStore(&marks[thread], 0u); }
    workgroupBarrier();
    if (live) { atomicOr(&marks[thread / 32u], 1u << (thread % 32u)); }
    workgroupBarrier();
    var before = 0u;
    var all = 0u;
    for (var word = 0u; word < (THREADS + 31u) / 32u; word++) {
      let marked = atomicLoad(&marks[word]);
      all += countOneBits(marked);
      if (word < thread / 32u) { before += countOneBits(marked); }
      if (word == thread / 32u) { before += countOneBits(marked & ((1u << (thread % 32u)) - 1u)); }
    }
    if (live) { queue[queued + before] = slot; }
    if (thread == 0u) { found = queued + all; }
    queued = workgroupUniformLoad(&found);
    let ending = start + THREADS >= count;
    var taken = 0u;                             // keys of the queue that tiles have had
    while (queued - taken >= KEYS || (ending && taken < queued)) {
      let keys = min(KEYS, queued - taken);
      for (var n = thread; n < keys * VECTORS; n += THREADS) {
        tile[n] = fourOfKey(queue[taken + n / VECTORS], 4u * (n % VECTORS));
      }
      for (var key = thread; key < keys; key += THREADS) { spans[key] = spanOf(queue[taken + key]); }
      workgroupBarrier();
      for (var key = 0u; key < keys; key++) {
        var part = 0.0;
        for (var n = 0u; n < OWN; n++) { part += dot(own[n], tile[key * VECTORS + lane + LANES * n]); }
        parts[(row * KEYS + key) * LANES + lane] = part;
      }
      workgroupBarrier();
      for (var key = lane; key < keys; key += LANES) {
        var score = 0.0;
        for (var n = 0u; n < LANES; n++) { score += parts[(row * KEYS + key) * LANES + n]; }
        scores[row * KEYS + key] = score * p.scale;
      }
      for (var n = thread; n < keys * VECTORS; n += THREADS) {
        tile[n] = fourOfValue(queue[taken + n / VECTORS], 4u * (n % VECTORS));
      }
      workgroupBarrier();
      var top = most;
      for (var key = 0u; key < keys; key++) {
        let visible = spans[key].x <= i && i <= spans[key].y;
        top = select(top, max(top, scores[row * KEYS + key]), visible);
        seen += u32(visible);
      }
      let shrink = exp(most - top);
      most = top;
      total *= shrink;
      for (var n = 0u; n < OWN; n++) { sums[n] *= shrink; }
      for (var key = 0u; key < keys; key++) {
        if (spans[key].x <= i && i <= spans[key].y) {
          let weight = exp(scores[row * KEYS + key] - most);
          total += weight;
          for (var n = 0u; n < OWN; n++) { sums[n] += weight * tile[key * VECTORS + lane + LANES * n]; }
        }
      }
      taken += keys;
      workgroupBarrier();
    }
    // What is left moves to the front.
    let left = queued - taken;
    if (thread == 0u) { for (var n = 0u; n < left; n++) { queue[n] = queue[taken + n]; } }
    queued = left;
  }
  if (t >= p.N) { return; }
  for (var n = 0u; n < OWN; n++) {
    for (var c = 0u; c < 4u; c++) {
      let column = 4u * (lane + LANES * n) + c;
      if (column < p.d) { out[(group.y * p.N + t) * p.d + column] = select(0.0, sums[n][c] / total, present); }
    }
  }
  if (lane > 0u) { return; }
  if (p.cached == 0u) {
    stats[group.y * p.N + t] = bitcast<u32>(most + log(total));
  } else if (group.y % p.group == 0u) {
    stats[head * p.N + t] = seen;
  }
}`, ...TILE, 'HELD');

/** The keys and values that a call reads, of all heads, and what it needs to know of them. */
export interface Keys {
  readonly k: Memory;
  readonly v: Memory;
  /** last [B,G,N], or (position, last) of every slot of a cache. */
  readonly entries: Memory;
  /** The heads of a cache, which of their two counts holds, and at least the slots of every head. */
  readonly cache?: Pick<Slots, 'heads' | 'parity' | 'stored'> & { readonly most: number };
}

/**
 * Attention of q [B,H,N,d]: out [B,H,N,d], and lse [B,H,N] or, in a cache, the number of keys that each query sees
 * [B,G,N].
 */
export function attend(
  device: WgslDevice, q: Memory, keys: Keys, { B, H, G, N, d }: AttentionSizes, scale: number,
): [out: Memory, stats: Memory] {
  const { k, v, entries, cache } = keys;
  const sizes = { B, H, G, N, d };
  if (!cache && hasPrefill(device, sizes, N)) return prefill(device, q, k, v, entries, sizes, scale);
  const [out, stats] = [device.allocate(B * H * N * d), device.allocate(B * (cache ? G : H) * N)];
  const tile = tileOf(device, d, 1, cache?.stored);
  const pairs = B * H * N * (cache ? cache.most : N);
  for (const { skipped, groups, work } of blocks(device, Math.ceil(N / tile.ROWS), B * H, pairs * d * 4)) {
    device.run(ATTEND(tile), {
      params: { N, group: H / G, d, cached: cache ? 1 : 0, parity: cache?.parity ?? 0, scale, skipped },
      inputs: [q, k, v, entries, cache?.heads ?? entries], outputs: [out, stats], groups, work,
    });
  }
  return [out, stats];
}
