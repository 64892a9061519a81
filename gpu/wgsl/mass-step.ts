/**
 * §11 on the device: attention over what a budget holds, and what is evicted by the scores that come of it. This is
 * src/core/mass-step.ts in WGSL; the whole numbers of the rule, such as the budget of a step, come from
 * src/core/mass.ts.
 * @module
 */
import type { SlotDtype } from './cache-kernels.ts';
import { reading } from './decode-portable.ts';
import { BOOK } from './mass-kernels.ts';
import { type Kernel, type Template, template } from './template.ts';

/** The places of a head's book and scratch. */
const PLACES = `fn listOf(head: u32) -> u32 { return head * (${BOOK}u + 2u * p.room) + ${BOOK}u; }
fn scratchOf(head: u32) -> u32 { return head * p.room * (2u + p.group); }`;

/** What a step is to a sequence. */
const STEP = `let b = head / p.G;
  var first = p.position;
  var count = 1u;
  if (p.same == 0u) {
    first = steps[2u * b];
    count = steps[2u * b + 1u];
  }`;

type Constants = 'THREADS' | 'GROUP' | 'COLUMNS' | 'ELEMENT' | 'WIDTH' | 'PRODUCT' | 'KEYS' | 'VALUES' | 'KEY' | 'VALUE';
const ATTEND: Template<Constants> = template('budget attend', `
// Token t of a step of T, q and out [heads,T,d]: the query heads of a group attend to what is held and to the token's own entry. A
// workgroup for each KV head. steps has (position, tokens) for each sequence, unless all take one token from \`position\` on. scratch
// gets, for each head, what each entry is given by all heads of the group, and from 2 room on its weights for each of them, in
// the order of the head's list.
struct Params { T: u32, t: u32, G: u32, group: u32, d: u32, room: u32, same: u32, position: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<$ELEMENT>;
@group(0) @binding(2) var<storage, read> keys: array<$KEYS>;
@group(0) @binding(3) var<storage, read> values: array<$VALUES>;
@group(0) @binding(4) var<storage, read> steps: array<u32>;
@group(0) @binding(5) var<storage, read> book: array<u32>;
@group(0) @binding(6) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;

const THREADS = $THREADSu;
const GROUP = $GROUPu;                 // query heads of a KV head
const COLUMNS = $COLUMNSu;             // threads side by side along a row; the others take other entries
const LOWEST = -3.4028234e38;

var<workgroup> tops: array<f32, THREADS * GROUP>;
var<workgroup> sums: array<f32, THREADS * GROUP>;

${PLACES}
fn product(a: $ELEMENT, b: $ELEMENT) -> f32 { return $PRODUCT; }
fn keyAt(slot: u32, e: u32) -> $ELEMENT { $KEY }
fn valueAt(slot: u32, column: u32) -> f32 { $VALUE }

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let head = group.x;
  ${STEP}
  let row = head * GROUP * p.T + p.t;  // of the first query head
  if (p.t >= count) {
    for (var n = lane; n < GROUP * p.d; n += THREADS) { out[(row + n / p.d * p.T) * p.d + n % p.d] = 0.0; }
    return;
  }
  let list = listOf(head);
  let mass = scratchOf(head);
  let weights = mass + 2u * p.room;
  let before = book[list - ${BOOK}u];
  let all = before + 1u;
  let own = list + book[list - 4u] + p.t;    // which the entry of the token waits in
  let width = p.d / $WIDTHu;           // elements of a row
  var top: array<f32, GROUP>;
  for (var h = 0u; h < GROUP; h++) { top[h] = LOWEST; }
  for (var n = lane; n < all; n += THREADS) {
    let slot = head * p.room + book[select(list + n, own, n == before)];
    var score = array<f32, GROUP>();
    for (var e = 0u; e < width; e++) {
      let key = keyAt(slot, e);
      for (var h = 0u; h < GROUP; h++) { score[h] += product(q[(row + h * p.T) * width + e], key); }
    }
    for (var h = 0u; h < GROUP; h++) {
      scratch[weights + h * p.room + n] = p.scale * score[h];
      top[h] = max(top[h], p.scale * score[h]);
    }
  }
  for (var h = 0u; h < GROUP; h++) {
    var sum = 0.0;
    for (var n = lane; n < all; n += THREADS) { sum += exp(scratch[weights + h * p.room + n] - top[h]); }
    tops[h * THREADS + lane] = top[h];
    sums[h * THREADS + lane] = sum;
  }
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    for (var at = lane; lane < half && at < THREADS * GROUP; at += THREADS) {
      let most = max(tops[at], tops[at + half]);
      sums[at] = exp(tops[at] - most) * sums[at] + exp(tops[at + half] - most) * sums[at + half];
      tops[at] = most;
    }
  }
  workgroupBarrier();
  for (var n = lane; n < all; n += THREADS) {
    var given = 0.0;
    for (var h = 0u; h < GROUP; h++) {
      let weight = exp(scratch[weights + h * p.room + n] - tops[h * THREADS]) / sums[h * THREADS];
      scratch[weights + h * p.room + n] = weight;
      given += weight;
    }
    scratch[mass + n] = given;
  }
  storageBarrier();
  for (var start = 0u; start < p.d; start += COLUMNS) {
    let column = start + lane % COLUMNS;
    var sum = array<f32, GROUP>();
    if (column < p.d) {
      for (var n = lane / COLUMNS; n < all; n += THREADS / COLUMNS) {
        let value = valueAt(head * p.room + book[select(list + n, own, n == before)], column);
        for (var h = 0u; h < GROUP; h++) { sum[h] += scratch[weights + h * p.room + n] * value; }
      }
    }
    workgroupBarrier();
    for (var h = 0u; h < GROUP; h++) { sums[h * THREADS + lane] = sum[h]; }
    workgroupBarrier();
    if (lane < COLUMNS && column < p.d) {
      for (var h = 0u; h < GROUP; h++) {
        var whole = 0.0;
        for (var part = lane; part < THREADS; part += COLUMNS) { whole += sums[h * THREADS + part]; }
        out[(row + h * p.T) * p.d + column] = whole;
      }
    }
  }
}`, 'THREADS', 'GROUP', 'COLUMNS', 'ELEMENT', 'WIDTH', 'PRODUCT', 'KEYS', 'VALUES', 'KEY', 'VALUE');

/** Threads of a workgroup, by the numbers that it keeps of each query head: 16 KiB in all, which every device has. */
const threadsFor = (width: number, group: number): number =>
  (width < 64 ? width : Math.min(256, 2 ** Math.floor(Math.log2(2048 / group))));

/** The kernel of attention for a group of query heads. */
export function massAttend(width: number, GROUP: number, d: number, stored: SlotDtype): Kernel {
  const [four, THREADS] = [d % 4 === 0, threadsFor(width, GROUP)];
  return ATTEND({
    THREADS, GROUP, COLUMNS: Math.min(THREADS, 2 ** Math.ceil(Math.log2(d))),
    ELEMENT: four ? 'vec4f' : 'f32', WIDTH: four ? 4 : 1, PRODUCT: four ? 'dot(a, b)' : 'a * b', ...reading(stored, four),
  });
}

export const DECIDE: Template<'THREADS'> = template('budget decide', `
// The same token's entry is held now, and what its query gave each entry is noted. Then entries that the reach ends go, and those
// with the lowest score, the oldest among equals, until the budget is met or all are protected. A workgroup for each KV head. After
// (position, tokens) for each of B sequences, steps has (budget, newest positions protected) for each of its T tokens.
struct Params {
  T: u32, t: u32, G: u32, group: u32, B: u32, room: u32, width: u32, attention: u32, queries: u32, layer: u32, mean: u32, pool: u32,
  first: u32, reach: i32, same: u32, position: u32, budget: u32, recent: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> steps: array<u32>;
@group(0) @binding(2) var<storage, read_write> book: array<u32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<storage, read_write> scratch: array<f32>;

const THREADS = $THREADSu;
const NONE = 0xffffffffu;

var<workgroup> held: u32;
var<workgroup> goes: u32;              // the place in the list of what goes
// The lowest scores, each as score / count, and where they are.
var<workgroup> least: array<f32, THREADS>;
var<workgroup> counts: array<f32, THREADS>;
var<workgroup> places: array<u32, THREADS>;

${PLACES}
// Whether lane a found something, and lane b nothing, or only what has a higher score, or the same and is newer.
fn isLower(a: u32, b: u32) -> bool {
  if (places[a] == NONE || places[b] == NONE) { return places[a] != NONE; }
  let own = least[a] * counts[b];
  let other = least[b] * counts[a];
  return own < other || (own == other && places[a] < places[b]);
}
fn positionAt(list: u32, n: u32) -> u32 { return book[list + p.room + book[list + n]]; }

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let head = group.x;
  ${STEP}
  if (p.t >= count) { return; }
  let i = first + p.t;
  var budget = p.budget;
  var recent = p.recent;
  if (p.same == 0u) {
    budget = steps[2u * (p.B + b * p.T + p.t)];
    recent = steps[2u * (p.B + b * p.T + p.t) + 1u];
  }
  let list = listOf(head);
  let its = list - ${BOOK}u;
  let mass = scratchOf(head);
  let sums = mass + p.room;
  if (lane == 0u) {
    let own = list + book[its + 4u] + p.t;     // tokens before it may have left free slots
    let slot = book[own];
    let seen = book[its] + 1u;
    book[own] = book[list + seen - 1u];
    book[list + seen - 1u] = slot;
    book[its + 1u] = max(book[its + 1u], seen);
    let low = book[its + 2u] + seen;
    book[its + 3u] += u32(low < seen);
    book[its + 2u] = low;
    held = seen;
  }
  storageBarrier();
  let seen = workgroupUniformLoad(&held);
  for (var n = lane; n < seen && p.attention == 1u; n += THREADS) {
    var given = scratch[mass + n];
    if (p.layer == 1u) {
      given = 0.0;
      for (var g = 0u; g < p.G; g++) { given += scratch[scratchOf(b * p.G + g) + n]; }
    }
    let at = (head * p.room + book[list + n]) * p.width;
    if (p.queries == 0u) { scores[at] += given; } else { scores[at + i % p.queries] = given; }
  }
  storageBarrier();
  for (var all = seen; all > 0u; all--) {
    // Most often nothing else is to do after one entry went. The lists are the same for all threads.
    if (lane == 0u) { goes = u32(all > budget || i32(positionAt(list, 0u)) <= i32(i) - p.reach); }
    if (workgroupUniformLoad(&goes) == 0u) { break; }
    for (var n = lane; n < all; n += THREADS) {
      let at = (head * p.room + book[list + n]) * p.width;
      var sum = 0.0;
      for (var m = 0u; m < p.width; m++) { sum += scores[at + m]; }
      if (p.pool > 1u && p.mean == 1u) { sum /= f32(i - positionAt(list, n) + 1u); }
      scratch[sums + n] = sum;
    }
    storageBarrier();
    least[lane] = 0.0;
    counts[lane] = 1.0;
    places[lane] = NONE;
    for (var n = lane; n < all; n += THREADS) {
      let position = positionAt(list, n);
      var score = scratch[sums + n];
      var queries = 1.0;
      if (i32(position) <= i32(i) - p.reach) {
        score = -3.4028234e38;
      } else {
        if (all <= budget || position < p.first || i32(position) > i32(i) - i32(recent)) { continue; }
        if (p.pool > 1u) {
          let reach = (p.pool - 1u) / 2u;
          score = 0.0;
          for (var m = n - min(n, reach); m <= min(n + reach, all - 1u); m++) {
            let other = positionAt(list, m);
            if (max(other, position) - min(other, position) <= reach) { score += scratch[sums + m]; }
          }
        } else if (p.mean == 1u) {
          queries = f32(i - position + 1u);
        }
      }
      if (places[lane] == NONE || score * counts[lane] < least[lane] * queries) {
        least[lane] = score;
        counts[lane] = queries;
        places[lane] = n;
      }
    }
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
      workgroupBarrier();
      let other = lane + half;
      if (lane < half && isLower(other, lane)) {
        least[lane] = least[other];
        counts[lane] = counts[other];
        places[lane] = places[other];
      }
    }
    if (lane == 0u) { goes = places[0]; }
    let place = workgroupUniformLoad(&goes);
    if (place == NONE) { break; }
    // Those behind it move up, and its slot is the first free one.
    let slot = book[list + place];
    for (var start = place; start < all; start += THREADS) {
      let n = start + lane;
      var next = slot;
      if (n + 1u < all) { next = book[list + n + 1u]; }
      storageBarrier();
      if (n < all) { book[list + n] = next; }
      storageBarrier();
    }
    if (lane == 0u) { held = all - 1u; }
  }
  if (lane == 0u) { book[its] = held; }
}`, 'THREADS');
