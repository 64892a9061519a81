/**
 * §8, step 2 for one query per sequence: its keys in parts, side by side, which a second kernel puts together.
 * @module
 */
import type { AttentionSizes } from '../../src/core/sizes.ts';
import type { Memory, WgslDevice } from './device.ts';
import type { Slots } from './cache-store.ts';
import type { CacheOptions } from '../../src/core/cache.ts';
import type { SlotDtype } from './cache-kernels.ts';
import {
  areFew, decodeAttention, decodeAttentionSubgroups, decodeMerge, decodeParts, type DecodeSizes, decodeStep,
  type FastKernel, hasDecodeSubgroups,
} from './fast/index.ts';
import { template } from './template.ts';

/** The most KV heads of a cache whose number is a constant of a kernel. */
const MOST_HEADS = 64;
/** The most parts of a head. */
const MOST_PARTS = 128;

const PARTS = template('decode parts', `
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

const MERGE = template('decode merge', `
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

type Passes = Readonly<Record<'first' | 'merge', FastKernel<DecodeSizes>>>;
/** Kernels by what their text depends on: to write it takes longer than to run it. */
const written = new Map<string, Passes>();

function passes(
  heads: number, group: number, d: number, stored: SlotDtype, bySubgroups: boolean, fresh: boolean, few: boolean,
): Passes {
  const key = `${heads} ${group} ${d} ${stored} ${bySubgroups} ${fresh} ${few}`;
  let both = written.get(key);
  if (!both) {
    const options = { heads, group, d, stored, layout: { slots: true, fresh }, few } as const;
    both = {
      first: bySubgroups ? decodeAttentionSubgroups(options) : decodeAttention(options),
      merge: decodeMerge(options, bySubgroups ? decodeStep(options) : 64),
    };
    written.set(key, both);
  }
  return both;
}

/** The newest token of every sequence, which is not in the slots yet: it comes from position `first`. */
export interface Fresh {
  /** [B,G,1,d] */
  readonly k: Memory;
  readonly v: Memory;
  /** [B,G,1] */
  readonly types: Memory;
  readonly first: number;
  readonly window: number;
  readonly reach: number;
}

/** Arrays of the kernel that appends too, which may be more than a device allows. */
const FRESH_ARRAYS = 12;

/** Whether attention of one query can append its token too, in chunks of one token. */
export function canAppend(
  device: WgslDevice,
  { batch, kvHeads, headDim: d, chunk }: Pick<CacheOptions, 'batch' | 'kvHeads' | 'headDim' | 'chunk'>,
): boolean {
  return device.width === 64 && chunk === 1 && d % 4 === 0 && batch * kvHeads <= MOST_HEADS &&
    device.storageBuffers >= FRESH_ARRAYS;
}

/** How many parts the kernels for GPUs cut the entries into, of which no head has more than `most`. */
export const partsOf = (heads: number, most: number): number => decodeParts(heads, heads * most);

/** The same by kernels whose workgroups serve all query heads of a KV head. Processors compile these slowly. */
function decodeOnGpu(
  device: WgslDevice, q: Memory, { keys, values, entries, states, heads, parity, stored }: Slots, most: number,
  { B, H, G, d }: AttentionSizes, scale: number, fresh: Fresh | undefined,
): Memory {
  const bySubgroups = device.subgroups && hasDecodeSubgroups(d);
  const { first, merge } = passes(B * G, H / G, d, stored, bySubgroups, fresh !== undefined, areFew(B * G * most));
  const parts = partsOf(B * G, most);
  const rows = parts * (H / G);
  const sums = device.allocate(rows * 4 * Math.ceil(d / 4));
  const [stats, out] = [device.allocate((rows + parts) * 2), device.allocate(B * H * d)];
  const rule = fresh && { first: fresh.first, window: fresh.window, reach: fresh.reach };
  const params = { parts, parity, scale, ...rule };
  device.run(first, {
    params, inputs: [q, keys, values, heads, fresh ? fresh.types : entries],
    outputs: fresh ? [sums, stats, entries, states] : [sums, stats],
    groups: first.workgroups({ parts }), work: B * H * most * d * 4,
  });
  device.run(merge, {
    params, inputs: fresh ? [sums, stats, q, fresh.k, fresh.v, fresh.types] : [sums, stats],
    outputs: fresh ? [out, heads, keys, values, entries, states] : [out, heads],
    groups: merge.workgroups({ parts }), work: B * H * parts * d * 8,
  });
  device.free(sums);
  device.free(stats);
  return out;
}

/**
 * Attention of one query per sequence, q [B,H,1,d], over the slots of a cache, of which no head uses more than `most`:
 * out [B,H,1,d]. It also counts what the queries see.
 *
 * @param fresh The token of the queries, if it is to be appended here.
 */
export function decode(
  device: WgslDevice, q: Memory, slots: Slots, most: number, sizes: AttentionSizes, scale: number, fresh?: Fresh,
): Memory {
  const { stored, keys, values, entries, heads, parity } = slots;
  const { B, H, G, d } = sizes;
  const even = stored === 'f32' || d % 2 === 0; // or else rows are longer than d
  if (device.width === 64 && B * G <= MOST_HEADS && even) {
    return decodeOnGpu(device, q, slots, most, sizes, scale, fresh);
  }
  const THREADS = device.width;
  const parts = Math.max(1, Math.min(MOST_PARTS, Math.ceil(most / THREADS)));
  const partial = device.allocate(B * H * parts * (d + 3));
  const four = d % 4 === 0;
  device.run(PARTS({
    THREADS, COLUMNS: Math.ceil(d / THREADS), ELEMENT: four ? 'vec4f' : 'f32', WIDTH: four ? 4 : 1,
    PRODUCT: four ? 'dot(a, b)' : 'a * b', ...reading(stored, four),
  }), {
    params: { group: H / G, d, parity, parts, scale }, inputs: [q, keys, values, entries, heads], outputs: [partial],
    groups: [parts, B * H], work: B * H * most * d * 4,
  });
  const out = device.allocate(B * H * d);
  device.run(MERGE({ THREADS }), {
    params: { group: H / G, d, parity, parts }, inputs: [partial], outputs: [heads, out], groups: [B * H],
    work: B * H * parts * d * 8,
  });
  device.free(partial);
  return out;
}
