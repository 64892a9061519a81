/**
 * The first pass of decode attention for GPUs with subgroups of 32: see decode.ts.
 * @module
 */
import {
  counting, decodeArrays, decodeHeader, type DecodeOptions, type DecodeSizes, findPart, headsAtOnce, isFresh,
  isMasked, LOWEST, partition, placing, THREADS,
} from './decode.ts';
import { closing, OWN_ENTRY, ownFunctions } from './decode-own.ts';
import { four } from './stored.ts';
import { each, fastKernel, type FastKernel, wgsl } from './template.ts';

/** Elements of an entry that a lane holds. */
const WIDTH = 8;
const SUBGROUPS = THREADS / 32;

/** Whether a head size has a kernel here: 8 lanes per 64 elements, in whole subgroups. */
export function hasDecodeSubgroups(d: number): boolean {
  return [8, 16, 32, 64, 128, 256].includes(d);
}

/** Entries per step of a workgroup: what parts are multiples of. */
export function decodeStep({ d, stored }: Pick<DecodeOptions, 'd' | 'stored'>): number {
  return (THREADS / (d / WIDTH)) * keysAtOnce(stored);
}

/** Entries that a lane has in flight: 64 bytes of keys. */
function keysAtOnce(stored: 'f32' | 'f16'): number {
  return stored === 'f16' ? 4 : 2;
}

/** A first pass in which `d / 8` lanes share an entry, and every read serves all query heads of the KV head. */
export function decodeAttentionSubgroups(options: DecodeOptions): FastKernel<DecodeSizes> {
  const { group, d, stored } = options;
  const masked = isMasked(options);
  const { place, counts } = placing(options);
  const count = counting(options);
  const share = headsAtOnce(options);
  const lanes = d / WIDTH;
  const keys = keysAtOnce(stored);
  const apart = THREADS / lanes;
  const step = decodeStep(options);
  const half = stored === 'f16';
  const each2 = (count: number, inner: number, piece: (a: number, b: number) => string): string[] =>
    each(count, (a) => each(inner, (b) => piece(a, b)).join(' '));
  /** Two expressions for the eight elements of x, which is k or v of entry e. */
  const wide = (x: string, e: number): readonly [string, string] => half
    ? [four('f16', `raw_${x}${e}.xy`), four('f16', `raw_${x}${e}.zw`)] : [`raw_${x}${e}`, `raw_${x}${e}_`];
  const read = (x: string, e: number): string => half
    ? `var raw_${x}${e} = ${x}[p${e} * ${lanes} + j];`
    : `var raw_${x}${e} = ${x}[p${e} * ${2 * lanes} + j]; var raw_${x}${e}_ = ${x}[p${e} * ${2 * lanes} + ${lanes} + j];`;
  /** Which two vectors of four elements lane j has, so that lanes read side by side. */
  const [a, b] = half ? ['2 * j', '2 * j + 1'] : ['j', `${lanes} + j`];
  /** Values of entries that do not count may be NaN: zeros take their place. */
  const clean = (e: number): string => half
    ? `raw_v${e} = select(vec4u(), raw_v${e}, ok${e});`
    : `raw_v${e} = select(vec4f(), raw_v${e}, ok${e}); raw_v${e}_ = select(vec4f(), raw_v${e}_, ok${e});`;
  const slot = (e: number): string => `place_of(head, min(k0 + ${e * apart} + mine, end - 1))`;
  const shuffles = each(Math.log2(lanes), (n) =>
    each2(keys, share, (e, h) => `s${e}_${h} += subgroupShuffleXor(s${e}_${h}, ${2 ** n});`).join('\n'));
  const joins = Array.from({ length: Math.log2(32 / lanes) }, (_, n) => lanes * 2 ** n);
  return fastKernel({
    name: `decode attention ${stored}, d = ${d}${masked ? ', masked' : ''}, subgroups`,
    header: decodeHeader(options, `${lanes} lanes share an entry, ${WIDTH} elements each, and ${keys} entries are in flight per lane: ${step} entries a step.
    Each read of k and v serves ${share} query heads. Places are looked up one step ahead.`),
    features: ['subgroups'],
    ...decodeArrays(options, half ? 'vec4u' : 'vec4f'),
    locals: { joined: ['vec4f', SUBGROUPS * share * (d / 4)], joined_stats: ['vec2f', SUBGROUPS * share] },
    threads: THREADS,
    body: wgsl`
const LOWEST = ${LOWEST};
${partition(options, step)}
${place}
${count.local}
${isFresh(options) ? ownFunctions(stored) : ''}
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32,
  @builtin(subgroup_id) sg: u32, @builtin(subgroup_invocation_id) lane: u32
) {
  ${findPart(options)}
  let first = head * ${group} + group.y * ${share};
  let j = lane % ${lanes};
  let mine = sg * ${32 / lanes} + lane / ${lanes};
  ${each(share, (h) => `let q${h} = q[(first + ${h}) * ${d / 4} + ${a}] * (P.scale * 1.4426950408889634); let q${h}_ = q[(first + ${h}) * ${d / 4} + ${b}] * (P.scale * 1.4426950408889634);`)}
  ${each(share, (h) => `var o${h} = vec4f(); var o${h}_ = vec4f(); var m${h} = LOWEST; var l${h} = 0f;`)}
  var k0 = begin;
  ${count.add && 'var seen = 0u;'}
  ${each(keys, (e) => `var p${e} = ${slot(e)};`)}
  while (k0 < end) {
    ${each(keys, (e) => `${read('k', e)} ${read('v', e)}`)}
    ${each(keys, (e) => `let ok${e} = k0 + ${e * apart} + mine < end${masked ? ` && ${counts(`p${e}`)}` : ''};`)}
    ${count.add && `if (j == 0) { ${each(keys, (e) => `seen += u32(ok${e});`).join(' ')} }`}
    ${isFresh(options) ? `if (j == 0) { ${each(keys, (e) => `if (ok${e}) { ${closing(`p${e}`)} }`).join(' ')} }` : ''}
    k0 += ${step};
    ${each(keys, (e) => `p${e} = ${slot(e)};`)}
    ${each(keys, (e) => {
      const [low, high] = wide('k', e);
      return `let ka${e} = ${low}; let kb${e} = ${high};`;
    })}
    ${each2(keys, share, (e, h) => `var s${e}_${h} = dot(ka${e}, q${h}) + dot(kb${e}, q${h}_);`)}
    ${shuffles}
    ${each2(keys, share, (e, h) => `s${e}_${h} = select(LOWEST, s${e}_${h}, ok${e});`)}
    ${each(share, (h) => `{
  let top = max(m${h}, ${each(keys, (e) => `s${e}_${h}`).reduce((a, b) => `max(${a}, ${b})`)});
  let keep = exp2(m${h} - top);
  m${h} = top;
  ${each(keys, (e) => `s${e}_${h} = select(0, exp2(s${e}_${h} - top), ok${e});`).join(' ')}
  l${h} = l${h} * keep + ${each(keys, (e) => `s${e}_${h}`).join(' + ')};
  o${h} *= keep; o${h}_ *= keep;
}`)}
    ${each(keys, (e) => {
      const [low, high] = wide('v', e);
      return `${masked ? clean(e) : ''} { let a = ${low}; let b = ${high}; ${
        each(share, (h) => `o${h} += a * s${e}_${h}; o${h}_ += b * s${e}_${h};`).join(' ')} }`.trim();
    })}
  }
  ${isFresh(options) ? ownToken(options, [a, b]) : ''}
  // The entries of the lanes of a subgroup, then those of the subgroups.
  ${joins.map((by) => each(share, (h) => `{
  let top = max(m${h}, subgroupShuffleXor(m${h}, ${by}));
  let keep = exp2(m${h} - top);
  m${h} = top; l${h} *= keep; o${h} *= keep; o${h}_ *= keep;
  l${h} += subgroupShuffleXor(l${h}, ${by}); o${h} += subgroupShuffleXor(o${h}, ${by}); o${h}_ += subgroupShuffleXor(o${h}_, ${by});
}`).join('\n'))}
  if (lane < ${lanes}) {
    ${each(share, (h) => `joined[(sg * ${share} + ${h}) * ${d / 4} + ${a}] = o${h}; joined[(sg * ${share} + ${h}) * ${d / 4} + ${b}] = o${h}_;`)}
    if (lane == 0) { ${each(share, (h) => `joined_stats[sg * ${share} + ${h}] = vec2f(m${h}, l${h});`).join(' ')} }
  }
  ${count.add}
  workgroupBarrier();
  ${count.store}
  for (var i = t; i < ${share * (d / 4)}; i += ${THREADS}) {
    let h = i / ${d / 4};
    var top = LOWEST;
    ${each(SUBGROUPS, (s) => `top = max(top, joined_stats[${s * share} + h].x);`)}
    var sum = vec4f();
    var l = 0f;
    ${each(SUBGROUPS, (s) => `{ let keep = exp2(joined_stats[${s * share} + h].x - top); sum += joined[${s * share * (d / 4)} + i] * keep; l += joined_stats[${s * share} + h].y * keep; }`)}
    let to = group.x * ${group} + group.y * ${share} + h;
    sums[to * ${d / 4} + i % ${d / 4}] = sum;
    if (i % ${d / 4} == 0) { stats[to] = vec2f(top, l); }
  }
}`,
    workgroups: ({ parts }) => [parts, group / share, 1],
  });
}

/**
 * Takes in the query's own token, the last entry of its head: the lanes that share the first entry of a step do, of
 * which lane j has the elements at `places`. The score passes through all lanes of their subgroup.
 */
function ownToken(options: DecodeOptions, [a, b]: readonly [string, string]): string {
  const { d, stored } = options;
  const share = headsAtOnce(options);
  const lanes = d / WIDTH;
  const own = (x: string, part: string): string => `own_${x}[head * ${d / 4} + ${part}]`;
  const store = (x: string): string => stored === 'f16'
    ? `${x}[slot * ${lanes} + j] = vec4u(stored(${own(x, a)}), stored(${own(x, b)}));`
    : `${x}[slot * ${2 * lanes} + j] = stored(${own(x, a)}); ${x}[slot * ${2 * lanes} + ${lanes} + j] = stored(${own(x, b)});`;
  return wgsl`
if (owns && sg == 0) {
  let ka = held(${own('k', a)}); let kb = held(${own('k', b)});
  ${each(share, (h) => `var s${h} = dot(ka, q${h}) + dot(kb, q${h}_);`)}
  ${each(Math.log2(lanes), (n) => each(share, (h) => `s${h} += subgroupShuffleXor(s${h}, ${2 ** n});`).join(' '))}
  if (lane < ${lanes}) {
    if (j == 0) { seen++; }
    let va = held(${own('v', a)}); let vb = held(${own('v', b)});
    ${each(share, (h) => `{
  let top = max(m${h}, s${h});
  let keep = exp2(m${h} - top);
  let weight = exp2(s${h} - top);
  m${h} = top; l${h} = l${h} * keep + weight; o${h} = o${h} * keep + va * weight; o${h}_ = o${h}_ * keep + vb * weight;
}`)}
    if (group.y == 0) {
      let slot = place_of(head, count(head) - 1);
      ${store('k')}
      ${store('v')}
      if (j == 0) {
        ${OWN_ENTRY}
      }
    }
  }
}`.trim();
}
