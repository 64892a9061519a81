/**
 * §4: the kernel that makes the gradients of the keys and values.
 * @module
 */
import { TILE, type TileConstant } from './attention-tile.ts';
import { type Template, template } from './template.ts';

/** Its constants are those of tileOf(). */
export const DKV: Template<TileConstant> = template('attention dk, dv', `
// dk[j] = sum_i dS[i,j] q[i] and dv[j] = sum_i A[i,j] do[i], over the queries i of all heads of the group that see key j  (§4).
//
// A workgroup takes ROWS keys of one KV head. Queries come by tiles of QUERIES, from the first key up to the last query that
// sees any of the keys. LANES threads share a key and its columns, as the forward's do a query.
struct Params { N: u32, group: u32, d: u32, scale: f32, skipped: u32 } // blocks of ROWS that other dispatches take
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<$ELEMENT>;
@group(0) @binding(2) var<storage, read> k: array<$ELEMENT>;
@group(0) @binding(3) var<storage, read> v: array<$ELEMENT>;
@group(0) @binding(4) var<storage, read> last: array<i32>;
@group(0) @binding(5) var<storage, read> rows: array<vec2f>;
@group(0) @binding(6) var<storage, read> dOut: array<$ELEMENT>;
@group(0) @binding(7) var<storage, read_write> dk: array<f32>;
@group(0) @binding(8) var<storage, read_write> dv: array<f32>;

const ROWS = $ROWSu;
const LANES = $LANESu;
const THREADS = ROWS * LANES;
const QUERIES = $KEYSu;
const VECTORS = $VECTORSu;
const OWN = VECTORS / LANES;

var<workgroup> queryTile: array<vec4f, QUERIES * VECTORS>;
var<workgroup> cotangentTile: array<vec4f, QUERIES * VECTORS>;
var<workgroup> parts: array<vec2f, ROWS * QUERIES * LANES>;
var<workgroup> rowTile: array<vec2f, QUERIES>;
var<workgroup> ends: atomic<i32>;
var<workgroup> end: i32;

$LOADS

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let block = group.x + p.skipped;
  let row = thread / LANES;
  let lane = thread % LANES;
  let j = block * ROWS + row;
  let present = j < p.N;
  let at = group.y * p.N + min(j, p.N - 1u);
  let until = select(-1, last[at], present);
  if (lane == 0u) { atomicMax(&ends, min(until, i32(p.N) - 1)); }
  workgroupBarrier();
  if (thread == 0u) { end = atomicLoad(&ends); }
  let queries = workgroupUniformLoad(&end) + 1;
  var key: array<vec4f, OWN>;
  var value: array<vec4f, OWN>;
  var keySums: array<vec4f, OWN>;
  var valueSums: array<vec4f, OWN>;
  for (var n = 0u; n < OWN; n++) {
    key[n] = fourOfKey(at, 4u * (lane + LANES * n));
    value[n] = fourOfValue(at, 4u * (lane + LANES * n));
    keySums[n] = vec4f();
    valueSums[n] = vec4f();
  }
  for (var h = 0u; h < p.group; h++) {
    let head = (group.y * p.group + h) * p.N;
    for (var start = i32(block * ROWS); start < queries; start += i32(QUERIES)) {
      let length = u32(min(i32(QUERIES), queries - start));
      for (var n = thread; n < length * VECTORS; n += THREADS) {
        let i = head + u32(start) + n / VECTORS;
        queryTile[n] = fourOfQuery(i, 4u * (n % VECTORS));
        cotangentTile[n] = fourOfCotangent(i, 4u * (n % VECTORS));
      }
      for (var t = thread; t < length; t += THREADS) { rowTile[t] = rows[head + u32(start) + t]; }
      workgroupBarrier();
      for (var t = 0u; t < length; t++) {
        var part = vec2f();
        for (var n = 0u; n < OWN; n++) {
          let place = t * VECTORS + lane + LANES * n;
          part += vec2f(dot(key[n], queryTile[place]), dot(value[n], cotangentTile[place]));
        }
        parts[(row * QUERIES + t) * LANES + lane] = part;
      }
      workgroupBarrier();
      for (var t = 0u; t < length; t++) {
        let i = start + i32(t);
        if (i >= i32(j) && i <= until) {
          var both = vec2f();
          for (var n = 0u; n < LANES; n++) { both += parts[(row * QUERIES + t) * LANES + n]; }
          let weight = exp(p.scale * both.x - rowTile[t].x);
          let change = p.scale * weight * (both.y - rowTile[t].y);
          for (var n = 0u; n < OWN; n++) {
            let place = t * VECTORS + lane + LANES * n;
            keySums[n] += change * queryTile[place];
            valueSums[n] += weight * cotangentTile[place];
          }
        }
      }
      workgroupBarrier();
    }
  }
  if (!present) { return; }
  for (var n = 0u; n < OWN; n++) {
    for (var c = 0u; c < 4u; c++) {
      let column = 4u * (lane + LANES * n) + c;
      if (column < p.d) {
        dk[at * p.d + column] = keySums[n][c];
        dv[at * p.d + column] = valueSums[n][c];
      }
    }
  }
}`, ...TILE);
