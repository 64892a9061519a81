/**
 * §8 on the device: the kernels that keep a cache's book.
 *
 * A cache has slots, of which each KV head g owns a range. Of every slot it knows the key and value, the entry
 * (position, last), and a state: 0 if its type has determined `last`, 1 if it is LOCAL and no GLOBAL has closed it, 2
 * if its chunk is not full yet. With a second window, `local` >= 0, no state is 1, as it determines `last` of LOCAL
 * entries too. Of every head it knows HEAD_WORDS words:
 *
 *     0 first slot    1 room    2, 3 slots in use, before and after the newest step, by parity
 *     4 peakLive    5, 6 visiblePairs, low and high word    7 1 + the first chunk whose type came of NaN, or 0
 *     8 position of the newest step's first token    9 tokens of that step
 * @module
 */
import type { CacheDtype } from '../../src/core/cache.ts';
import { HALF } from './fast/index.ts';
import { type Kernel, kernel, type Template, template } from './template.ts';

/** The dtypes in which slots hold keys and values. */
export type SlotDtype = Exclude<CacheDtype, 'f64'>;

/** Words of four bytes that a row of d numbers takes. A row of float16 begins with a word of its own. */
export const wordsOf = (stored: SlotDtype, d: number): number => (stored === 'f32' ? d : Math.ceil(d / 2));

/**
 * How a row is stored: what BITS a number is read as, what a WORD is, the numbers IN it, and FUNCTIONS that make
 * one.
 */
type Storing = 'BITS' | 'WORD' | 'IN' | 'FUNCTIONS';
const word = (name: string, array: string): Readonly<Record<SlotDtype, string>> => ({
  f32: `fn ${name}(row: u32, c: u32) -> f32 { return ${array}[row + c]; }`,
  f16: `fn ${name}(row: u32, c: u32) -> u32 { return half(${array}[row + c]) | select(0u, half(${array}[row + c + 1u]) << 16u, c + 1u < p.d); }`,
});
const [KEY, VALUE] = [word('keyWord', 'k'), word('valueWord', 'v')];
/** How keys and values are stored, for the kernels that append them. */
export const STORING: Readonly<Record<SlotDtype, Readonly<Record<Storing, string>>>> = {
  f32: { BITS: 'f32', WORD: 'f32', IN: '1', FUNCTIONS: `${KEY.f32}\n${VALUE.f32}` },
  f16: { BITS: 'u32', WORD: 'u32', IN: '2', FUNCTIONS: `${HALF}\n${KEY.f16}\n${VALUE.f16}` },
};
const NAMES = ['BITS', 'WORD', 'IN', 'FUNCTIONS'] as const satisfies readonly Storing[];

/** Words of a head. */
export const HEAD_WORDS: number = 12;

const RULE = `const FOREVER = 0x7fffffff;
fn after(position: i32, distance: i32) -> i32 { return select(position + distance, FOREVER, distance > FOREVER - position); }

// The entry of slot s of a head once a step of \`count\` tokens from position \`first\` on stands behind \`before\` others.
fn settle(group: u32, s: u32, before: u32, first: u32, count: u32) {
  let head = 12u * group;
  let slot = heads[head] + s;
  let filled = (first + count) / p.C;            // chunks that are full now
  let known = first / p.C;                         // chunks that were full before
  var entry = vec2i(i32(first + s - before), FOREVER);
  var state = 2u;
  if (s < before) {
    entry = entries[slot];
    state = states[slot];
  }
  var c = u32(entry.x) / p.C;
  if (state == 2u && c < filled) {
    let kind = types[group * p.rows + c - known];
    state = select(0u, 1u, kind == 1 && p.local < 0);
    entry.y = FOREVER;
    if (kind == 1 && p.local >= 0) { entry.y = after(i32((c + 1u) * p.C) - 1, p.local); }
    if (kind == 2) { entry.y = after(i32((c + 1u) * p.C) - 1, p.window); }
    if (kind < 0 || kind > 2) { heads[head + 7u] = c + 1u; }
    c += 1u;
  } else {
    c = known;
  }
  if (state == 1u) {
    for (; c < filled; c++) {
      if (types[group * p.rows + c - known] != 0) { continue; }
      state = 0u;
      entry.y = i32((c + 1u) * p.C) - 1;
      break;
    }
  }
  entry.y = min(entry.y, after(entry.x, p.reach));
  entries[slot] = entry;
  states[slot] = state;
}`;

export const APPEND: Template<Storing> = template('cache append', `
// keys and values of the new tokens, k and v [heads,T,d], go to the slots behind those in use: a thread for each word.
// The first thread of a head notes the step, of which steps has (position, tokens) for each sequence.
struct Params { length: u32, T: u32, d: u32, G: u32, parity: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> k: array<$BITS>;
@group(0) @binding(2) var<storage, read> v: array<$BITS>;
@group(0) @binding(3) var<storage, read> steps: array<u32>;
@group(0) @binding(4) var<storage, read_write> keys: array<$WORD>;
@group(0) @binding(5) var<storage, read_write> values: array<$WORD>;
@group(0) @binding(6) var<storage, read_write> heads: array<u32>;

$FUNCTIONS

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let words = (p.d + $INu - 1u) / $INu;
  let c = n % words;
  let t = n / words % p.T;
  let head = n / (words * p.T);
  let first = steps[head / p.G * 2u];
  let count = steps[head / p.G * 2u + 1u];
  let used = heads[12u * head + 2u + p.parity];
  if (t < count) {
    let slot = heads[12u * head] + used + t;
    keys[slot * words + c] = keyWord(n / words * p.d, c * $INu);
    values[slot * words + c] = valueWord(n / words * p.d, c * $INu);
  }
  if (t == 0u && c == 0u) {
    heads[12u * head + 3u - p.parity] = used + count;
    heads[12u * head + 8u] = first;
    heads[12u * head + 9u] = count;
  }
}`, ...NAMES);

export const SETTLE: Kernel = kernel('cache settle', `
// Entries of the new tokens, and lifetimes by the types [heads,rows] of the chunks that the step filled (§2): a thread for
// each slot. Row r is the type of chunk floor(first / C) + r. GLOBAL chunk c closes the LOCAL ones before it at its end, unless
// they end by a second window, local >= 0.
struct Params { rows: u32, C: u32, parity: u32, window: i32, local: i32, reach: i32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> types: array<i32>;
@group(0) @binding(2) var<storage, read_write> entries: array<vec2i>;
@group(0) @binding(3) var<storage, read_write> states: array<u32>;
@group(0) @binding(4) var<storage, read_write> heads: array<u32>;

${RULE}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let head = 12u * group.y;
  let s = group.x * 64u + lane;
  if (s >= heads[head + 3u - p.parity]) { return; }
  settle(group.y, s, heads[head + 2u + p.parity], heads[head + 8u], heads[head + 9u]);
}`);

export const STEP: Template<Storing> = template('cache step', `
// Both at once where all sequences take T tokens from position \`first\` on: workgroups (x, head), whose threads take a word
// of the head's new keys and values, k and v [heads,T,d], and then a slot.
struct Params { T: u32, d: u32, parity: u32, first: u32, rows: u32, C: u32, window: i32, local: i32, reach: i32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> k: array<$BITS>;
@group(0) @binding(2) var<storage, read> v: array<$BITS>;
@group(0) @binding(3) var<storage, read> types: array<i32>;
@group(0) @binding(4) var<storage, read_write> keys: array<$WORD>;
@group(0) @binding(5) var<storage, read_write> values: array<$WORD>;
@group(0) @binding(6) var<storage, read_write> entries: array<vec2i>;
@group(0) @binding(7) var<storage, read_write> states: array<u32>;
@group(0) @binding(8) var<storage, read_write> heads: array<u32>;

${RULE}
$FUNCTIONS

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let head = 12u * group.y;
  let n = group.x * 64u + lane;
  let before = heads[head + 2u + p.parity];   // which no thread writes
  let start = heads[head];
  let words = (p.d + $INu - 1u) / $INu;
  if (n < p.T * words) {
    let to = (start + before) * words + n;
    let row = (group.y * p.T + n / words) * p.d;
    keys[to] = keyWord(row, n % words * $INu);
    values[to] = valueWord(row, n % words * $INu);
  }
  if (n < before + p.T) { settle(group.y, n, before, p.first, p.T); }
  if (n == 0u) {
    heads[head + 3u - p.parity] = before + p.T;
    heads[head + 8u] = p.first;
    heads[head + 9u] = p.T;
  }
}`, ...NAMES);

export const TALLY: Kernel = kernel('cache tally', `
// Adds what the queries of a step saw, seen [heads,T], to peakLive and visiblePairs: a thread for each head.
struct Params { heads: u32, T: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> seen: array<u32>;
@group(0) @binding(2) var<storage, read_write> heads: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3u) {
  if (thread.x >= p.heads) { return; }
  let head = 12u * thread.x;
  var peak = heads[head + 4u];
  var low = heads[head + 5u];
  var high = heads[head + 6u];
  for (var t = 0u; t < min(p.T, heads[head + 9u]); t++) {
    let count = seen[thread.x * p.T + t];
    peak = max(peak, count);
    low += count;
    high += u32(low < count);
  }
  heads[head + 4u] = peak;
  heads[head + 5u] = low;
  heads[head + 6u] = high;
}`);

export const KEEP: Kernel = kernel('cache keep', `
// Numbers the entries that stay, in their order, and moves them to a new range of slots: a workgroup for each head. plan has
// (first slot, room, the next query) of each head; an entry stays if that query sees it. from[new slot] = old slot.
struct Params { parity: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> plan: array<u32>;
@group(0) @binding(2) var<storage, read> oldHeads: array<u32>;
@group(0) @binding(3) var<storage, read> oldEntries: array<vec2i>;
@group(0) @binding(4) var<storage, read> oldStates: array<u32>;
@group(0) @binding(5) var<storage, read_write> heads: array<u32>;
@group(0) @binding(6) var<storage, read_write> entries: array<vec2i>;
@group(0) @binding(7) var<storage, read_write> states: array<u32>;
@group(0) @binding(8) var<storage, read_write> origin: array<u32>;

var<workgroup> marks: array<atomic<u32>, 2>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let head = 12u * group.x;
  let used = oldHeads[head + 2u + p.parity];
  let next = i32(plan[3u * group.x + 2u]);
  var kept = plan[3u * group.x];
  for (var start = 0u; start < used; start += 64u) {
    let slot = oldHeads[head] + start + lane;
    var stays = false;
    if (start + lane < used) { stays = oldEntries[slot].y >= next; }
    if (lane < 2u) { atomicStore(&marks[lane], 0u); }
    workgroupBarrier();
    if (stays) { atomicOr(&marks[lane / 32u], 1u << (lane % 32u)); }
    workgroupBarrier();
    let low = atomicLoad(&marks[0]);
    let high = atomicLoad(&marks[1]);
    if (stays) {
      let below = (1u << (lane % 32u)) - 1u;
      let to = kept + select(countOneBits(low & below), countOneBits(low) + countOneBits(high & below), lane >= 32u);
      entries[to] = oldEntries[slot];
      states[to] = oldStates[slot];
      origin[to] = slot;
    }
    kept += countOneBits(low) + countOneBits(high);
    workgroupBarrier();
  }
  if (lane < 12u) {
    var word = oldHeads[head + lane];
    if (lane < 2u) { word = plan[3u * group.x + lane]; }
    if (lane == 2u || lane == 3u) { word = kept - plan[3u * group.x]; }
    heads[head + lane] = word;
  }
}`);

export const MOVE: Kernel = kernel('cache move', `
// keys and values of the slots that stay, to where KEEP put their entries: a thread for each of the words of a row; workgroups (x, head, z),
// where z folds a long row of them.
struct Params { words: u32, parity: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> heads: array<u32>;
@group(0) @binding(2) var<storage, read> origin: array<u32>;
@group(0) @binding(3) var<storage, read> oldKeys: array<u32>;
@group(0) @binding(4) var<storage, read> oldValues: array<u32>;
@group(0) @binding(5) var<storage, read_write> keys: array<u32>;
@group(0) @binding(6) var<storage, read_write> values: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.z * groups.x + group.x) * 64u + lane;
  let s = n / p.words;
  if (s >= heads[12u * group.y + 2u + p.parity]) { return; }
  let to = heads[12u * group.y] + s;
  let c = n % p.words;
  keys[to * p.words + c] = oldKeys[origin[to] * p.words + c];
  values[to * p.words + c] = oldValues[origin[to] * p.words + c];
}`);
