/**
 * The query's own token in attention of one query per sequence, where it is not among the entries of a cache with a
 * book yet: the first pass takes it in, and the second one notes it in the book.
 * @module
 */
import { four, HALF, type Stored } from './stored.ts';
import { wgsl } from './template.ts';

const AFTER = 'fn after(position: i32, distance: i32) -> i32 { return select(position + distance, 0x7fffffff, distance > 0x7fffffff - position); }';

/** stored(x), as a cache stores four numbers, and held(x), the numbers that it gives back. */
const storing = (kind: Exclude<Stored, 'bf16'>): string => kind === 'f32'
  ? `fn stored(x: vec4f) -> vec4f { return x; }
fn held(x: vec4f) -> vec4f { return x; }`
  : `${HALF}
fn stored(x: vec4f) -> vec2u {
  let bits = bitcast<vec4u>(x);
  return vec2u(half(bits.x) | (half(bits.y) << 16), half(bits.z) | (half(bits.w) << 16));
}
fn held(x: vec4f) -> vec4f { let raw = stored(x); return ${four('f16', 'raw')}; }`;

/** The functions that the pieces below need. */
export const ownFunctions = (kind: Exclude<Stored, 'bf16'>): string[] => [AFTER, ...storing(kind).split('\n')];

/**
 * Writes the token's entry in `slot`, the first free one of `head`; its key and value go there besides. A LOCAL one is
 * open if there is no second window, `local` being -1.
 */
export const OWN_ENTRY = `let kind = types[head];
let i = i32(P.first);
let open = kind == 1 && i32(P.local) < 0;
let within = after(i, i32(select(P.window, P.local, kind == 1)));
let ends = (kind == 1 && !open) || kind == 2;
entries[slot] = vec2i(i, min(select(0x7fffffff, within, ends), after(i, i32(P.reach))));
states[slot] = u32(open);`;

/** Adds a value with score s to the running sums of query head h. */
export const WEIGH = `let top = max(m[h], s);
let keep = exp2(m[h] - top);
let weight = exp2(s - top);
m[h] = top;
l[h] = l[h] * keep + weight;
o[h] = o[h] * keep + value * weight;`;

/** Takes the token into the sums of `share` query heads, in row 0, and into the cache; a row has `across` vectors. */
export const ownToken = (share: number, across: number): string => wgsl`
workgroupBarrier();
if (owns && t < ${across}) {           // these are row 0
  if (t == 0) { seen++; }
  let value = held(own_v[head * ${across} + t]);
  for (var h = 0u; h < ${share}; h++) {
    var s = 0f;
    for (var c = 0u; c < ${across}; c++) { s += dot(held(own_k[head * ${across} + c]), query[h * ${across} + c]); }
    ${WEIGH}
  }
  if (group.y == 0) {
    let slot = place_of(head, count(head) - 1);
    k[slot * ${across} + t] = stored(own_k[head * ${across} + t]);
    v[slot * ${across} + t] = stored(own_v[head * ${across} + t]);
    if (t == 0) {
      ${OWN_ENTRY}
    }
  }
}`.trim();

/**
 * What a GLOBAL token does to the entry at place `p` that the query sees: if it is LOCAL and open, it ends here. One
 * workgroup of each part does it; for others, which may read its end meanwhile, it counts before and after.
 */
export const closing = (p: string): string =>
  `if (group.y == 0 && types[head] == 0 && states[${p}] == 1) { states[${p}] = 0; entries[${p}].y = i32(P.first); }`;

/** Notes in the book of `head` that it has the token. */
export const OWN_NOTE = `let kind = types[head];
if (kind < 0 || kind > 2) { heads[12 * head + 7] = P.first + 1; }
heads[12 * head + 3 - P.parity] = count(head);
heads[12 * head + 8] = P.first;
heads[12 * head + 9] = 1;`;
