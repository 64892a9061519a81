/**
 * §5: the gradient of the token types through attention, over all causal pairs, hidden ones included, a tile of query
 * rows at a time.
 * @module
 */
import { FOREVER } from '../../src/core/lifetime.ts';
import type { AttentionSizes } from '../../src/core/sizes.ts';
import { attend } from './attention.ts';
import { TILE, tileOf } from './attention-tile.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import { planTypes } from './mask.ts';
import { kernel, template } from './template.ts';

/** What the gradient of the types depends on. */
export interface TypeGradientOptions {
  readonly types: Memory;
  readonly bounded: boolean;
  readonly window: number;
  readonly chunk: number;
  readonly reach?: number;
}

const CAUSAL_ENDS = kernel('causal ends', `
// last[head, j] = j + reach: what the last query would be if no type ended a lifetime. A thread for each.
struct Params { length: u32, N: u32, reach: i32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> last: array<i32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n < p.length) { last[n] = i32(n % p.N) + p.reach; }
}`);

const MASK_GRADIENT = template('mask gradient', `
// dM[j, r] = sum over the heads of a group of exp(scale q[i] . k[j] - shift[i]) (do[i] . v[j] - D[i]) with i = first + r, for
// j <= i <= j + reach, else 0  (§4).
//
// A workgroup takes ROWS queries and KEYS keys of one KV head, and goes through the heads of the group. LANES threads share a
// query and its columns, and each keeps the sums of every LANES-th key.
struct Params { N: u32, group: u32, d: u32, first: u32, rows: u32, keys: u32, reach: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<$ELEMENT>;
@group(0) @binding(2) var<storage, read> k: array<$ELEMENT>;
@group(0) @binding(3) var<storage, read> v: array<$ELEMENT>;
@group(0) @binding(4) var<storage, read> dOut: array<$ELEMENT>;
@group(0) @binding(5) var<storage, read> rows: array<vec2f>;
@group(0) @binding(6) var<storage, read> shift: array<f32>;
@group(0) @binding(7) var<storage, read_write> dM: array<f32>;

const ROWS = $ROWSu;
const LANES = $LANESu;
const THREADS = ROWS * LANES;
const KEYS = $KEYSu;
const VECTORS = $VECTORSu;
const OWN = VECTORS / LANES;
const SUMS = (KEYS + LANES - 1u) / LANES;

var<workgroup> keyTile: array<vec4f, KEYS * VECTORS>;
var<workgroup> valueTile: array<vec4f, KEYS * VECTORS>;
var<workgroup> parts: array<vec2f, ROWS * KEYS * LANES>;

$LOADS

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = thread / LANES;
  let lane = thread % LANES;
  let r = group.y * ROWS + row;
  let i = p.first + r;
  let firstKey = group.x * KEYS;
  let length = min(KEYS, p.keys - firstKey);
  for (var n = thread; n < length * VECTORS; n += THREADS) {
    let key = group.z * p.N + firstKey + n / VECTORS;
    keyTile[n] = fourOfKey(key, 4u * (n % VECTORS));
    valueTile[n] = fourOfValue(key, 4u * (n % VECTORS));
  }
  workgroupBarrier();
  var sums: array<f32, SUMS>;
  for (var h = 0u; h < p.group; h++) {
    let at = (group.z * p.group + h) * p.N + min(i, p.N - 1u);
    for (var key = 0u; key < length; key++) {
      var part = vec2f();
      for (var n = 0u; n < OWN; n++) {
        let place = key * VECTORS + lane + LANES * n;
        let column = 4u * (lane + LANES * n);
        part += vec2f(dot(fourOfQuery(at, column), keyTile[place]), dot(fourOfCotangent(at, column), valueTile[place]));
      }
      parts[(row * KEYS + key) * LANES + lane] = part;
    }
    workgroupBarrier();
    for (var s = 0u; s < SUMS; s++) {
      let key = lane + LANES * s;
      let j = firstKey + key;
      if (key < length && j <= i && i - j <= p.reach) {
        var both = vec2f();
        for (var n = 0u; n < LANES; n++) { both += parts[(row * KEYS + key) * LANES + n]; }
        sums[s] += exp(p.scale * both.x - shift[at]) * (both.y - rows[at].y);
      }
    }
    workgroupBarrier();
  }
  if (r >= p.rows) { return; }
  for (var s = 0u; s < SUMS; s++) {
    let key = lane + LANES * s;
    if (key < length) { dM[(group.z * p.keys + firstKey + key) * p.rows + r] = sums[s]; }
  }
}`, ...TILE);

const CHUNK_SUMS = kernel('chunk sums', `
// x[head, c, r] = the sum of dM[head, j, r] over the tokens j of chunk c, a thread for each.
struct Params { length: u32, rows: u32, keys: u32, seen: u32, C: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dM: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let r = n % p.rows;
  let c = n / p.rows % p.seen;
  let head = n / (p.rows * p.seen);
  var sum = 0.0;
  for (var j = c * p.C; j < min((c + 1u) * p.C, p.keys); j++) { sum += dM[(head * p.keys + j) * p.rows + r]; }
  x[n] = sum;
}`);

const HIDDEN = kernel('hidden by a GLOBAL', `
// hidden[head, c, r]: what making chunk c GLOBAL would hide from row r, which is x summed over the LOCAL chunks since the last
// GLOBAL before c, if c lies strictly before the chunk of query i = first + r and i <= closing[c]; else 0  (§5).
// A thread for each row of every head, which goes through the chunks.
struct Params { length: u32, rows: u32, seen: u32, chunks: u32, first: u32, C: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> plan: array<vec3i>;
@group(0) @binding(3) var<storage, read_write> hidden: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let r = n % p.rows;
  let head = n / p.rows;
  let i = p.first + r;
  var open = 0.0;
  for (var c = 0u; c < p.seen; c++) {
    let chunk = plan[head * p.chunks + c];
    let at = (head * p.seen + c) * p.rows + r;
    hidden[at] = select(0.0, open, c < i / p.C && i32(i) <= chunk.y);
    if (chunk.x == 0) { open = 0.0; }
    if (chunk.x == 1) { open += x[at]; }
  }
}`);

const GATHER = template('type gradient', `
// Adds what the rows of a tile contribute to (dg, dl, dw) of chunk c: the sums of x - hidden over all rows, of x over those up to
// closing[c], and of x over those up to the chunk's last token + window  (§5). A workgroup for each chunk of a head.
struct Params { rows: u32, seen: u32, chunks: u32, first: u32, C: u32, window: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> hidden: array<f32>;
@group(0) @binding(3) var<storage, read> plan: array<vec3i>;
@group(0) @binding(4) var<storage, read_write> dTypes: array<f32>;

var<workgroup> lanes: array<vec3f, $LANES>;

@compute @workgroup_size($LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x;
  let closing = plan[group.y * p.chunks + c].y;
  let start = (group.y * p.seen + c) * p.rows;
  var sum = vec3f();
  for (var r = lane; r < p.rows; r += $LANESu) {
    let i = p.first + r;
    let value = x[start + r];
    sum += vec3f(
      value - hidden[start + r],
      select(0.0, value, i32(i) <= closing),
      select(0.0, value, i < (c + 1u) * p.C || i - (c + 1u) * p.C < p.window),
    );
  }
  lanes[lane] = sum;
  workgroupBarrier();
  for (var half = $LANESu / 2u; half > 0u; half /= 2u) {
    if (lane < half) { lanes[lane] += lanes[lane + half]; }
    workgroupBarrier();
  }
  if (lane < 3u) { dTypes[(group.y * p.chunks + c) * 3u + lane] += lanes[0][lane]; }
}`, 'LANES');

/** The gradient [B,G,Nc,3]. rows holds (lse, D) of every query of all heads. */
export function typeGradient(
  device: WgslDevice, inputs: { q: Memory; k: Memory; v: Memory; dOut: Memory; rows: Memory }, sizes: AttentionSizes,
  scale: number, { types, bounded, window, chunk: C, reach = FOREVER }: TypeGradientOptions, lse: Memory,
): Memory {
  const { B, H, G, N, d } = sizes;
  const { q, k, v, dOut, rows: perRow } = inputs;
  const BG = B * G;
  const within = Math.min(reach, N); // no key is N queries old
  const shift = bounded ? causalLse(device, inputs, sizes, scale, within) : device.share(lse);
  const { plan, chunks } = planTypes(device, types, BG, N, C);
  const dTypes = device.upload(new Float32Array(BG * chunks * 3));
  const tile = tileOf(device, d, 2);
  const fits = Math.min(device.tileElements, device.maxBytes / 4) / (BG * N);
  const most = Math.max(16, Math.floor(fits / 16) * 16);
  for (let first = 0; first < N; first += most) {
    const rows = Math.min(most, N - first);
    const keys = first + rows;
    const seen = Math.ceil(keys / C);
    const dM = device.allocate(BG * keys * rows);
    device.run(MASK_GRADIENT(tile), {
      params: { N, group: H / G, d, first, rows, keys, reach: within, scale },
      inputs: [q, k, v, dOut, perRow, shift], outputs: [dM],
      groups: [Math.ceil(keys / tile.KEYS), Math.ceil(rows / tile.ROWS), BG], work: B * H * rows * keys * d * 4,
    });
    const length = BG * seen * rows;
    const x = C === 1 ? device.share(dM) : device.allocate(length);
    if (C > 1) {
      device.run(CHUNK_SUMS, {
        params: { length, rows, keys, seen, C }, inputs: [dM], outputs: [x], groups: flat(length),
        work: BG * keys * rows,
      });
    }
    const hidden = device.allocate(length);
    device.run(HIDDEN, {
      params: { length: BG * rows, rows, seen, chunks, first, C }, inputs: [x, plan], outputs: [hidden],
      groups: flat(BG * rows), work: length * 8,
    });
    device.run(GATHER({ LANES: device.width }), {
      params: { rows, seen, chunks, first, C, window: Math.min(window, FOREVER) }, inputs: [x, hidden, plan],
      outputs: [dTypes], groups: [seen, BG], work: length * 8,
    });
    for (const memory of [dM, x, hidden]) device.free(memory);
  }
  device.free(shift);
  device.free(plan);
  return dTypes;
}

/** The log-sum-exp of every query over all keys j <= i <= j + reach, visible or not: [B,H,N]. */
function causalLse(
  device: WgslDevice, { q, k, v }: { q: Memory; k: Memory; v: Memory }, sizes: AttentionSizes, scale: number,
  reach: number,
): Memory {
  const { B, G, N } = sizes;
  const length = B * G * N;
  const last = device.allocate(length);
  device.run(CAUSAL_ENDS, { params: { length, N, reach }, inputs: [], outputs: [last], groups: flat(length) });
  const [out, lse] = attend(device, q, { k, v, entries: last }, sizes, scale);
  device.free(out);
  device.free(last);
  return lse;
}
