/**
 * Attention of many queries in core WGSL and float32, over lists of visible keys (prefill-lists.ts).
 * @module
 */
import { KEY_AT, type PrefillSizes } from './prefill-lists.ts';
import { FOUR, four, ONE, one } from './stored.ts';
import { each, fastKernel, type FastKernel, wgsl } from './template.ts';

export interface PortablePrefillOptions {
  /** Query heads per KV head, H/G. */
  readonly group: number;
  /** At most 256. */
  readonly d: number;
  /** How keys and values are stored. */
  readonly stored: 'f32' | 'f16';
}

const THREADS = 256;
/** Rows (queries of some heads), and keys at a time. */
const [ROWS, KEYS] = [64, 32];
/** Elements of queries and keys that are multiplied at a time. */
const DEPTH = 16;
const STRIDE = ROWS / 4 + 1;

/** Query heads that a workgroup serves with the same keys. */
function headsAtOnce(group: number): 1 | 2 | 4 {
  return group % 4 === 0 ? 4 : group % 2 === 0 ? 2 : 1;
}

/** Queries per tile of the lists. */
export function portableTile(group: number): number {
  return ROWS / headsAtOnce(group);
}

/** out and lse of attention. */
export function prefillAttention({ group, d, stored }: PortablePrefillOptions): FastKernel<PrefillSizes> {
  if (d > 256) throw new RangeError(`heads of size ${d} exceed 256`);
  const share = headsAtOnce(group);
  const tile = portableTile(group);
  const across = Math.ceil(d / 4);
  const columns = Math.ceil(across / 16);
  const values = across <= 50 ? 8 : 4;
  const aligned = d % 4 === 0;
  const read = (name: 'q' | 'k' | 'v', kind: 'f32' | 'f16'): string => aligned
    ? wgsl`
fn four_of_${name}(at: u32, c: u32) -> vec4f {
  let raw = ${name}[at * ${across} + min(c, ${across - 1})];
  return select(vec4f(), ${four(kind, 'raw')}, c < ${across});
}`.trim()
    : wgsl`
fn four_of_${name}(at: u32, c: u32) -> vec4f {
  var x = vec4f();
  for (var i = 0u; i < 4; i++) { let n = at * ${d} + 4 * c + i; if (4 * c + i < ${d}) { x[i] = ${one(kind, name, 'n')}; } }
  return x;
}`.trim();
  const kind = aligned ? FOUR[stored] : ONE[stored];
  const rows = (piece: (r: number) => string): string[] => each(4, piece);
  const add = (hidden: boolean): string[] => rows((r) => each(columns, (c) => hidden
    ? `o${r}_${c} += select(vec4f(), p[${r}] * v${c}, p[${r}] != 0);` : `o${r}_${c} += p[${r}] * v${c};`).join(' '));
  return fastKernel({
    name: `prefill attention ${stored}, d = ${d}, ${group} query heads per KV head`,
    header: `
      out[h,x] = sum_j A[x,j] v[j], A = softmax of scale q[h,x] . k[j] over the keys j that x sees; lse[h,x] = log of the sum
      q is [heads*${group},T,${d}] f32, k and v are [heads,keys,${d}] ${stored}, out is [heads*${group},T,${d}] f32, lse [heads*${group},T] f32.
      A workgroup of 16x16 invocations takes ${tile} queries and ${share} heads with the same keys: ${ROWS} rows. ${KEYS} keys at a time: an
      invocation computes 4x2 scores, ${DEPTH} elements of q and k at a time, and then 4 rows of ${columns} times 4 columns of the output.
      Where a key is hidden from some of the rows, values are selected and not only multiplied by 0.`,
    params: { T: 'u32', keys: 'u32', heads: 'u32', tiles: 'u32', first: 'u32', room: 'u32', scale: 'f32' },
    inputs: { q: aligned ? 'vec4f' : 'f32', k: kind, v: kind, lists: 'u32', records: 'vec4u', last: 'u32' },
    outputs: { out: 'f32', lse: 'f32' },
    locals: {
      staged: ['vec4f', Math.max(DEPTH * STRIDE + (DEPTH / 2) * (KEYS / 2), values * across)],
      weights: ['vec4f', KEYS * (ROWS / 4)], spans: ['vec2u', KEYS],
    },
    threads: THREADS,
    body: wgsl`
const LOWEST = -3.4028234e38f;
${KEY_AT}
${read('q', 'f32')}
${read('k', stored)}
${read('v', stored)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let head = group.y;
  // Later tiles have more keys, so they come first.
  let number = P.tiles - 1 - group.x;
  let tile = tile_of(head, number);
  let first_head = head * ${group} + group.z * ${share};
  let t0 = (P.first + number) * ${tile};
  let tx = t % 16;
  let ty = t / 16;
  let scale = P.scale * 1.4426950408889634;
  ${rows((r) => `${each(columns, (c) => `var o${r}_${c} = vec4f();`).join(' ')}`)}
  var m = vec4f(LOWEST / 2);
  var l = vec4f();
  let turns = (tile.all + ${KEYS - 1}) / ${KEYS};
  let unmasked = tile.full / ${KEYS};
  for (var turn = 0u; turn < turns; turn++) {
    workgroupBarrier();
    if (t < ${KEYS}) {
      let j = key_at(tile, turn * ${KEYS} + t);

      spans[t] = vec2u(j, last[tile.base + j]);
    }
    // Scores of rows 4 ty.. with keys 2 tx and 2 tx + 1.
    var a = vec4f();
    var b = vec4f();
    for (var e = 0u; e < ${4 * across}; e += ${DEPTH}) {
      workgroupBarrier();
      if (t < 64) {
        let r = t / 4 * 4;
        let c = e / 4 + t % 4;
        ${rows((r) => `let x${r} = four_of_q((first_head + r / ${tile}) * P.T + min(t0 + r % ${tile} + ${r}, P.T - 1), c);`)}
        ${each(4, (i) => `staged[(t % 4 * 4 + ${i}) * ${STRIDE} + t / 4] = vec4f(x0[${i}], x1[${i}], x2[${i}], x3[${i}]);`)}
      } else if (t < 128) {
        let s = t - 64;
        let c = e / 4 + s % 4;
        let y0 = four_of_k(tile.base + spans[s / 4 * 2].x, c);
        let y1 = four_of_k(tile.base + spans[s / 4 * 2 + 1].x, c);
        staged[${DEPTH * STRIDE} + s % 4 * 32 + s / 4] = vec4f(y0.x, y1.x, y0.y, y1.y);
        staged[${DEPTH * STRIDE} + s % 4 * 32 + 16 + s / 4] = vec4f(y0.z, y1.z, y0.w, y1.w);
      }
      workgroupBarrier();
      for (var i = 0u; i < ${DEPTH / 2}; i++) {
        let y = staged[${DEPTH * STRIDE} + i * 16 + tx];
        let x0 = staged[2 * i * ${STRIDE} + ty];
        let x1 = staged[(2 * i + 1) * ${STRIDE} + ty];
        a += x0 * y.x + x1 * y.z;
        b += x0 * y.y + x1 * y.w;
      }
    }
    a *= scale;
    b *= scale;
    if (turn >= unmasked) {
      let x = vec4u(tile.x0 + ty * 4 % ${tile}) + vec4u(0, 1, 2, 3);
      let at_a = spans[2 * tx];
      let at_b = spans[2 * tx + 1];
      a = select(vec4f(LOWEST), a, (x >= vec4u(at_a.x)) & (x <= vec4u(at_a.y)) & vec4<bool>(turn * ${KEYS} + 2 * tx < tile.all));
      b = select(vec4f(LOWEST), b, (x >= vec4u(at_b.x)) & (x <= vec4u(at_b.y)) & vec4<bool>(turn * ${KEYS} + 2 * tx + 1 < tile.all));
    }
    // The maxima of rows pass through the memory of the weights.
    weights[tx * 16 + ty] = max(a, b);
    workgroupBarrier();
    var top = m;
    for (var i = 0u; i < 16; i++) { top = max(top, weights[i * 16 + ty]); }
    workgroupBarrier();
    let keep = exp2(m - top);
    m = top;
    a = exp2(a - top);
    b = exp2(b - top);
    l = l * keep + a + b;
    ${rows((r) => each(columns, (c) => `o${r}_${c} *= keep[${r}];`).join(' '))}
    weights[2 * tx * 16 + ty] = a;
    weights[(2 * tx + 1) * 16 + ty] = b;
    for (var first = 0u; first < ${KEYS}; first += ${values}) {
      workgroupBarrier();
      for (var i = t; i < ${values * across}; i += ${THREADS}) {
        staged[i] = four_of_v(tile.base + spans[first + i / ${across}].x, i % ${across});
      }
      workgroupBarrier();
      for (var i = 0u; i < ${values}; i++) {
        let p = weights[(first + i) * 16 + ty];
        ${each(columns, (c) => `let v${c} = staged[i * ${across} + min(tx + ${16 * c}, ${across - 1})];`)}
        if (turn >= unmasked) {
          ${add(true)}
        } else {
          ${add(false)}
        }
      }
    }
  }
  workgroupBarrier();
  weights[tx * 16 + ty] = l;
  workgroupBarrier();
  l = vec4f();
  for (var i = 0u; i < 16; i++) { l += weights[i * 16 + ty]; }
  let query_head = first_head + ty * 4 / ${tile};
  let query = t0 + ty * 4 % ${tile};
  ${rows((r) => wgsl`
if (query + ${r} < P.T) {
  let row = query_head * P.T + query + ${r};
  ${each(columns, (c) => `for (var i = 0u; i < 4; i++) { if (4 * (tx + ${16 * c}) + i < ${d}) { out[row * ${d} + 4 * (tx + ${16 * c}) + i] = o${r}_${c}[i] / l[${r}]; } }`)}
  if (tx == 0) { lse[row] = (m[${r}] + log2(l[${r}])) * 0.6931471805599453; }
}`.trim())}
}`,
    workgroups: ({ heads, tiles }) => [tiles, heads, group / share],
  });
}
