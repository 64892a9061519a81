/**
 * §4: the log-sum-exp over all causal keys, by which rule `bounded` weighs hidden ones.
 * @module
 */
import {
  bring, elementOf, oncePerTile, otherRows, ownRows, pairLocals, type PairTile, places, products, reader, threads,
} from './attention-pairs.ts';
import { each, fastKernel, type FastKernel, wgsl } from './fast/template.ts';

/** lse over the keys i - reach <= j <= i. */
export const causalSums: (tile: PairTile) => FastKernel<unknown> = oncePerTile((tile) => {
  const [OWN, OTHERS, THREADS] = [ownRows(tile), otherRows(tile), threads(tile)];
  const element = elementOf(tile.d);
  return fastKernel({
    name: `causal log-sum-exp, d = ${tile.d}, ${OWN} queries by ${OTHERS} keys`,
    header: `
      lse[i] = log sum_j exp(scale q[i] . k[j]) over i - reach <= j <= i, whether query i sees key j or not  (§4).
      q is [heads*group,N,${tile.d}], k [heads,N,${tile.d}], lse [heads*group,N].
      A workgroup takes ${OWN} queries of one head, and keys ${OTHERS} at a time. Each thread keeps the largest score and the sum of those
      pairs that it computes; these meet at the end.`,
    params: { N: 'u32', group: 'u32', reach: 'u32', scale: 'f32', skipped: 'u32' },
    inputs: { q: element, k: element },
    outputs: { lse: 'f32' },
    locals: { ...pairLocals(tile, 1, 0), tops: ['vec4f', THREADS], sums: ['vec4f', THREADS] },
    threads: THREADS,
    body: wgsl`
const LOWEST = -3.4028234e38f;
${reader('q', tile)}
${reader('k', tile)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  ${places(tile)}
  let base = group.y / P.group * P.N;
  let head = group.y * P.N;
  let begin = (group.x + P.skipped) * ${OWN};
  let end = min(P.N, begin + ${OWN});
  ${bring(tile, 'own', 'head + min(begin + r, P.N - 1)', { a: 'q' })}
  let i = vec4u(begin + mine) + vec4u(0, ${each(3, (j) => String(tile.own * (j + 1))).join(', ')});
  var top = vec4f(LOWEST);
  var sum = vec4f();
  for (var start = select(0, begin - P.reach, begin > P.reach); start < end; start += ${OTHERS}) {
    ${bring(tile, 'others', 'base + min(start + r, P.N - 1)', { x: 'k' })}
    workgroupBarrier();
    ${products(tile, 1)}
    ${each(tile.each, (i) => wgsl`
let j${i} = start + theirs + ${tile.others * i};
let seen${i} = (vec4u(j${i}) <= i) & (i <= vec4u(j${i} + P.reach));
s${i} = select(vec4f(LOWEST), P.scale * s${i}, seen${i});`.trim())}
    let more = max(top, ${each(tile.each, (i) => `s${i}`).reduce((a, b) => `max(${a}, ${b})`)});
    sum = sum * exp(top - more)${each(tile.each, (i) => ` + select(vec4f(), exp(s${i} - more), seen${i})`).join('')};
    top = more;
    workgroupBarrier();
  }
  tops[theirs * ${tile.own} + mine] = top;
  sums[theirs * ${tile.own} + mine] = sum;
  workgroupBarrier();
  for (var n = t; n < ${OWN}; n += ${THREADS}) {
    let at = n % ${tile.own};
    let j = n / ${tile.own};
    var all = LOWEST;
    for (var o = 0u; o < ${tile.others}; o++) { all = max(all, tops[o * ${tile.own} + at][j]); }
    var total = 0f;
    for (var o = 0u; o < ${tile.others}; o++) { total += sums[o * ${tile.own} + at][j] * exp(tops[o * ${tile.own} + at][j] - all); }
    if (begin + n < P.N) { lse[head + begin + n] = all + log(total); }
  }
}`,
    workgroups: () => [1, 1, 1],
  });
});
