/**
 * The product of a weight's gradient, dW = dyᵀ x: its sides are those of a weight, and it sums over all tokens. So it
 * is cut along the tokens, which alone are enough to keep a GPU busy.
 * @module
 */
import { type Memory, MOST_GROUPS, type WgslDevice } from './device.ts';
import { sumParts } from './elementwise.ts';
import { each, fastKernel, type FastKernel, wgsl } from './fast/template.ts';

/** Tokens that pass through workgroup memory at a time. */
const DEPTH = 16;
const THREADS = 256;
/** Workgroups that keep a large GPU busy, and the fewest tokens for one of them. */
const [BUSY, FEWEST] = [132, 64];

const made = new Map<string, FastKernel<unknown>>();

function product(tile: 64 | 128, aligned: readonly [a: boolean, b: boolean]): FastKernel<unknown> {
  const key = `${tile} ${aligned.join()}`;
  const known = made.get(key);
  if (known) return known;
  const blocks = tile / 64;
  const [across, stride] = [tile / 4, tile / 4 + 1];
  const units = (DEPTH * across) / THREADS;
  const read = (name: 'a' | 'b', extent: string, whole: boolean): string => whole
    ? `fn four_of_${name}(n: u32, c: u32) -> vec4f { return ${name}[(n * ${extent} + c) / 4]; }`
    : wgsl`
fn four_of_${name}(n: u32, c: u32) -> vec4f {
  return vec4f(${each(4, (i) => `${name}[n * ${extent} + min(c + ${i}, ${extent} - 1)]`).join(', ')});
}`.trim();
  // What lies past a side stands for other elements, whose sums are not stored; past the tokens there are zeros.
  const fetch = (name: 'a' | 'b', extent: string, first: string, whole: boolean): string[] => each(units, (n) => {
    const [k, c] = [`(t + ${n * THREADS}) / ${across}`, `${first} + (t + ${n * THREADS}) % ${across} * 4`];
    const column = whole ? `min(${c}, ${extent} - 4)` : c;
    return `${name}${n} = select(vec4f(), four_of_${name}(min(start + ${k}, P.K - 1), ${column}), start + ${k} < end);`;
  });
  const stage = (name: 'a' | 'b'): string[] => each(units, (n) =>
    `tile_${name}[(t + ${n * THREADS}) / ${across} * ${stride} + (t + ${n * THREADS}) % ${across}] = ${name}${n};`);
  const load = [...fetch('a', 'P.I', 'row0', aligned[0]), ...fetch('b', 'P.J', 'col0', aligned[1])];
  const kernel = fastKernel<unknown>({
    name: `weight gradient, ${tile}x${tile}`,
    header: `
      part[p,i,j] = sum over the tokens k of part p of a[k,i] b[k,j]; part p has P.size of the P.K tokens.
      A workgroup of 16x16 invocations computes ${tile}x${tile} of one part, an invocation ${4 * blocks}x${4 * blocks} of them. ${DEPTH} tokens at a time
      pass through workgroup memory; the next ones are fetched while these are multiplied.`,
    params: { I: 'u32', J: 'u32', K: 'u32', size: 'u32' },
    inputs: { a: aligned[0] ? 'vec4f' : 'f32', b: aligned[1] ? 'vec4f' : 'f32' },
    outputs: { part: 'f32' },
    locals: { tile_a: ['vec4f', DEPTH * stride], tile_b: ['vec4f', DEPTH * stride] },
    threads: THREADS,
    body: wgsl`
${read('a', 'P.I', aligned[0])}
${read('b', 'P.J', aligned[1])}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let row0 = group.y * ${tile};
  let col0 = group.x * ${tile};
  let tx = t % 16;
  let ty = t / 16;
  let end = min((group.z + 1) * P.size, P.K);
  ${each(units, (n) => `var a${n}: vec4f; var b${n}: vec4f;`)}
  ${each(4 * blocks, (i) => each(blocks, (c) => `var s${i}_${c} = vec4f();`).join(' '))}
  var start = group.z * P.size;
  ${load}
  while (start < end) {
    workgroupBarrier();
    ${stage('a')}
    ${stage('b')}
    workgroupBarrier();
    start += ${DEPTH};
    if (start < end) {
      ${load}
    }
    for (var k = 0u; k < ${DEPTH}; k++) {
      ${each(blocks, (b) => `let x${b} = tile_a[k * ${stride} + ${16 * b} + ty]; let y${b} = tile_b[k * ${stride} + ${16 * b} + tx];`)}
      ${each(4 * blocks, (i) => each(blocks, (c) => `s${i}_${c} += x${Math.floor(i / 4)}[${i % 4}] * y${c};`).join(' '))}
    }
  }
  ${each(4 * blocks, (i) => each(blocks, (c) => `put(group.z, row0 + ${64 * Math.floor(i / 4)} + 4 * ty + ${i % 4}, col0 + ${64 * c} + 4 * tx, s${i}_${c});`).join('\n'))}
}
fn put(p: u32, i: u32, j: u32, sums: vec4f) {
  if (i >= P.I) { return; }
  for (var n = 0u; n < 4; n++) { if (j + n < P.J) { part[(p * P.I + i) * P.J + j + n] = sums[n]; } }
}`,
    workgroups: () => [1, 1, 1],
  });
  made.set(key, kernel);
  return kernel;
}

/** dW [I,J] of a [tokens,I] and b [tokens,J]. */
export function weightGradient(device: WgslDevice, a: Memory, b: Memory, I: number, J: number, K: number): Memory {
  const large = Math.min(I, J) > 64 && device.workgroupBytes >= 2 ** 15;
  const tile = large ? 128 : 64;
  const [x, y] = [Math.ceil(J / tile), Math.ceil(I / tile)];
  const wanted = Math.min(Math.ceil(BUSY / (x * y)), Math.floor(K / FEWEST), MOST_GROUPS);
  const size = Math.ceil(K / Math.max(1, wanted) / DEPTH) * DEPTH;
  const parts = Math.max(1, Math.ceil(K / Math.max(size, 1)));
  const sums = device.allocate(parts * I * J);
  device.run(product(tile, [I % 4 === 0, J % 4 === 0]), {
    params: { I, J, K, size }, inputs: [a, b], outputs: [sums], groups: [x, y, parts], work: I * J * K * 2,
  });
  return sumParts(device, sums, I * J, parts);
}
