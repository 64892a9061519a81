/**
 * §4: the kernels that make the gradients of the keys and values.
 * @module
 */
import {
  addSums, bring, declareSums, elementOf, oncePerTile, otherRows, ownRows, pairLocals, type PairTile, places, products,
  reader, storeSums, threads, writer,
} from './attention-pairs.ts';
import { each, fastKernel, type FastKernel, wgsl } from './fast/template.ts';
import { type Template, template } from './template.ts';

/** Keys that live for more queries than this come first: so tiles of the others have few queries. */
export const LONG = 128;

/** order [heads,N]: the keys of each head with their lifetimes, those that live long first, else by their places. */
export const KEY_ORDER: Template<'LANES'> = template('key order', `
// order[head, n] = (j, last[head, j]) of the n-th key of a head: first those with last[head, j] - j > long, then the others, each by j.
// A workgroup for each head, which counts the former and then goes through the keys again, LANES at a time.
struct Params { N: u32, long: i32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> last: array<i32>;
@group(0) @binding(2) var<storage, read_write> order: array<vec2i>;

const LANES = $LANESu;
const WORDS = (LANES + 31u) / 32u;
var<workgroup> count: atomic<u32>;
var<workgroup> marks: array<atomic<u32>, WORDS>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let base = group.x * p.N;
  for (var j = lane; j < p.N; j += LANES) {
    if (last[base + j] - i32(j) > p.long) { atomicAdd(&count, 1u); }
  }
  workgroupBarrier();
  var long = 0u;                        // keys so far
  var short = atomicLoad(&count);
  for (var start = 0u; start < p.N; start += LANES) {
    let j = start + lane;
    let isLong = j < p.N && last[base + min(j, p.N - 1u)] - i32(j) > p.long;
    if (lane < WORDS) { atomicStore(&marks[lane], 0u); }
    workgroupBarrier();
    if (isLong) { atomicOr(&marks[lane / 32u], 1u << (lane % 32u)); }
    workgroupBarrier();
    var before = 0u;
    var all = 0u;
    for (var word = 0u; word < WORDS; word++) {
      let marked = atomicLoad(&marks[word]);
      all += countOneBits(marked);
      if (word < lane / 32u) { before += countOneBits(marked); }
      if (word == lane / 32u) { before += countOneBits(marked & ((1u << (lane % 32u)) - 1u)); }
    }
    if (j < p.N) { order[base + select(short + lane - before, long + before, isLong)] = vec2i(i32(j), last[base + j]); }
    long += all;
    short += min(LANES, p.N - start) - all;
    workgroupBarrier();
  }
}`, 'LANES');

/** dk and dv. */
export const keyGradients: (tile: PairTile) => FastKernel<unknown> = oncePerTile((tile) => {
  const [OWN, OTHERS, THREADS] = [ownRows(tile), otherRows(tile), threads(tile)];
  const element = elementOf(tile.d);
  return fastKernel({
    name: `attention dk, dv, d = ${tile.d}, ${OWN} keys by ${OTHERS} queries`,
    header: `
      dk[j] = sum_i dS[i,j] q[i] and dv[j] = sum_i A[i,j] do[i], over the queries i of all heads of the group that see key j, with
      A = exp(scale q . k - lse) and dS = scale A (do . v - D)  (§4). rows holds (lse, D) of every query.
      q, dOut are [heads*group,N,${tile.d}]; k, v, dk, dv [heads,N,${tile.d}]; order [heads,N] holds (key, last query); rows [heads*group,N].
      A workgroup takes ${OWN} keys of one head, in the order of \`order\`; queries come ${OTHERS} at a time, from the first key up to the last
      query that sees any of the keys. attention-pairs.ts says how threads share the pairs.`,
    params: { N: 'u32', group: 'u32', scale: 'f32', skipped: 'u32' },
    inputs: { q: element, k: element, v: element, rows: 'vec2f', dOut: element, order: 'vec2i' },
    outputs: { dk: element, dv: element },
    locals: {
      ...pairLocals(tile, 2, 2), keys: ['vec2i', OWN], stats: ['vec2f', OTHERS], range: ['atomic<u32>', 4], bounds: ['u32', 4],
    },
    threads: THREADS,
    body: wgsl`
${reader('q', tile)}
${reader('k', tile)}
${reader('v', tile)}
${reader('dOut', tile)}
${writer('dk', tile)}
${writer('dv', tile)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  ${places(tile)}
  let base = group.y * P.N;
  let begin = (group.x + P.skipped) * ${OWN};
  // Of the keys: N - the first one, the last one, 1 + the last query of any, and N - 1 - the last query of all.
  for (var n = t; n < ${OWN}; n += ${THREADS}) {
    let key = order[base + min(begin + n, P.N - 1)];
    let j = u32(key.x);
    let until = min(key.y, i32(P.N) - 1);
    keys[n] = vec2i(key.x, until);
    if (begin + n < P.N) {
      atomicMax(&range[0], P.N - j);
      atomicMax(&range[1], j);
      if (until >= key.x) { atomicMax(&range[2], u32(until + 1)); }
      atomicMax(&range[3], u32(i32(P.N) - 1 - until));
    }
  }
  workgroupBarrier();
  if (t < 4) { bounds[t] = atomicLoad(&range[t]); }
  let end = workgroupUniformLoad(&bounds[2]);
  let first = P.N - workgroupUniformLoad(&bounds[0]);
  let newest = workgroupUniformLoad(&bounds[1]);
  let soonest = i32(P.N) - 1 - i32(workgroupUniformLoad(&bounds[3]));
  ${bring(tile, 'own', 'base + u32(keys[r].x)', { a: 'k', b: 'v' })}
  ${each(4, (j) => `let key${j} = keys[mine + ${tile.own * j}];`)}
  ${declareSums(tile, ['dk', 'dv'])}
  for (var h = 0u; h < P.group; h++) {
    let head = (group.y * P.group + h) * P.N;
    for (var start = first; start < end; start += ${OTHERS}) {
      ${bring(tile, 'others', 'head + min(start + r, P.N - 1)', { x: 'q', y: 'dOut' })}
      for (var n = t; n < ${OTHERS}; n += ${THREADS}) { stats[n] = rows[head + min(start + n, P.N - 1)]; }
      workgroupBarrier();
      ${products(tile, 2)}
      ${each(tile.each, (i) => wgsl`
{
  let o = theirs + ${tile.others * i};
  let i = i32(start + o);
  let seen = vec4<bool>(${each(4, (j) => `i >= key${j}.x && i <= key${j}.y`).join(', ')});
  let weight = select(vec4f(), exp(P.scale * s${i} - stats[o].x), seen);
  w[o * ${tile.own} + mine] = weight;
  u[o * ${tile.own} + mine] = select(vec4f(), P.scale * weight * (p${i} - stats[o].y), seen);
}`.trim())}
      let mixed = newest > start || soonest < i32(start + ${OTHERS - 1});
      workgroupBarrier();
      ${addSums(tile, [['dk', 'u', 'x'], ['dv', 'w', 'y']])}
      workgroupBarrier();
    }
  }
  ${storeSums(tile, [['dk', 'dk'], ['dv', 'dv']], (j) => `begin + row + ${tile.own * j} < P.N`, (j) => `base + u32(keys[row + ${tile.own * j}].x)`)}
}`,
    workgroups: () => [1, 1, 1],
  });
});
