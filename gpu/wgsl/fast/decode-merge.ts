/**
 * Attention of one new query per sequence, second pass: the parts of each head become one result. It is a dispatch of
 * its own because WGSL does not promise that one workgroup sees what another one of the same dispatch wrote.
 * @module
 */
import { type DecodeOptions, type DecodeSizes, isFresh, LOWEST, partition, THREADS } from './decode.ts';
import { OWN_NOTE } from './decode-own.ts';
import { each, fastKernel, type FastKernel, wgsl } from './template.ts';

/**
 * What the book of a KV head notes: how many entries its query saw, in words 4 to 6 of the head, and the query's own
 * token, if that is new. For one invocation, which knows `first` and `parts` of the head.
 */
export const noting = (fresh: boolean, group: number): string => `var seen = 0u;
for (var s = 0u; s < parts; s++) { seen += u32(stats[P.parts * ${group} + first + s].x); }
heads[12 * head + 4] = max(heads[12 * head + 4], seen);
let low = heads[12 * head + 5] + seen;
heads[12 * head + 6] += u32(low < seen);
heads[12 * head + 5] = low;${fresh ? `\n${OWN_NOTE}` : ''}`;

/** Finds the parts of a head: its first one, and how many. `size` is part_size(). */
export const partsOfHead = (heads: number, fresh: boolean, slots: boolean): string => wgsl`
var first = 0u;
${heads <= 32 ? each(heads - 1, (n) => `first += select(0, (count(${n}) + size - 1) / size, head > ${n});`)
    : 'for (var n = 0u; n < head; n++) { first += (count(n) + size - 1) / size; }'}
let parts = ${slots && !fresh ? 'select(0, (count(head) + size - 1) / size, heads[12 * head + 9] > 0)' : '(count(head) + size - 1) / size'};`.trim();

/**
 * Adds to `top`, `l` and `sum` what every `apart`-th part has, from part `from` on: the largest score, and sums of
 * the weights and of the values in column `column` of `query`.
 */
export const joinParts = (group: number, across: number, from: string, apart: number): string => {
  const at = (u: number): string => `min(s + ${u * apart}, parts - 1)`;
  return wgsl`
for (var s = ${from}; s < parts; s += ${apart * UNROLL}) {
  ${each(UNROLL, (u) => `let a${u} = stats[(first + ${at(u)}) * ${group} + query]; let b${u} = sums[((first + ${at(u)}) * ${group} + query) * ${across} + column];`)}
  let higher = max(top, ${each(UNROLL, (u) => `a${u}.x`).reduce((a, b) => `max(${a}, ${b})`)});
  let keep = exp2(top - higher);
  top = higher; l *= keep; sum *= keep;
  ${each(UNROLL, (u) => `{ let weight = select(0, exp2(a${u}.x - higher), s + ${u * apart} < parts); l += a${u}.y * weight; sum += b${u} * weight; }`)}
}`.trim();
};

/** Parts that an invocation has in flight. */
const UNROLL = 4;

/** Merges what a first pass wrote, whose parts are whole multiples of `step` entries. */
export function decodeMerge({ heads, group, d, layout }: DecodeOptions, step: number): FastKernel<DecodeSizes> {
  const fresh = isFresh({ layout });
  const across = Math.ceil(d / 4);
  const rows = Math.floor(THREADS / across);
  const slots = 'slots' in layout;
  return fastKernel({
    name: `merge of parts, d = ${d}`,
    header: `
      out[h] = sum_p exp(m[p,h] - M) o[p,h] / sum_p exp(m[p,h] - M) l[p,h] with M = max_p m[p,h]; 0 if there is no entry
      over the parts p of the entries of h's KV head. sums is [parts,${group},${4 * across}] (o), stats [parts,${group}] (m, l),
      ${slots ? 'heads' : `held [${heads}]`} as in the first pass, from which the parts follow; out is [${heads * group},${d}] f32.
      ${fresh ? 'The book, heads, takes in the token of the query, which has position `first` and types[head].' : ''}
      A workgroup merges one query head, in ${rows} rows of invocations that take every ${rows}th part, 4 elements each.`,
    params: { parts: 'u32', ...(slots && { parity: 'u32' }), ...(fresh && { first: 'u32' }) },
    inputs: { ...(!slots && { held: 'vec2u' }), sums: 'vec4f', stats: 'vec2f', ...(fresh && { types: 'i32' }) },
    outputs: { out: 'f32', ...(slots && { heads: 'u32' }) },
    locals: { row_sums: ['vec4f', THREADS], row_stats: ['vec2f', THREADS] },
    threads: THREADS,
    body: wgsl`
const LOWEST = ${LOWEST};
${partition({ heads, layout }, step)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let size = part_size();
  let head = group.x / ${group};
  let query = group.x % ${group};
  ${partsOfHead(heads, fresh, slots)}
  let column = t % ${across};
  let row = t / ${across};
  var top = LOWEST;
  var l = 0f;
  var sum = vec4f();
  if (row < ${rows}) {
    ${joinParts(group, across, 'row', rows)}
  }
  ${slots ? wgsl`
if (query == 0 && t == 0${fresh ? '' : ' && parts > 0'}) {
  ${noting(fresh, group)}
}`.trim() : ''}
  row_sums[t] = sum;
  row_stats[t] = vec2f(top, l);
  workgroupBarrier();
  if (t >= ${across}) { return; }
  for (var r = 1u; r < ${rows}; r++) { top = max(top, row_stats[r * ${across} + t].x); }
  sum = vec4f();
  l = 0f;
  for (var r = 0u; r < ${rows}; r++) {
    let keep = exp2(row_stats[r * ${across} + t].x - top);
    sum += row_sums[r * ${across} + t] * keep;
    l += row_stats[r * ${across} + t].y * keep;
  }
  for (var i = 0u; i < 4; i++) {
    if (4 * t + i < ${d}) { out[group.x * ${d} + 4 * t + i] = select(sum[i] / l, 0, parts == 0 || l == 0); }
  }
}`,
    workgroups: () => [heads * group, 1, 1],
  });
}
