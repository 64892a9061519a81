/**
 * The kernels for one query per sequence in core WGSL, for heads of any number and size, and for processors.
 * @module
 */
import type { SlotDtype } from './cache-kernels.ts';
import { type Template, template } from './template.ts';

/** The most parts of a head. */
export const MOST_PARTS = 128;

type PartsConstants = 'THREADS' | 'COLUMNS' | 'ELEMENT' | 'WIDTH' | 'PRODUCT' | 'KEYS' | 'VALUES' | 'KEY' | 'VALUE';

/** The first pass. */
export const PARTS: Template<PartsConstants> = template('decode parts', `
// Of one part of the keys of a query head: the largest score, the sum of the weights exp(score - largest), how many keys are
// visible, and the weighted sum of the values.
//
// A workgroup takes a part: the multiple of THREADS slots that makes at most ${MOST_PARTS} parts of those in use. It goes through
// them THREADS at a time: a thread for each slot finds its score, then a thread for each column adds up the values. Slots that
// the query does not see have weight 0 and are left out, whatever they hold. heads and entries are those of a cache.
struct Params { group: u32, d: u32, parity: u32, parts: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<$ELEMENT>;
@group(0) @binding(2) var<storage, read> keys: array<$KEYS>;
@group(0) @binding(3) var<storage, read> values: array<$VALUES>;
@group(0) @binding(4) var<storage, read> entries: array<vec2i>;
@group(0) @binding(5) var<storage, read> heads: array<u32>;
@group(0) @binding(6) var<storage, read_write> partial: array<f32>;

const THREADS = $THREADSu;
const COLUMNS = $COLUMNSu;             // columns of a thread
const LOWEST = -3.4028234e38;

var<workgroup> lanes: array<f32, THREADS>;
var<workgroup> weights: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = 12u * (group.y / p.group);
  let slots = heads[head];
  let used = heads[head + 2u + p.parity];
  let i = i32(heads[head + 8u]);
  let size = THREADS * max(1u, (used + THREADS * ${MOST_PARTS}u - 1u) / (THREADS * ${MOST_PARTS}u));
  let end = min((group.x + 1u) * size, used);
  let width = p.d / $WIDTHu;           // elements of a row
  var sums: array<f32, COLUMNS>;
  var most = LOWEST;
  var total = 0.0;
  var seen = 0.0;
  for (var start = group.x * size; start < end; start += THREADS) {
    var score = LOWEST;
    var visible = false;
    if (start + thread < end) {
      let slot = slots + start + thread;
      visible = entries[slot].x <= i && i <= entries[slot].y;
      if (visible) {
        score = 0.0;
        for (var e = 0u; e < width; e++) { score += product(q[group.y * width + e], keyAt(slot, e)); }
        score *= p.scale;
      }
    }
    lanes[thread] = score;
    workgroupBarrier();
    var top = most;
    for (var n = 0u; n < THREADS; n++) { top = max(top, lanes[n]); }
    weights[thread] = select(0.0, exp(score - top), visible);
    let shrink = exp(most - top);
    most = top;
    total *= shrink;
    for (var n = 0u; n < COLUMNS; n++) { sums[n] *= shrink; }
    workgroupBarrier();
    for (var key = 0u; key < min(THREADS, end - start); key++) {
      let weight = weights[key];
      if (weight != 0.0) {
        total += weight;
        for (var n = 0u; n < COLUMNS; n++) {
          let column = thread + THREADS * n;
          if (column < p.d) { sums[n] += weight * valueAt(slots + start + key, column); }
        }
      }
      seen += f32(u32(lanes[key] != LOWEST));
    }
    workgroupBarrier();
  }
  let at = (group.y * p.parts + group.x) * (p.d + 3u);
  for (var n = 0u; n < COLUMNS; n++) {
    let column = thread + THREADS * n;
    if (column < p.d) { partial[at + 3u + column] = sums[n]; }
  }
  if (thread == 0u) {
    partial[at] = most;
    partial[at + 1u] = total;
    partial[at + 2u] = seen;
  }
}
fn product(a: $ELEMENT, b: $ELEMENT) -> f32 { return $PRODUCT; }
fn keyAt(slot: u32, e: u32) -> $ELEMENT { $KEY }
fn valueAt(slot: u32, column: u32) -> f32 { $VALUE }`, 'THREADS', 'COLUMNS', 'ELEMENT', 'WIDTH', 'PRODUCT', 'KEYS', 'VALUES', 'KEY', 'VALUE');

/** How the kernel reads element e of a key, which has four numbers or one, and a number of a value. */
export function reading(stored: SlotDtype, four: boolean): Readonly<Record<'KEYS' | 'VALUES' | 'KEY' | 'VALUE', string>> {
  const whole = 'slot * (p.d / $WIDTHu) + e';
  if (stored === 'f32') {
    return {
      KEYS: '$ELEMENT', KEY: `return keys[${whole}];`, VALUES: 'f32', VALUE: 'return values[slot * p.d + column];',
    };
  }
  const half = (array: string, column: string): string => `return unpack2x16float(${array}[slot * ((p.d + 1u) / 2u) + ${column} / 2u])[${column} % 2u];`;
  return {
    KEYS: four ? 'vec2u' : 'u32', VALUES: 'u32', VALUE: half('values', 'column'),
    KEY: four ? `let raw = keys[${whole}]; return vec4f(unpack2x16float(raw.x), unpack2x16float(raw.y));` : half('keys', 'e'),
  };
}

/** The second pass. */
export const MERGE: Template<'THREADS'> = template('decode merge', `
// out[z] of a query head from its parts: the sums of each count exp(its largest score - the largest of all). A workgroup for
// each query head. The first one of a KV head adds the keys that the query saw to the head's peakLive and visiblePairs. A
// sequence that takes no token has no query, and out is 0.
struct Params { group: u32, d: u32, parity: u32, parts: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> heads: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const THREADS = $THREADSu;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let z = group.x;
  let head = 12u * (z / p.group);
  let used = heads[head + 2u + p.parity];
  let size = THREADS * max(1u, (used + THREADS * ${MOST_PARTS}u - 1u) / (THREADS * ${MOST_PARTS}u));
  let parts = select(0u, (used + size - 1u) / size, heads[head + 9u] > 0u);
  let start = z * p.parts * (p.d + 3u);
  var top = -3.4028234e38;
  for (var part = 0u; part < parts; part++) { top = max(top, partial[start + part * (p.d + 3u)]); }
  var total = 0.0;
  var seen = 0.0;
  for (var part = 0u; part < parts; part++) {
    let at = start + part * (p.d + 3u);
    total += exp(partial[at] - top) * partial[at + 1u];
    seen += partial[at + 2u];
  }
  for (var column = thread; column < p.d; column += THREADS) {
    var sum = 0.0;
    for (var part = 0u; part < parts; part++) {
      let at = start + part * (p.d + 3u);
      sum += exp(partial[at] - top) * partial[at + 3u + column];
    }
    out[z * p.d + column] = select(0.0, sum / total, parts > 0u);
  }
  if (thread > 0u || z % p.group > 0u || parts == 0u) { return; }
  heads[head + 4u] = max(heads[head + 4u], u32(seen));
  let low = heads[head + 5u] + u32(seen);
  heads[head + 6u] += u32(low < u32(seen));
  heads[head + 5u] = low;
}`, 'THREADS');
