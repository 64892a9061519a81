/**
 * §4: the kernel that makes the gradient of the queries.
 * @module
 */
import {
  addSums, bring, declareSums, elementOf, oncePerTile, otherRows, ownRows, pairLocals, type PairTile, places, products,
  reader, storeSums, threads, writer,
} from './attention-pairs.ts';
import { enqueueLive, queueLocals } from './attention-queue.ts';
import { each, fastKernel, type FastKernel, wgsl } from './fast/template.ts';

/** dq. */
export const queryGradients: (tile: PairTile) => FastKernel<unknown> = oncePerTile((tile) => {
  const [OWN, OTHERS, THREADS] = [ownRows(tile), otherRows(tile), threads(tile)];
  const element = elementOf(tile.d);
  return fastKernel({
    name: `attention dq, d = ${tile.d}, ${OWN} queries by ${OTHERS} keys`,
    header: `
      dq[i] = sum_j dS[i,j] k[j] with dS = scale A (do . v - D) and A = exp(scale q . k - lse), over the keys that query i sees  (§4).
      q, dOut, dq are [heads*group,N,${tile.d}]; k, v [heads,N,${tile.d}]; last [heads,N]; rows [heads*group,N] holds (lse, D).
      A workgroup takes ${OWN} queries of one head. It looks through the keys, ${THREADS} at a time, and queues those that any of its queries
      sees; ${OTHERS} queued keys make a tile. attention-pairs.ts says how threads share the pairs.`,
    params: { N: 'u32', group: 'u32', scale: 'f32', skipped: 'u32' },
    inputs: { q: element, k: element, v: element, last: 'u32', rows: 'vec2f', dOut: element },
    outputs: { dq: element },
    locals: {
      ...pairLocals(tile, 2, 1), ...queueLocals(THREADS, OTHERS), spans: ['vec2i', OTHERS],
      hidden: ['atomic<u32>', 1],
    },
    threads: THREADS,
    body: wgsl`
${reader('q', tile)}
${reader('k', tile)}
${reader('v', tile)}
${reader('dOut', tile)}
${writer('dq', tile)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  ${places(tile)}
  let base = group.y / P.group * P.N;
  let head = group.y * P.N;
  let begin = (group.x + P.skipped) * ${OWN};
  let count = min(P.N, begin + ${OWN});
  let newest = i32(count) - 1;
  ${bring(tile, 'own', 'head + min(begin + r, P.N - 1)', { a: 'q', b: 'dOut' })}
  ${each(4, (j) => `let own${j} = rows[head + min(begin + mine + ${tile.own * j}, P.N - 1)];`)}
  let lse = vec4f(own0.x, own1.x, own2.x, own3.x);
  let D = vec4f(own0.y, own1.y, own2.y, own3.y);
  let i = vec4i(i32(begin + mine)) + vec4i(0, ${each(3, (j) => String(tile.own * (j + 1))).join(', ')});
  ${declareSums(tile, ['dq'])}
  var queued = 0u;
  for (var start = 0u; start < count; start += ${THREADS}) {
    ${enqueueLive(THREADS)}
    let ending = start + ${THREADS} >= count;
    var taken = 0u;
    while (queued - taken >= ${OTHERS} || (ending && taken < queued)) {
      let length = min(${OTHERS}, queued - taken);
      ${bring(tile, 'others', 'base + queue[taken + min(r, length - 1)]', { x: 'k', y: 'v' })}
      if (t == 0) { atomicStore(&hidden[0], 0); }
      workgroupBarrier();
      for (var n = t; n < ${OTHERS}; n += ${THREADS}) {
        let key = queue[taken + min(n, length - 1)];
        // What is beyond the last key of the queue, nobody sees.
        let until = select(-1, bitcast<i32>(last[base + key]), n < length);
        spans[n] = vec2i(i32(key), until);
        if (key > begin || until < newest) { atomicStore(&hidden[0], 1); }
      }
      workgroupBarrier();
      ${products(tile, 2)}
      ${each(tile.each, (i) => wgsl`
{
  let o = theirs + ${tile.others * i};
  let seen = (i >= vec4i(spans[o].x)) & (i <= vec4i(spans[o].y));
  w[o * ${tile.own} + mine] = select(vec4f(), P.scale * exp(P.scale * s${i} - lse) * (p${i} - D), seen);
}`.trim())}
      let mixed = atomicLoad(&hidden[0]) > 0;
      workgroupBarrier();
      ${addSums(tile, [['dq', 'w', 'x']])}
      taken += length;
      workgroupBarrier();
    }
    let left = queued - taken;
    if (t == 0) { for (var n = 0u; n < left; n++) { queue[n] = queue[taken + n]; } }
    queued = left;
  }
  ${storeSums(tile, [['dq', 'dq']], (j) => `begin + row + ${tile.own * j} < P.N`, (j) => `head + begin + row + ${tile.own * j}`)}
}`,
    workgroups: () => [1, 1, 1],
  });
});
