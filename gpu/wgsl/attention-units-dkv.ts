/**
 * §4: the kernel that makes the gradients of the keys and values by matrix units: attention-dkv.ts with factors in
 * float16.
 * @module
 */
import {
  addUnitSums, bringOthers, bringOwn, dropStrange, functions, OTHERS, ownOf, storeUnitSums, threadsOf, unitLocals,
  unitPlaces, unitProducts, unitSums, type UnitTile, weights,
} from './attention-units.ts';
import { fastKernel, type FastKernel, wgsl } from './fast/template.ts';

/** dk and dv for heads of size d. */
export function unitKeyGradients(tile: UnitTile): FastKernel<unknown> {
  const { on, d } = tile;
  const [OWN, THREADS] = [ownOf(tile), threadsOf(tile)];
  return fastKernel({
    name: `attention dk, dv by matrix units, d = ${d}`,
    header: `
      dk[j] = sum_i dS[i,j] q[i] and dv[j] = sum_i A[i,j] do[i], over the queries i of all heads of the group that see key j, with
      A = exp(scale q . k - lse) and dS = scale A (do . v - D)  (§4). rows holds (lse, D) of every query.
      q, dOut are [heads*group,N,${d}]; k, v, dk, dv [heads,N,${d}]; order [heads,N] holds (key, last query); rows [heads*group,N].
      A workgroup takes ${OWN} keys of one head, in the order of \`order\`; queries come ${OTHERS} at a time, from the first key up to the last
      query that sees any of the keys. attention-units.ts says how subgroups share the pairs. Factors, A and dS too, are
      rounded to float16.`,
    features: on.features,
    params: { N: 'u32', group: 'u32', scale: 'f32', skipped: 'u32' },
    inputs: { q: 'vec4f', k: 'vec4f', v: 'vec4f', rows: 'vec2f', dOut: 'vec4f', order: 'vec2i' },
    outputs: { dk: 'vec4f', dv: 'vec4f' },
    locals: {
      ...unitLocals(tile, 2), keys: ['vec2i', OWN], stats: ['vec2f', OTHERS], range: ['atomic<u32>', 2], bounds: ['u32', 2],
    },
    threads: THREADS,
    body: wgsl`
${functions}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32${on.parameter}) {
  ${unitPlaces(tile)}
  let base = group.y * P.N;
  let begin = (group.x + P.skipped) * ${OWN};
  // Of the keys: N - the first one, and 1 + the last query of any.
  if (t < ${OWN}) {
    let key = order[base + min(begin + t, P.N - 1)];
    let until = min(key.y, i32(P.N) - 1);
    keys[t] = vec2i(key.x, until);
    if (begin + t < P.N) {
      atomicMax(&range[0], P.N - u32(key.x));
      if (until >= key.x) { atomicMax(&range[1], u32(until + 1)); }
    }
  }
  workgroupBarrier();
  if (t < 2) { bounds[t] = atomicLoad(&range[t]); }
  let end = workgroupUniformLoad(&bounds[1]);
  let first = P.N - workgroupUniformLoad(&bounds[0]);
  ${bringOwn(tile, 'a', 'k', 'base + u32(keys[r].x)')}
  ${bringOwn(tile, 'b', 'v', 'base + u32(keys[r].x)')}
  let key = keys[mine];
  ${on.left('weight')}
  ${unitSums(tile, ['dk', 'dv'])}
  for (var h = 0u; h < P.group; h++) {
    let head = (group.y * P.group + h) * P.N;
    for (var start = first; start < end; start += ${OTHERS}) {
      ${bringOthers(tile, ['q', 'dOut'], 'head + min(start + r, P.N - 1)')}
      if (t < ${OTHERS}) { stats[t] = rows[head + min(start + t, P.N - 1)]; }
      workgroupBarrier();
      ${unitProducts(tile)}
      workgroupBarrier();
      ${dropStrange(tile)}
      ${weights(tile, ['w', 'u'], (e) => ({
    before: wgsl`
let i${e} = i32(start + theirs + ${e});
let seen${e} = i${e} >= key.x && i${e} <= key.y;
let stat${e} = stats[theirs + ${e}];`.trim(),
    values: [
      `select(0.0, exp(P.scale * score${e} - stat${e}.x), seen${e})`,
      `select(0.0, P.scale * w${e} * (slope${e} - stat${e}.y), seen${e})`,
    ],
  }))}
      workgroupBarrier();
      if (t == 0) { atomicStore(&bad[0], 0); }
      ${addUnitSums(tile, [['dk', 'u', 'x'], ['dv', 'w', 'y']])}
      workgroupBarrier();
    }
  }
  ${storeUnitSums(tile, [['dk', 'dk'], ['dv', 'dv']], 'begin + mine < P.N', 'base + u32(key.x)')}
}`,
    workgroups: () => [1, 1, 1],
  });
}
