/**
 * Attention of one new query per sequence to the entries of a cache, first pass: the entries of all heads are cut into
 * parts of one size, whatever each head holds. The second pass is decode-merge.ts.
 * @module
 */
import { closing, ownFunctions, ownToken, WEIGH } from './decode-own.ts';
import { FOUR, four, ONE, one } from './stored.ts';
import { each, type Element, fastKernel, type FastKernel, type KernelText, wgsl } from './template.ts';

/** What the parts of heads depend on. */
export type PartOptions = Pick<DecodeOptions, 'heads' | 'layout'>;

export interface DecodeOptions {
  /** Heads of the cache, B*G. */
  readonly heads: number;
  /** Query heads per KV head, H/G. */
  readonly group: number;
  readonly d: number;
  readonly stored: 'f32' | 'f16';
  /** Where the entries of a head lie. */
  readonly layout: Paged | Slots;
  /** The most query heads of a workgroup: fewer make more workgroups, which read entries more often. Default: 8. */
  readonly share?: number;
}

/** In blocks, by a page table. */
export interface Paged {
  /** Entries per block of the cache. */
  readonly block: number;
  /** Some entries may be dead: last[place] is before the query. Otherwise every entry counts, and `last` is absent. */
  readonly masked: boolean;
}

/** One after the other, in a cache whose book is on the device (cache-kernels.ts). Its dead entries do not count. */
export interface Slots {
  readonly slots: true;
  /**
   * The query's own token is not among the entries yet: the first pass adds it, to the result and to the cache, and
   * closes LOCAL entries if its type is GLOBAL. For chunks of one token.
   */
  readonly fresh: boolean;
}

/** Sizes of a call: how many parts there may be, of all heads together. */
export interface DecodeSizes {
  readonly parts: number;
}

export const THREADS = 256;

/** The lowest float32: what a maximum starts from. */
export const LOWEST = '-3.4028234e38f';

/** Query heads that one workgroup serves: a divisor of the group, so that registers and workgroup memory suffice. */
export function headsAtOnce({ group, d, share = 8 }: Pick<DecodeOptions, 'group' | 'd' | 'share'>): number {
  let most = 1;
  for (let n = 2; n <= Math.min(group, share); n++) if (group % n === 0 && n * d <= 512) most = n;
  return most;
}

/** Whether so many entries in all are few. */
export const areFew = (entries: number): boolean => entries < 32768;

/** A good number of parts: some for each head, and enough to fill a large GPU if there are `entries` in all. */
export function decodeParts(heads: number, entries: number): number {
  return heads + (areFew(entries) ? 128 : 256);
}

/**
 * Entries per part, a multiple of `step`, so that the parts of all heads are fewer than P.parts > HEADS: a head has
 * fewer than 1 + count / size of them, and all counts together are at most (P.parts - HEADS) * size. The loops over
 * heads are unrolled if there are few, so that their reads do not wait for one another.
 */
export function partition({ heads, layout }: PartOptions, step: number): string {
  const held = 'slots' in layout ? `heads[12 * head + 2 + P.parity]${layout.fresh ? ' + 1' : ''}` : 'held[head].x';
  const total = heads <= 32 ? `return ${each(heads, (n) => `count(${n})`).join(' + ')};`
    : `var sum = 0u; for (var n = 0u; n < ${heads}; n++) { sum += count(n); } return sum;`;
  return wgsl`
fn count(head: u32) -> u32 { return ${held}; }
fn all_entries() -> u32 { ${total} }
fn part_size() -> u32 {
  let room = P.parts - ${heads};
  return max(1, ((all_entries() + room - 1) / room + ${step - 1}) / ${step}) * ${step};
}`.trim();
}

/** Parts are numbered through, head after head: finds the head, and the entries begin..end-1 of the part. */
export function findPart({ heads, ...options }: PartOptions): string {
  const fresh = isFresh(options);
  return wgsl`
let size = part_size();
var part = group.x;
var head = 0u;
${heads <= 32 ? [
    ...each(heads, (n) => `let parts${n} = (count(${n}) + size - 1) / size;`),
    ...each(heads, (n) => `if (head == ${n} && part >= parts${n}) { part -= parts${n}; head = ${n + 1}; }`),
  ] : wgsl`
for (; head < ${heads}; head++) {
  let parts = (count(head) + size - 1) / size;
  if (part < parts) { break; }
  part -= parts;
}`.trim()}
if (head >= ${heads}) { return; }
let begin = part * size;
let end = min(begin + size, count(head)${fresh ? ' - 1' : ''});${fresh ? `
let owns = begin + size >= count(head);  // the query's own token is the last entry of the last part` : ''}`.trim();
}

/** The function that finds entry n of a head, and what says whether the entry at place `p` counts. */
export function placing({ layout }: DecodeOptions): { readonly place: string; readonly counts: (p: string) => string } {
  if ('slots' in layout) {
    return {
      place: 'fn place_of(head: u32, n: u32) -> u32 { return heads[12 * head] + n; }',
      counts: (p) => `entries[${p}].y >= i32(${layout.fresh ? 'P.first' : 'heads[12 * head + 8]'})`,
    };
  }
  const { block, masked } = layout;
  return {
    place: `fn place_of(head: u32, n: u32) -> u32 { return table[head * P.width + n / ${block}] * ${block} + n % ${block}; }`,
    counts: (p) => (masked ? `last[${p}] >= held[head].y` : 'true'),
  };
}

/** Whether the token of the query is not among the entries yet. */
export const isFresh = ({ layout }: Pick<DecodeOptions, 'layout'>): boolean => 'slots' in layout && layout.fresh;

/** Whether some entries may not count. */
export const isMasked = ({ layout }: DecodeOptions): boolean => 'slots' in layout || layout.masked;

/** The arrays of a layout. */
function arraysOf({ layout }: DecodeOptions): Readonly<Record<string, Element>> {
  if ('slots' in layout) {
    return layout.fresh ? { heads: 'u32', types: 'i32', own_k: 'vec4f', own_v: 'vec4f' } : { heads: 'u32', entries: 'vec2i' };
  }
  return { table: 'u32', held: 'vec2u', ...(layout.masked ? { last: 'u32' } : {}) };
}

/**
 * Notes how many of its entries count in a part, which a cache with a book wants to know: behind the other stats, as
 * a part has fewer than 2^24.
 */
export const counting = ({ layout, group }: DecodeOptions): Readonly<Record<'local' | 'add' | 'store', string>> =>
  !('slots' in layout) ? { local: '', add: '', store: '' } : {
    local: 'var<workgroup> counted: atomic<u32>;',
    add: 'atomicAdd(&counted, seen);',
    store: `if (t == 0 && group.y == 0) { stats[P.parts * ${group} + group.x] = vec2f(f32(atomicLoad(&counted)), 0); }`,
  };

/** Where the query's own token is, and how far its lifetime reaches: see OWN_ENTRY. */
const LIMITS = { first: 'u32', window: 'u32', local: 'u32', reach: 'u32' } as const;

/** What both first passes read and write. */
export function decodeArrays(
  options: DecodeOptions, kind: Element = options.d % 4 === 0 ? FOUR[options.stored] : ONE[options.stored],
): Pick<KernelText<DecodeSizes>, 'params' | 'inputs' | 'outputs'> {
  const slots = 'slots' in options.layout;
  const fresh = isFresh(options);
  return {
    params: {
      parts: 'u32', ...(slots ? { parity: 'u32' } : { width: 'u32' }), ...(fresh && LIMITS),
      scale: 'f32',
    },
    inputs: { q: options.d % 4 === 0 ? 'vec4f' : 'f32', ...(!fresh && { k: kind, v: kind }), ...arraysOf(options) },
    outputs: {
      sums: 'vec4f', stats: 'vec2f', ...(fresh && { k: kind, v: kind, entries: 'vec2i', states: 'u32' }),
    },
  };
}

/** The equation and the layout, as both first passes have it. */
export function decodeHeader({ heads, group, d, stored, layout }: DecodeOptions, split: string): string {
  const where = 'slots' in layout
    ? `entry n of a head is at place heads[12 head] + n, for n below heads[12 head + 2 + parity]. An entry counts if
    entries[place].y >= ${layout.fresh ? 'first' : 'heads[12 head + 8]'}, the position of the query; others are never multiplied. Behind the other stats is the number of those that do, [parts].${layout.fresh ? `
    The query's own token is the last entry: own_k and own_v [${heads},${d}] f32 are its key and value, which count as they are stored.
    They and its entry go to the first free slot. If its type, types[head], is 0, entries whose state is 1 end at its position.` : ''}`
    : `entry n of a head is at place
    table[head,n / ${layout.block}] * ${layout.block} + n % ${layout.block}, for n below held[head].x; table is [${heads},width].
    ${layout.masked ? 'An entry counts if last[place] >= held[head].y, the position of the query; others are never multiplied.' : 'Every entry counts.'}`;
  return `
    s[h,e] = scale q[h] . k[e], m[h] = max_e s[h,e], l[h] = sum_e exp(s[h,e] - m[h]), o[h] = sum_e exp(s[h,e] - m[h]) v[e]
    for each part of the entries e of a KV head and each of its ${group} query heads h; logarithms are binary inside.
    q is [${heads * group},${d}] f32. k and v are pools of entries of ${d} ${stored}; ${where}
    sums is [parts,${group},${4 * Math.ceil(d / 4)}] (o) and stats [parts,${group}] (m, l).
    ${split}`;
}

/** A first pass in core WGSL, for heads of any size. */
export function decodeAttention(options: DecodeOptions): FastKernel<DecodeSizes> {
  const { group, d, stored } = options;
  const { place, counts } = placing(options);
  const count = counting(options);
  const share = headsAtOnce(options);
  const across = Math.ceil(d / 4);
  const rows = Math.floor(THREADS / across);
  if (rows < 1) throw new RangeError(`heads of size ${d} exceed ${4 * THREADS}`);
  const aligned = d % 4 === 0;
  const read = (name: 'q' | 'k' | 'v', kind: 'f32' | 'f16'): string => aligned
    ? wgsl`fn four_of_${name}(at: u32, c: u32) -> vec4f { let raw = ${name}[at * ${across} + c]; return ${four(kind, 'raw')}; }`
    : wgsl`
fn four_of_${name}(at: u32, c: u32) -> vec4f {
  var x = vec4f();
  for (var i = 0u; i < 4; i++) { let n = at * ${d} + 4 * c + i; if (4 * c + i < ${d}) { x[i] = ${one(kind, name, 'n')}; } }
  return x;
}`.trim();
  return fastKernel({
    name: `decode attention ${stored}, d = ${d}${isMasked(options) ? ', masked' : ''}`,
    header: decodeHeader(options, `${THREADS} entries at a time: first each invocation computes the scores of one entry with ${share} query heads,
    then ${rows} rows of invocations sum the values, 4 elements of o each, with a running maximum per row.`),
    ...decodeArrays(options),
    locals: {
      query: ['vec4f', share * across], scores: ['f32', share * THREADS], places: ['u32', THREADS],
      row_sums: ['vec4f', THREADS], row_stats: ['vec2f', THREADS],
    },
    threads: THREADS,
    body: wgsl`
const LOWEST = ${LOWEST};
${partition(options, 64)}
${place}
${count.local}
${isFresh(options) ? ownFunctions(stored) : ''}
${read('q', 'f32')}
${read('k', stored)}
${read('v', stored)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  ${findPart(options)}
  let first = head * ${group} + group.y * ${share};
  let column = t % ${across};
  let row = t / ${across};
  for (var i = t; i < ${share * across}; i += ${THREADS}) {
    query[i] = four_of_q(first + i / ${across}, i % ${across}) * (P.scale * 1.4426950408889634);
  }
  var m: array<f32, ${share}>;
  var l: array<f32, ${share}>;
  var o: array<vec4f, ${share}>;
  for (var h = 0u; h < ${share}; h++) { m[h] = LOWEST; }
  ${count.add && 'var seen = 0u;'}
  for (var start = begin; start < end; start += ${THREADS}) {
    workgroupBarrier();
    if (start + t < end) {
      let n = start + t;
      var place = place_of(head, n);
      if (${counts('place')}) {
        ${count.add && 'seen++;'}
        var s = array<f32, ${share}>(); // a declaration alone is not zeroed again in each turn by every compiler
        for (var c = 0u; c < ${across}; c++) {
          let key = four_of_k(place, c);
          for (var h = 0u; h < ${share}; h++) { s[h] += dot(key, query[h * ${across} + c]); }
        }
        for (var h = 0u; h < ${share}; h++) { scores[h * ${THREADS} + t] = s[h]; }
        ${isFresh(options) ? closing('place') : ''}
      } else {
        place = 0xffffffff;
      }
      places[t] = place;
    }
    workgroupBarrier();
    if (row < ${rows}) {
      for (var i = row; i < min(end - start, ${THREADS}); i += ${rows}) {
        let place = places[i];
        if (place == 0xffffffff) { continue; }
        let value = four_of_v(place, column);
        for (var h = 0u; h < ${share}; h++) {
          let s = scores[h * ${THREADS} + i];
          ${WEIGH}
        }
      }
    }
  }
  ${isFresh(options) ? ownToken(share, across) : ''}
  ${count.add}
  for (var h = 0u; h < ${share}; h++) {
    workgroupBarrier();
    row_sums[t] = o[h];
    row_stats[t] = vec2f(m[h], l[h]);
    workgroupBarrier();
    if (t < ${across}) {
      var top = LOWEST;
      for (var r = 0u; r < ${rows}; r++) { top = max(top, row_stats[r * ${across} + t].x); }
      var sum = vec4f();
      var weights = 0f;
      for (var r = 0u; r < ${rows}; r++) {
        let at = r * ${across} + t;
        let keep = exp2(row_stats[at].x - top);
        sum += row_sums[at] * keep;
        weights += row_stats[at].y * keep;
      }
      let to = group.x * ${group} + group.y * ${share} + h;
      sums[to * ${across} + t] = sum;
      if (t == 0) { stats[to] = vec2f(top, weights); }
    }
  }
  ${count.store}
}`,
    workgroups: ({ parts }) => [parts, group / share, 1],
  });
}
