/**
 * §4: the kernel that makes the gradient of the queries.
 * @module
 */
import { TILE, type TileConstant } from './attention-tile.ts';
import { type Template, template } from './template.ts';

/** Its constants are those of tileOf(). */
export const DQ: Template<TileConstant> = template('attention dq', `
// dq[i] = sum_j dS[i,j] k[j] with dS = scale A (do . v - D) and A = exp(scale q . k - lse), over the keys that query i sees  (§4).
//
// Work is split as in the forward: a workgroup takes ROWS queries of one head, queues the keys that any of them sees, and
// goes through the queue by tiles of KEYS. LANES threads share a query and its columns. The parts of q . k and do . v go through
// workgroup memory.
struct Params { N: u32, group: u32, d: u32, scale: f32, skipped: u32 } // blocks of ROWS that other dispatches take
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<$ELEMENT>;
@group(0) @binding(2) var<storage, read> k: array<$ELEMENT>;
@group(0) @binding(3) var<storage, read> v: array<$ELEMENT>;
@group(0) @binding(4) var<storage, read> last: array<i32>;
@group(0) @binding(5) var<storage, read> rows: array<vec2f>;
@group(0) @binding(6) var<storage, read> dOut: array<$ELEMENT>;
@group(0) @binding(7) var<storage, read_write> dq: array<f32>;

const ROWS = $ROWSu;
const LANES = $LANESu;
const THREADS = ROWS * LANES;
const KEYS = $KEYSu;
const VECTORS = $VECTORSu;
const OWN = VECTORS / LANES;

var<workgroup> keyTile: array<vec4f, KEYS * VECTORS>;
var<workgroup> valueTile: array<vec4f, KEYS * VECTORS>;
var<workgroup> parts: array<vec2f, ROWS * KEYS * LANES>;
var<workgroup> queue: array<u32, KEYS + THREADS>;
var<workgroup> marks: array<atomic<u32>, (THREADS + 31u) / 32u>;
var<workgroup> found: u32;

$LOADS

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let block = group.x + p.skipped;
  let row = thread / LANES;
  let lane = thread % LANES;
  let keys = group.y / p.group * p.N;           // the first row of the KV head
  let i = block * ROWS + row;
  let present = i < p.N;
  let at = group.y * p.N + min(i, p.N - 1u);
  let oldest = i32(block * ROWS);
  let count = min(p.N, (block + 1u) * ROWS);
  var query: array<vec4f, OWN>;
  var cotangent: array<vec4f, OWN>;
  var sums: array<vec4f, OWN>;
  for (var n = 0u; n < OWN; n++) {
    query[n] = fourOfQuery(at, 4u * (lane + LANES * n));
    cotangent[n] = fourOfCotangent(at, 4u * (lane + LANES * n));
    sums[n] = vec4f();
  }
  let own = rows[at];
  var queued = 0u;
  for (var start = 0u; start < count; start += THREADS) {
    let j = start + thread;
    var live = false;
    if (j < count) { live = last[keys + j] >= max(oldest, i32(j)); }
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
    if (live) { queue[queued + before] = j; }
    if (thread == 0u) { found = queued + all; }
    queued = workgroupUniformLoad(&found);
    let ending = start + THREADS >= count;
    var taken = 0u;
    while (queued - taken >= KEYS || (ending && taken < queued)) {
      let length = min(KEYS, queued - taken);
      for (var n = thread; n < length * VECTORS; n += THREADS) {
        let key = keys + queue[taken + n / VECTORS];
        keyTile[n] = fourOfKey(key, 4u * (n % VECTORS));
        valueTile[n] = fourOfValue(key, 4u * (n % VECTORS));
      }
      workgroupBarrier();
      for (var key = 0u; key < length; key++) {
        var part = vec2f();
        for (var n = 0u; n < OWN; n++) {
          let place = key * VECTORS + lane + LANES * n;
          part += vec2f(dot(query[n], keyTile[place]), dot(cotangent[n], valueTile[place]));
        }
        parts[(row * KEYS + key) * LANES + lane] = part;
      }
      workgroupBarrier();
      for (var key = 0u; key < length; key++) {
        let j = queue[taken + key];
        if (present && j <= i && last[keys + j] >= i32(i)) {
          var both = vec2f();
          for (var n = 0u; n < LANES; n++) { both += parts[(row * KEYS + key) * LANES + n]; }
          let change = p.scale * exp(p.scale * both.x - own.x) * (both.y - own.y);
          for (var n = 0u; n < OWN; n++) { sums[n] += change * keyTile[key * VECTORS + lane + LANES * n]; }
        }
      }
      taken += length;
      workgroupBarrier();
    }
    let left = queued - taken;
    if (thread == 0u) { for (var n = 0u; n < left; n++) { queue[n] = queue[taken + n]; } }
    queued = left;
  }
  if (!present) { return; }
  for (var n = 0u; n < OWN; n++) {
    for (var c = 0u; c < 4u; c++) {
      let column = 4u * (lane + LANES * n) + c;
      if (column < p.d) { dq[at * p.d + column] = sums[n][c]; }
    }
  }
}`, ...TILE);
