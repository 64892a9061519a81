/**
 * Attention of one new query per sequence, second pass: the parts of each head become one result. It is a dispatch of
 * its own because WGSL does not promise that one workgroup sees what another one of the same dispatch wrote.
 * @module
 */
import { type DecodeOptions, type DecodeSizes, LOWEST, partition, THREADS } from './decode.ts';
import { each, fastKernel, type FastKernel, wgsl } from './template.ts';

/** The first query of a KV head adds the entries that it saw to the book: words 4 to 6 of the head. */
const TALLY = `if (query == 0 && t == 0 && parts > 0) {
  var seen = 0u;
  for (var s = 0u; s < parts; s++) { seen += counts[first + s]; }
  heads[12 * head + 4] = max(heads[12 * head + 4], seen);
  let low = heads[12 * head + 5] + seen;
  heads[12 * head + 6] += u32(low < seen);
  heads[12 * head + 5] = low;
}`;

/** Parts that an invocation has in flight. */
const UNROLL = 4;

/** Merges what a first pass wrote, whose parts are whole multiples of `step` entries. */
export function decodeMerge(
  { heads, group, d, layout }: Pick<DecodeOptions, 'heads' | 'group' | 'd' | 'layout'>, step: number,
): FastKernel<DecodeSizes> {
  const across = Math.ceil(d / 4);
  const rows = Math.floor(THREADS / across);
  const slots = 'slots' in layout;
  const at = (u: number): string => `min(s + ${u * rows}, parts - 1)`;
  return fastKernel({
    name: `merge of parts, d = ${d}`,
    header: `
      out[h] = sum_p exp(m[p,h] - M) o[p,h] / sum_p exp(m[p,h] - M) l[p,h] with M = max_p m[p,h]; 0 if there is no entry
      over the parts p of the entries of h's KV head. sums is [parts,${group},${4 * across}] (o), stats [parts,${group}] (m, l),
      held [${heads}] as in the first pass, from which the parts follow; out is [${heads * group},${d}] f32.
      A workgroup merges one query head, in ${rows} rows of invocations that take every ${rows}th part, 4 elements each.`,
    params: { parts: 'u32', ...(slots && { parity: 'u32' }) },
    inputs: { ...(slots ? { counts: 'u32' } : { held: 'vec2u' }), sums: 'vec4f', stats: 'vec2f' },
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
  var first = 0u;
  ${heads <= 32 ? each(heads - 1, (n) => `first += select(0, (count(${n}) + size - 1) / size, head > ${n});`)
    : 'for (var n = 0u; n < head; n++) { first += (count(n) + size - 1) / size; }'}
  let parts = ${slots ? 'select(0, (count(head) + size - 1) / size, heads[12 * head + 9] > 0)' : '(count(head) + size - 1) / size'};
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
  ${slots ? TALLY : ''}
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
