/**
 * §5: the gradient of the token types through attention, over all causal pairs, hidden ones included, a tile of query
 * rows at a time.
 * @module
 */
import { FOREVER, type LifetimeOptions } from '../../src/core/lifetime.ts';
import type { AttentionSizes } from '../../src/core/sizes.ts';
import { causalSums } from './attention-causal.ts';
import {
  bring, elementOf, oncePerTile, otherRows, ownRows, pairLocals, pairTile, places, products, reader, threads,
} from './attention-pairs.ts';
import { blocks } from './attention-tile.ts';
import { each, fastKernel, type FastKernel, wgsl } from './fast/template.ts';
import { flat, type Memory, MOST_GROUPS, type WgslDevice } from './device.ts';
import { planTypes } from './mask.ts';
import { kernel, template } from './template.ts';

/** What the gradient of the types depends on. */
export interface TypeGradientOptions extends LifetimeOptions {
  readonly types: Memory;
  readonly bounded: boolean;
}

const maskGradient = oncePerTile((tile): FastKernel<unknown> => {
  const [OWN, OTHERS, THREADS] = [ownRows(tile), otherRows(tile), threads(tile)];
  const element = elementOf(tile.d);
  return fastKernel({
    name: `mask gradient, d = ${tile.d}, ${OWN} queries by ${OTHERS} keys`,
    header: `
      dM[j,r] = sum over the heads of a group of exp(scale q[i] . k[j] - shift[i]) (do[i] . v[j] - D[i]) with i = first + r, for
      j <= i <= j + reach, else 0  (§4). rows holds (lse, D) of every query.
      q, dOut are [heads*group,N,${tile.d}]; k, v [heads,N,${tile.d}]; rows, shift [heads*group,N]; dM [heads,keys,count].
      A workgroup takes ${OWN} queries and ${OTHERS} keys of one head, and goes through the query heads of the group.`,
    params: { N: 'u32', group: 'u32', first: 'u32', count: 'u32', keys: 'u32', reach: 'u32', scale: 'f32' },
    inputs: { q: element, k: element, v: element, dOut: element, rows: 'vec2f', shift: 'f32' },
    outputs: { dM: 'f32' },
    locals: pairLocals(tile, 2, 0),
    threads: THREADS,
    body: wgsl`
${reader('q', tile)}
${reader('k', tile)}
${reader('v', tile)}
${reader('dOut', tile)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  ${places(tile)}
  let begin = P.first + group.x * ${OWN};
  let start = group.y * ${OTHERS};
  let base = group.z * P.N;
  let i = vec4u(begin + mine) + vec4u(0, ${each(3, (j) => String(tile.own * (j + 1))).join(', ')});
  ${each(tile.each, (i) => `var sum${i} = vec4f();`)}
  // Tiles whose keys all come after their queries, or too long before them, are 0.
  if (start < begin + ${OWN} && begin <= start + ${OTHERS - 1} + P.reach) {
    ${bring(tile, 'others', 'base + min(start + r, P.N - 1)', { x: 'k', y: 'v' })}
    for (var h = 0u; h < P.group; h++) {
      let head = (group.z * P.group + h) * P.N;
      ${bring(tile, 'own', 'head + min(begin + r, P.N - 1)', { a: 'q', b: 'dOut' })}
      let at = head + min(i, vec4u(P.N - 1));
      let D = vec4f(${each(4, (j) => `rows[at[${j}]].y`).join(', ')});
      let by = vec4f(${each(4, (j) => `shift[at[${j}]]`).join(', ')});
      workgroupBarrier();
      ${products(tile, 2)}
      ${each(tile.each, (i) => wgsl`
let j${i} = start + theirs + ${tile.others * i};
sum${i} += select(vec4f(), exp(P.scale * s${i} - by) * (p${i} - D), (vec4u(j${i}) <= i) & (i <= vec4u(j${i} + P.reach)));`.trim())}
      workgroupBarrier();
    }
  }
  ${each(tile.each, (i) => wgsl`
{
  let j = start + theirs + ${tile.others * i};
  let r = group.x * ${OWN} + mine;
  if (j < P.keys) {
    ${each(4, (n) => `if (r + ${tile.own * n} < P.count) { dM[(group.z * P.keys + j) * P.count + r + ${tile.own * n}] = sum${i}[${n}]; }`)}
  }
}`.trim())}
}`,
    workgroups: () => [1, 1, 1],
  });
});

const CHUNK_SUMS = kernel('chunk sums', `
// x[head, c, r] = the sum of dM[head, j, r] over the tokens j of chunk c, a thread for each.
struct Params { length: u32, rows: u32, keys: u32, seen: u32, C: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dM: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let r = n % p.rows;
  let c = n / p.rows % p.seen;
  let head = n / (p.rows * p.seen);
  var sum = 0.0;
  for (var j = c * p.C; j < min((c + 1u) * p.C, p.keys); j++) { sum += dM[(head * p.keys + j) * p.rows + r]; }
  x[n] = sum;
}`);

const HIDDEN = template('hidden by a GLOBAL', `
// hidden[head, c, r]: what making chunk c GLOBAL would hide from row r, which is x summed over the LOCAL chunks since the last
// GLOBAL before c, if c lies strictly before the chunk of query i = first + r and i <= closing[c]; else 0  (§5).
// A workgroup takes ROWS rows of a head. PARTS threads share a row, each a part of its chunks: first they sum what is open at
// the end of each part, and then each goes through its part with what the parts before it left open.
struct Params { rows: u32, seen: u32, chunks: u32, first: u32, C: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> plan: array<vec3i>;
@group(0) @binding(3) var<storage, read_write> hidden: array<f32>;

const ROWS = $ROWSu;
const PARTS = $PARTSu;
var<workgroup> left: array<f32, ROWS * PARTS>;   // open at the end of a part, of what opened in it
var<workgroup> closed: array<u32, PARTS>;        // whether a GLOBAL of the part closed what was open before it

@compute @workgroup_size(ROWS * PARTS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let part = thread / ROWS;
  let r = group.x * ROWS + thread % ROWS;
  let present = r < p.rows;
  let size = (p.seen + PARTS - 1u) / PARTS;
  let begin = part * size;
  let end = min(begin + size, p.seen);
  let head = group.y;
  var open = 0.0;
  var reset = 0u;
  for (var c = begin; c < end; c++) {
    let kind = plan[head * p.chunks + c].x;
    if (kind == 0) {
      open = 0.0;
      reset = 1u;
    }
    if (kind == 1 && present) { open += x[(head * p.seen + c) * p.rows + r]; }
  }
  left[thread] = open;
  if (thread % ROWS == 0u) { closed[part] = reset; }
  workgroupBarrier();
  if (!present) { return; }
  open = 0.0;
  for (var before = 0u; before < part; before++) {
    open = select(open, 0.0, closed[before] == 1u) + left[before * ROWS + thread % ROWS];
  }
  let i = p.first + r;
  for (var c = begin; c < end; c++) {
    let chunk = plan[head * p.chunks + c];
    let at = (head * p.seen + c) * p.rows + r;
    hidden[at] = select(0.0, open, c < i / p.C && i32(i) <= chunk.y);
    if (chunk.x == 0) { open = 0.0; }
    if (chunk.x == 1) { open += x[at]; }
  }
}`, 'ROWS', 'PARTS');

const GATHER = template('type gradient', `
// Adds what the rows of a tile contribute to (dg, dl, dw) of chunk c: the sums of x - hidden over all rows, of x over those up to
// closing[c], and of x over those up to the chunk's last token + window  (§5). A GLOBAL hides nothing if closes = 0. A workgroup
// for each chunk of a head; chunks are folded where there are more than workgroups along an axis.
struct Params { rows: u32, seen: u32, chunks: u32, first: u32, C: u32, window: u32, closes: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> hidden: array<f32>;
@group(0) @binding(3) var<storage, read> plan: array<vec3i>;
@group(0) @binding(4) var<storage, read_write> dTypes: array<f32>;

var<workgroup> lanes: array<vec3f, $LANES>;

@compute @workgroup_size($LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.z * groups.x + group.x;
  if (c >= p.seen) { return; }
  let closing = plan[group.y * p.chunks + c].y;
  let start = (group.y * p.seen + c) * p.rows;
  var sum = vec3f();
  for (var r = lane; r < p.rows; r += $LANESu) {
    let i = p.first + r;
    let value = x[start + r];
    sum += vec3f(
      value - select(0.0, hidden[start + r], p.closes == 1u),
      select(0.0, value, i32(i) <= closing),
      select(0.0, value, i < (c + 1u) * p.C || i - (c + 1u) * p.C < p.window),
    );
  }
  lanes[lane] = sum;
  workgroupBarrier();
  for (var half = $LANESu / 2u; half > 0u; half /= 2u) {
    if (lane < half) { lanes[lane] += lanes[lane + half]; }
    workgroupBarrier();
  }
  if (lane < 3u) { dTypes[(group.y * p.chunks + c) * 3u + lane] += lanes[0][lane]; }
}`, 'LANES');

/** The gradient [B,G,Nc,3]. rows holds (lse, D) of every query of all heads. */
export function typeGradient(
  device: WgslDevice, inputs: { q: Memory; k: Memory; v: Memory; dOut: Memory; rows: Memory }, sizes: AttentionSizes,
  scale: number, options: TypeGradientOptions, lse: Memory,
): Memory {
  const { B, H, G, N, d } = sizes;
  const { q, k, v, dOut, rows: perRow } = inputs;
  const { types, bounded, window, localWindow, chunk: C, reach = FOREVER } = options;
  const closes = localWindow === undefined;
  const BG = B * G;
  const within = Math.min(reach, N); // no key is N queries old
  const shift = bounded ? causalLse(device, inputs, sizes, scale, within) : device.share(lse);
  const { plan, chunks } = planTypes(device, types, BG, N, options);
  const dTypes = device.upload(new Float32Array(BG * chunks * 3));
  const shared = device.width === 64 ? { ROWS: 16, PARTS: 16 } : { ROWS: 4, PARTS: device.width / 4 };
  const across = device.testing ? 5 : MOST_GROUPS;
  const tile = pairTile(device, d);
  const fits = Math.min(device.tileElements, device.maxBytes / 4) / (BG * N);
  const most = Math.max(16, Math.floor(fits / 16) * 16);
  for (let first = 0; first < N; first += most) {
    const rows = Math.min(most, N - first);
    const keys = first + rows;
    const seen = Math.ceil(keys / C);
    const dM = device.allocate(BG * keys * rows);
    device.run(maskGradient(tile), {
      params: { N, group: H / G, first, count: rows, keys, reach: within, scale },
      inputs: [q, k, v, dOut, perRow, shift], outputs: [dM],
      groups: [Math.ceil(rows / ownRows(tile)), Math.ceil(keys / otherRows(tile)), BG],
      work: B * H * rows * keys * d * 4,
    });
    const length = BG * seen * rows;
    const x = C === 1 ? device.share(dM) : device.allocate(length);
    if (C > 1) {
      device.run(CHUNK_SUMS, {
        params: { length, rows, keys, seen, C }, inputs: [dM], outputs: [x], groups: flat(length),
        work: BG * keys * rows,
      });
    }
    const params = { rows, seen, chunks, first, C, window: Math.min(window, FOREVER), closes: closes ? 1 : 0 };
    const hidden = closes ? device.allocate(length) : device.share(x); // where it is not needed
    if (closes) {
      device.run(HIDDEN(shared), {
        params, inputs: [x, plan], outputs: [hidden], groups: [Math.ceil(rows / shared.ROWS), BG], work: length * 8,
      });
    }
    device.run(GATHER({ LANES: device.width }), {
      params, inputs: [x, hidden, plan], outputs: [dTypes],
      groups: [Math.min(seen, across), BG, Math.ceil(seen / across)], work: length * 8,
    });
    for (const memory of [dM, x, hidden]) device.free(memory);
  }
  device.free(shift);
  device.free(plan);
  return dTypes;
}

/** The log-sum-exp of every query over all keys j <= i <= j + reach, visible or not: [B,H,N]. */
function causalLse(
  device: WgslDevice, { q, k }: { q: Memory; k: Memory }, { B, H, G, N, d }: AttentionSizes, scale: number,
  reach: number,
): Memory {
  const lse = device.allocate(B * H * N);
  const tile = pairTile(device, d);
  for (const { skipped, groups, work } of blocks(device, Math.ceil(N / ownRows(tile)), B * H, B * H * N * N * d)) {
    device.run(causalSums(tile), {
      params: { N, group: H / G, reach, scale, skipped }, inputs: [q, k], outputs: [lse], groups, work,
    });
  }
  return lse;
}
