/**
 * Attention of many queries by the matrix units of a GPU: float16 products, float32 sums, over lists of visible keys
 * (prefill-lists.ts).
 * @module
 */
import { KEY_AT, type PrefillSizes } from './prefill-lists.ts';
import { each, fastKernel, type FastKernel, wgsl } from './template.ts';

export interface PrefillOptions {
  /** Query heads per KV head, H/G. */
  readonly group: number;
  /** A multiple of 32, at most 128. */
  readonly d: number;
  /** How queries are stored; keys and values are float16. */
  readonly queries: 'f32' | 'f16';
}

const THREADS = 256;
/** Keys at a time. */
const KEYS = 32;
/** Rows of 16 scores are padded to 20 floats, so that those of a 16x16 part lie in different banks. */
const ROW = 5;

/** Whether a head size has a kernel here. */
export function hasPrefillMatrix(d: number): boolean {
  return [32, 64, 96, 128].includes(d);
}

/** Query heads that a workgroup serves with the same keys. */
function headsAtOnce(group: number): 1 | 2 | 4 {
  return group % 4 === 0 ? 4 : group % 2 === 0 ? 2 : 1;
}

/** Queries per tile of the lists. */
export function prefillTile(group: number): number {
  return 128 / headsAtOnce(group);
}

/** out and lse of attention. */
export function prefillMatrix({ group, d, queries }: PrefillOptions): FastKernel<PrefillSizes> {
  const share = headsAtOnce(group);
  const tile = prefillTile(group);
  const across = d / 8;
  const stride = across + 1;
  const units = Math.ceil((KEYS * across) / THREADS);
  const whole = (KEYS * across) % THREADS === 0;
  const columns = d / 32;
  const sums = each(2 * columns, (n) => `o${Math.floor(n / columns)}_${n % columns}`);
  const unit = (n: number): string => `(t + ${n * THREADS})`;
  const guard = (n: number, text: string): string => (whole ? text : `if (${unit(n)} < ${KEYS * across}) { ${text} }`);
  const keyOf = (n: number, at: string): string => `key_at(tile, (${at}) * ${KEYS} + ${unit(n)} / ${across})`;
  const address = (key: string, n: number): string => `(tile.base + ${key}) * ${across} + ${unit(n)} % ${across}`;
  // Each subgroup of a pair reads its own array, so that the places of 16x16 parts are constants: then bounds need no
  // checks.
  const key = (i: string): string => `key_tile[${i} / ${16 * across}][${i} / ${across} % 16 * ${stride} + ${i} % ${across}]`;
  const value = (i: string): string =>
    `value_tile[${i} % ${across} / ${across / 2}][${i} / ${across} * ${across / 2 + 1} + ${i} % ${across / 2}]`;
  const lanes16 = each(4, (n) => each(4, (i) => `e${n}[${i}]`).join(' ')).join(' ').split(' ');
  const left = 'subgroup_matrix_left<f16, 16, 16>';
  const right = 'subgroup_matrix_right<f16, 16, 16>';
  const result = 'subgroup_matrix_result<f32, 16, 16>';
  const fetchQuery = queries === 'f16' ? 'q[at]' : 'halves(q[2 * at], q[2 * at + 1])';
  return fastKernel({
    name: `prefill attention by matrix units, d = ${d}, ${group} query heads per KV head`,
    header: `
      out[h,x] = sum_j A[x,j] v[j], A = softmax of scale q[h,x] . k[j] over the keys j that x sees; lse[h,x] = log of the sum
      q is [heads*${group},T,${d}] ${queries}, k and v are [heads,keys,${d}] f16, out is [heads*${group},T,${d}] f32, lse [heads*${group},T] f32.
      A workgroup takes ${tile} queries and ${share} heads with the same keys: 128 rows. 8 subgroups work in pairs, 32 rows each: of the
      scores with ${KEYS} keys a subgroup computes 16 columns, of the output ${d / 2}. Indices, keys and values are fetched ahead.
      By turns of two, grown says whether a maximum grew and broken which keys have values that are not finite.
      Maxima are stale: sums are only scaled when a maximum grew by more than 8 (binary), so weights stay below 256.
      Of keys that only some rows see, a value that is not finite is taken out of the product and makes the scores of the
      rows that see it NaN.`,
    features: ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'],
    params: { T: 'u32', keys: 'u32', heads: 'u32', tiles: 'u32', first: 'u32', room: 'u32', scale: 'f32' },
    inputs: { q: queries === 'f16' ? 'vec4u' : 'vec4f', k: 'vec4u', v: 'vec4u', lists: 'u32', records: 'vec4u', last: 'u32' },
    outputs: { out: 'vec4f', lse: 'f32' },
    locals: {
      key_tile: ['vec4u', 16 * stride, 2], value_tile: ['vec4u', KEYS * (across / 2 + 1), 2],
      scores: ['vec4f', 32 * ROW, 8], weights: ['vec4u', 32 * 5, 4], spans: ['vec2u', KEYS],
      grown: ['atomic<u32>', 2], broken: ['atomic<u32>', 2],
    },
    threads: THREADS,
    body: wgsl`
const LOWEST = -3.4028234e38f;
${KEY_AT}
fn halves(a: vec4f, b: vec4f) -> vec4u {
  return vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}
fn finite(x: vec4u) -> bool {
  return all((x & vec4u(0x7c00)) != vec4u(0x7c00)) && all((x & vec4u(0x7c000000)) != vec4u(0x7c000000));
}
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32,
  @builtin(subgroup_id) sg: u32, @builtin(subgroup_invocation_id) lane: u32
) {
  let head = group.y;
  // Later tiles have more keys, so they come first.
  let number = P.tiles - 1 - group.x;
  let tile = tile_of(head, number);
  let pair = sg / 2;
  let side = sg % 2;
  let query_head = head * ${group} + group.z * ${share};
  let t0 = (P.first + number) * ${tile};
  let row = lane / 2;
  let half = lane % 2;
  let x = tile.x0 + pair / ${share} * 32 + side * 16 + row;
  let scale = P.scale * 1.4426950408889634;

  // Queries become left factors by way of the key tile, the rows of a pair at a time.
  ${each(across / 2, (c) => `var q0_${c}: ${left}; var q1_${c}: ${left};`)}
  for (var p = 0u; p < 4; p++) {
    workgroupBarrier();
    for (var i = t; i < ${32 * across}; i += ${THREADS}) {
      let at = ((query_head + p % ${share}) * P.T + min(t0 + p / ${share} * 32 + i / ${across}, P.T - 1)) * ${across} + i % ${across};
      ${key('i')} = ${fetchQuery};
    }
    workgroupBarrier();
    if (p == pair) {
      ${each(across / 2, (c) => each(2, (r) => `q${r}_${c} = subgroupMatrixLoad<${left}, row_major>(&key_tile[${r}], ${2 * c}, ${stride});`).join(' '))}
    }
  }
  ${sums.map((o) => `var ${o} = ${result}();`)}
  var m = LOWEST / 2;
  var l = 0f;
  if (t < 2) { atomicStore(&grown[t], 0); atomicStore(&broken[t], 0); }
  let turns = (tile.all + ${KEYS - 1}) / ${KEYS};
  let unmasked = tile.full / ${KEYS};
  ${each(units, (n) => `var k${n}: vec4u; var v${n}: vec4u; var now${n} = ${keyOf(n, '0')}; var next${n} = ${keyOf(n, '1')}; var then${n} = ${keyOf(n, '2')};`)}
  workgroupBarrier();
  ${each(units, (n) => guard(n, `${key(unit(n))} = k[${address(`now${n}`, n)}];`))}
  ${each(units, (n) => guard(n, `v${n} = v[${address(`now${n}`, n)}]; k${n} = k[${address(`next${n}`, n)}];`))}
  var span = vec2u();
  var soon = 0u;
  if (t < ${KEYS}) {
    let j = key_at(tile, t);
    span = vec2u(j, last[tile.base + j]);
    soon = key_at(tile, ${KEYS} + t);
  }
  workgroupBarrier();

  for (var turn = 0u; turn < turns; turn++) {
    let odd = turn % 2;
    let masked = turn >= unmasked;
    // Scores of 32 rows with 16 keys.
    {
      var s0 = ${result}();
      var s1 = ${result}();
      ${each(across / 2, (c) => `{ let b = subgroupMatrixLoad<${right}, col_major>(&key_tile[side], ${2 * c}, ${stride}); s0 = subgroupMatrixMultiplyAccumulate(q0_${c}, b, s0); s1 = subgroupMatrixMultiplyAccumulate(q1_${c}, b, s1); }`)}
      subgroupMatrixStore<row_major>(&scores[sg], 0, s0, ${ROW});
      subgroupMatrixStore<row_major>(&scores[sg], ${16 * ROW}, s1, ${ROW});
    }
    if (masked) {
      ${each(units, (n) => guard(n, `if (!finite(v${n})) { v${n} = vec4u(); atomicOr(&broken[odd], 1u << (${unit(n)} / ${across})); }`))}
    }
    if (t < ${KEYS}) {
      spans[t] = select(vec2u(0xffffffff, 0), span, turn * ${KEYS} + t < tile.all);
      span = vec2u(soon, last[tile.base + soon]);
      soon = key_at(tile, (turn + 2) * ${KEYS} + t);
    }
    workgroupBarrier(); // scores and spans are there, keys are used up
    ${each(units, (n) => guard(n, `${value(unit(n))} = v${n}; ${key(unit(n))} = k${n};`))}
    if (t == 0) { atomicStore(&grown[1 - odd], 0); atomicStore(&broken[1 - odd], 0); }
    ${each(units, (n) => guard(n, `v${n} = v[${address(`next${n}`, n)}]; k${n} = k[${address(`then${n}`, n)}];`))}
    ${each(units, (n) => `next${n} = then${n}; then${n} = ${keyOf(n, 'turn + 3')};`)}
    // Weights: two lanes have a row, 16 keys each.
    ${each(4, (n) => `var e${n} = scores[pair * 2 + half][(side * 16 + row) * ${ROW} + ${n}] * scale;`)}
    if (masked) {
      let bad = atomicLoad(&broken[odd]) >> (half * 16);
      let nan = bitcast<f32>(select(0u, 0x7fc00000u, bad != 0));
      ${lanes16.map((e, i) => `{ let j = spans[half * 16 + ${i}]; ${e} = select(LOWEST, select(${e}, nan, (bad & ${2 ** i}) != 0), j.x <= x && x <= j.y); }`)}
    }
    let tops = max(max(e0, e1), max(e2, e3));
    var top = max(max(tops.x, tops.y), max(tops.z, tops.w));
    top = max(top, subgroupShuffleXor(top, 1));
    let grows = top > m + 8;
    let reference = select(m, top, grows);
    let keep = exp2(m - reference);
    m = reference;
    l *= keep;
    if (half == 0) { weights[pair][(side * 16 + row) * 5 + 4].x = bitcast<u32>(keep); }
    if (grows && turn > 0) { atomicStore(&grown[odd], 1); }
    ${each(4, (n) => `e${n} = exp2(e${n} - m);`).join(' ')}
    l += dot(e0 + e1 + e2 + e3, vec4f(1));
    weights[pair][(side * 16 + row) * 5 + half * 2] = halves(e0, e1);
    weights[pair][(side * 16 + row) * 5 + half * 2 + 1] = halves(e2, e3);
    // A barrier: weights, values and the next keys are there.
    if (workgroupUniformLoad(&grown[odd]) != 0) {
      let own = row * ${ROW} + half * 2;
      ${sums.map((o, n) => wgsl`
subgroupMatrixStore<row_major>(&scores[sg], 0, ${o}, ${ROW});
workgroupBarrier();
{ let keep = bitcast<f32>(weights[pair][(${16 * Math.floor(n / columns)} + row) * 5 + 4].x); scores[sg][own] *= keep; scores[sg][own + 1] *= keep; }
workgroupBarrier();
${o} = subgroupMatrixLoad<${result}, row_major>(&scores[sg], 0, ${ROW});
workgroupBarrier();`.trim())}
    }
    ${each(KEYS / 16, (kk) => wgsl`
{
  let p0 = subgroupMatrixLoad<${left}, row_major>(&weights[pair], ${2 * kk}, 5);
  let p1 = subgroupMatrixLoad<${left}, row_major>(&weights[pair], ${80 + 2 * kk}, 5);
  ${each(columns, (c) => `{ let b = subgroupMatrixLoad<${right}, row_major>(&value_tile[side], ${16 * kk * (across / 2 + 1) + 2 * c}, ${across / 2 + 1}); o0_${c} = subgroupMatrixMultiplyAccumulate(p0, b, o0_${c}); o1_${c} = subgroupMatrixMultiplyAccumulate(p1, b, o1_${c}); }`)}
}`.trim())}
  }

  l += subgroupShuffleXor(l, 1);
  let out_head = query_head + pair % ${share};
  let out_row = t0 + pair / ${share} * 32;
  workgroupBarrier();
  if (half == 0) {
    weights[pair][(side * 16 + row) * 5 + 4].x = bitcast<u32>(1 / l);
    if (out_row + side * 16 + row < P.T) { lse[out_head * P.T + out_row + side * 16 + row] = (m + log2(l)) * 0.6931471805599453; }
  }
  let own = row * ${ROW} + half * 2;
  ${sums.map((o, n) => wgsl`
workgroupBarrier();
subgroupMatrixStore<row_major>(&scores[sg], 0, ${o}, ${ROW});
workgroupBarrier();
if (out_row + ${16 * Math.floor(n / columns)} + row < P.T) {
  let share_of = bitcast<f32>(weights[pair][(${16 * Math.floor(n / columns)} + row) * 5 + 4].x);
  let to = (out_head * P.T + out_row + ${16 * Math.floor(n / columns)} + row) * ${d / 4} + side * ${d / 8} + ${4 * (n % columns)} + half * 2;
  out[to] = scores[sg][own] * share_of;
  out[to + 1] = scores[sg][own + 1] * share_of;
}`.trim())}
}`,
    workgroups: ({ heads, tiles }) => [tiles, heads, group / share],
  });
}
