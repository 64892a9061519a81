/**
 * §4: the kernel that makes the gradient of the queries by matrix units: attention-dq.ts with factors in float16.
 * @module
 */
import {
  addUnitSums, bringOthers, bringOwn, dropStrange, functions, OTHERS, ownOf, storeUnitSums, threadsOf, unitLocals,
  unitPlaces, unitProducts, unitSums, type UnitTile, weights,
} from './attention-units.ts';
import { enqueueLive, queueLocals } from './attention-queue.ts';
import { fastKernel, type FastKernel, wgsl } from './fast/template.ts';

/** dq for heads of size d. */
export function unitQueryGradients(tile: UnitTile): FastKernel<unknown> {
  const { on, d } = tile;
  const [OWN, THREADS] = [ownOf(tile), threadsOf(tile)];
  return fastKernel({
    name: `attention dq by matrix units, d = ${d}`,
    header: `
      dq[i] = sum_j dS[i,j] k[j] with dS = scale A (do . v - D) and A = exp(scale q . k - lse), over the keys that query i sees  (§4).
      q, dOut, dq are [heads*group,N,${d}]; k, v [heads,N,${d}]; last [heads,N]; rows [heads*group,N] holds (lse, D).
      A workgroup takes ${OWN} queries of one head. It looks through the keys, ${THREADS} at a time, and queues those that any of its queries
      sees; ${OTHERS} queued keys make a tile. attention-units.ts says how subgroups share it. Factors, dS too, are rounded to float16.`,
    features: on.features,
    params: { N: 'u32', group: 'u32', scale: 'f32', skipped: 'u32' },
    inputs: { q: 'vec4f', k: 'vec4f', v: 'vec4f', last: 'u32', rows: 'vec2f', dOut: 'vec4f' },
    outputs: { dq: 'vec4f' },
    locals: {
      ...unitLocals(tile, 1), ...queueLocals(THREADS, OTHERS), spans: ['vec2i', OTHERS],
    },
    threads: THREADS,
    body: wgsl`
${functions}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32${on.parameter}) {
  ${unitPlaces(tile)}
  let base = group.y / P.group * P.N;
  let head = group.y * P.N;
  let begin = (group.x + P.skipped) * ${OWN};
  let count = min(P.N, begin + ${OWN});
  ${bringOwn(tile, 'a', 'q', 'head + min(begin + r, P.N - 1)')}
  ${bringOwn(tile, 'b', 'dOut', 'head + min(begin + r, P.N - 1)')}
  let own = rows[head + min(begin + mine, P.N - 1)];
  let i = i32(begin + mine);
  ${on.left('weight')}
  ${unitSums(tile, ['dq'])}
  var queued = 0u;
  for (var start = 0u; start < count; start += ${THREADS}) {
    ${enqueueLive(THREADS)}
    let ending = start + ${THREADS} >= count;
    var taken = 0u;
    while (queued - taken >= ${OTHERS} || (ending && taken < queued)) {
      let length = min(${OTHERS}, queued - taken);
      ${bringOthers(tile, ['k', 'v'], 'base + queue[taken + min(r, length - 1)]')}
      if (t < ${OTHERS}) {
        let key = queue[taken + min(t, length - 1)];
        // What is beyond the last key of the queue, nobody sees.
        spans[t] = vec2i(i32(key), select(-1, bitcast<i32>(last[base + key]), t < length));
      }
      workgroupBarrier();
      ${unitProducts(tile)}
      workgroupBarrier();
      ${dropStrange(tile)}
      ${weights(tile, ['w'], (e) => ({
    before: `let span${e} = spans[theirs + ${e}];`,
    values: [`select(0.0, P.scale * exp(P.scale * score${e} - own.x) * (slope${e} - own.y), i >= span${e}.x && i <= span${e}.y)`],
  }))}
      workgroupBarrier();
      if (t == 0) { atomicStore(&bad[0], 0); }
      ${addUnitSums(tile, [['dq', 'w', 'x']])}
      taken += length;
      workgroupBarrier();
    }
    let left = queued - taken;
    if (t == 0) { for (var n = 0u; n < left; n++) { queue[n] = queue[taken + n]; } }
    queued = left;
  }
  ${storeUnitSums(tile, [['dq', 'dq']], 'begin + mine < P.N', 'head + begin + mine')}
}`,
    workgroups: () => [1, 1, 1],
  });
}
