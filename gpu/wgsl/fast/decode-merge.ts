/**
 * Attention of one new query per sequence, second pass: the parts of each head become one result. It is a dispatch of
 * its own because WGSL does not promise that one workgroup sees what another one of the same dispatch wrote.
 * @module
 */
import { type DecodeOptions, type DecodeSizes, isFresh, LOWEST, partition, THREADS } from './decode.ts';
import { FOUR, four, HALF } from './stored.ts';
import { each, fastKernel, type FastKernel, wgsl } from './template.ts';

/** The first query of a KV head adds the entries that it saw to the book: words 4 to 6 of the head. */
const tally = (fresh: boolean, group: number): string => `if (query == 0 && t == 0${fresh ? '' : ' && parts > 0'}) {
  var seen = ${fresh ? '1u' : '0u'};
  for (var s = 0u; s < parts; s++) { seen += u32(stats[P.parts * ${group} + first + s].x); }
  heads[12 * head + 4] = max(heads[12 * head + 4], seen);
  let low = heads[12 * head + 5] + seen;
  heads[12 * head + 6] += u32(low < seen);
  heads[12 * head + 5] = low;
}`;

/** Parts that an invocation has in flight. */
const UNROLL = 4;

/**
 * What becomes of the query's own token, where it is not among the entries yet: its score here, and by the first
 * query of a KV head its key, value and entry in the first free slot. Each row of it is one word or two.
 */
const terms = (across: number): string =>
  `if (t < ${across}) { own_terms[t] = dot(q[group.x * ${across} + t] * (P.scale * 1.4426950408889634), held(k[head * ${across} + t])); }`;
const score = (across: number): string => `var s = 0f;
for (var c = 0u; c < ${across}; c++) { s += own_terms[c]; }`;
const append = (across: number): string => `if (query == 0) {
  let slot = heads[12 * head] + count(head);
  if (t < ${across}) {
    keys[slot * ${across} + t] = stored(k[head * ${across} + t]);
    values[slot * ${across} + t] = stored(v[head * ${across} + t]);
  }
  if (t == 0) {
    let kind = types[head];
    let i = i32(P.first);
    if (kind < 0 || kind > 2) { heads[12 * head + 7] = P.first + 1; }
    entries[slot] = vec2i(i, min(select(0x7fffffff, after(i, i32(P.window)), kind == 2), after(i, i32(P.reach))));
    states[slot] = u32(kind == 1);
    heads[12 * head + 3 - P.parity] = count(head) + 1;
    heads[12 * head + 8] = P.first;
    heads[12 * head + 9] = 1;
  }
}`;
const AFTER = 'fn after(position: i32, distance: i32) -> i32 { return select(position + distance, 0x7fffffff, distance > 0x7fffffff - position); }';

/** stored(x), as a cache stores four numbers, and held(x), the numbers that it gives back. */
const storing = (kind: 'f32' | 'f16'): string => kind === 'f32'
  ? `fn stored(x: vec4f) -> vec4f { return x; }
fn held(x: vec4f) -> vec4f { return x; }`
  : `${HALF}
fn stored(x: vec4f) -> vec2u {
  let bits = bitcast<vec4u>(x);
  return vec2u(half(bits.x) | (half(bits.y) << 16), half(bits.z) | (half(bits.w) << 16));
}
fn held(x: vec4f) -> vec4f { let raw = stored(x); return ${four('f16', 'raw')}; }`;

/** Merges what a first pass wrote, whose parts are whole multiples of `step` entries. */
export function decodeMerge(
  { heads, group, d, layout, stored }: DecodeOptions, step: number,
): FastKernel<DecodeSizes> {
  const fresh = isFresh({ layout });
  const kind = FOUR[stored];
  const across = Math.ceil(d / 4);
  const rows = Math.floor(THREADS / across);
  const slots = 'slots' in layout;
  const at = (u: number): string => `min(s + ${u * rows}, parts - 1)`;
  return fastKernel({
    name: `merge of parts, d = ${d}`,
    header: `
      out[h] = sum_p exp(m[p,h] - M) o[p,h] / sum_p exp(m[p,h] - M) l[p,h] with M = max_p m[p,h]; 0 if there is no entry
      over the parts p of the entries of h's KV head. sums is [parts,${group},${4 * across}] (o), stats [parts,${group}] (m, l),
      ${slots ? 'heads' : `held [${heads}]`} as in the first pass, from which the parts follow; out is [${heads * group},${d}] f32.
      ${fresh ? `Entry ${'`'}first${'`'} is not among them: k and v [${heads},${d}] f32 are its key and value. It counts too, as it is stored, which is
      done here: in slot heads[12 head] + count, with the type types[head].` : ''}
      A workgroup merges one query head, in ${rows} rows of invocations that take every ${rows}th part, 4 elements each.`,
    params: {
      parts: 'u32', ...(slots && { parity: 'u32' }),
      ...(fresh && { first: 'u32', window: 'u32', reach: 'u32', scale: 'f32' }),
    },
    inputs: {
      ...(!slots && { held: 'vec2u' }), sums: 'vec4f', stats: 'vec2f',
      ...(fresh && { q: 'vec4f', k: 'vec4f', v: 'vec4f', types: 'i32' }),
    },
    outputs: {
      out: 'f32', ...(slots && { heads: 'u32' }),
      ...(fresh && { keys: kind, values: kind, entries: 'vec2i', states: 'u32' }),
    },
    locals: {
      row_sums: ['vec4f', THREADS], row_stats: ['vec2f', THREADS], ...(fresh && { own_terms: ['f32', across] }),
    },
    threads: THREADS,
    body: wgsl`
const LOWEST = ${LOWEST};
${partition({ heads, layout }, step)}
${fresh ? [AFTER, ...storing(stored).split('\n')] : ''}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let size = part_size();
  let head = group.x / ${group};
  let query = group.x % ${group};
  var first = 0u;
  ${heads <= 32 ? each(heads - 1, (n) => `first += select(0, (count(${n}) + size - 1) / size, head > ${n});`)
    : 'for (var n = 0u; n < head; n++) { first += (count(n) + size - 1) / size; }'}
  let parts = ${slots && !fresh ? 'select(0, (count(head) + size - 1) / size, heads[12 * head + 9] > 0)' : '(count(head) + size - 1) / size'};
  let column = t % ${across};
  let row = t / ${across};
  var top = LOWEST;
  var l = 0f;
  var sum = vec4f();
  if (row < ${rows}) {
    for (var s = row; s < parts; s += ${rows * UNROLL}) {
      ${each(UNROLL, (u) => `let a${u} = stats[(first + ${at(u)}) * ${group} + query]; let b${u} = sums[((first + ${at(u)}) * ${group} + query) * ${across} + column];`)}
let higher = max(top, ${each(UNROLL, (u) => `a${u}.x`).reduce((a, b) => `max(${a}, ${b})`)});
      let keep = exp2(top - higher);
      top = higher; l *= keep; sum *= keep;
      ${each(UNROLL, (u) => `{ let weight = select(0, exp2(a${u}.x - higher), s + ${u * rows} < parts); l += a${u}.y * weight; sum += b${u} * weight; }`)}
    }
  }
  ${slots ? tally(fresh, group) : ''}
  ${fresh ? `${append(across)}\n${terms(across)}` : ''}
  row_sums[t] = sum;
  row_stats[t] = vec2f(top, l);
  workgroupBarrier();
  if (t >= ${across}) { return; }
  for (var r = 1u; r < ${rows}; r++) { top = max(top, row_stats[r * ${across} + t].x); }
  ${fresh ? `${score(across)}\ntop = max(top, s);` : ''}
  sum = vec4f();
  l = 0f;
  for (var r = 0u; r < ${rows}; r++) {
    let keep = exp2(row_stats[r * ${across} + t].x - top);
    sum += row_sums[r * ${across} + t] * keep;
    l += row_stats[r * ${across} + t].y * keep;
  }
  ${fresh ? `sum += held(v[head * ${across} + t]) * exp2(s - top);\nl += exp2(s - top);` : ''}
  for (var i = 0u; i < 4; i++) {
    if (4 * t + i < ${d}) { out[group.x * ${d} + 4 * t + i] = select(sum[i] / l, 0, ${fresh ? 'l == 0' : 'parts == 0 || l == 0'}); }
  }
}`,
    workgroups: () => [heads * group, 1, 1],
  });
}
