/**
 * The query's own token in attention of one query per sequence, where it is not among the entries of a cache with a
 * book yet: the first pass takes it in, and the second one notes it in the book.
 * @module
 */
import { four, HALF, type Stored } from './stored.ts';

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

/** Writes the token's entry in `slot`, the first free one of `head`; its key and value go there besides. */
export const OWN_ENTRY = `let kind = types[head];
let i = i32(P.first);
entries[slot] = vec2i(i, min(select(0x7fffffff, after(i, i32(P.window)), kind == 2), after(i, i32(P.reach))));
states[slot] = u32(kind == 1);`;

/** Notes in the book of `head` that it has the token. */
export const OWN_NOTE = `let kind = types[head];
if (kind < 0 || kind > 2) { heads[12 * head + 7] = P.first + 1; }
heads[12 * head + 3 - P.parity] = count(head);
heads[12 * head + 8] = P.first;
heads[12 * head + 9] = 1;`;
