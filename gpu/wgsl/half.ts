/**
 * Products of training in mixed precision: factors rounded to float16, sums in float32 (compute: 'f16'). Matrix units
 * multiply so. Devices without them round first and multiply in float32, which gives the same numbers but is no faster:
 * only tests do that.
 * @module
 */
import { flat, type Memory, type WgslDevice } from './device.ts';
import { type FastKernel, LEAST_OUTPUTS, matrixMatmul, matrixTile, type ProductSizes, runsOn } from './fast/index.ts';
import { kernel } from './template.ts';

/** What is summed over at a time. */
const DEPTH = 64;

/** C [I,J] = A B: A is [I,K] or, for TN, [K,I], and B is [K,J]. Both are float32. */
export interface HalfProduct {
  readonly a: Memory;
  readonly b: Memory;
  readonly I: number;
  readonly J: number;
  readonly K: number;
  readonly form: 'NN' | 'TN';
}

const made = new Map<string, FastKernel<ProductSizes>>();

/** Large tiles from which the gradient of a weight takes these: what it sums over is long. */
const LARGE_TILES = 90;

function tiles({ I, J, K, form }: HalfProduct): FastKernel<ProductSizes> {
  const large = form === 'TN' && Math.ceil(I / 128) * Math.ceil(J / 128) >= LARGE_TILES;
  const tile = large ? [128, 128] as const : matrixTile({ R: I, M: J });
  const key = `${form} ${tile.join()} ${K % DEPTH === 0}`;
  let found = made.get(key);
  if (!found) {
    found = matrixMatmul({
      x: { stored: 'f32', layout: form === 'NN' ? 'rows' : 'columns' }, w: { stored: 'f32', layout: 'columns' },
      bias: false, accumulate: false, tile, depth: DEPTH, whole: K % DEPTH === 0,
    });
    made.set(key, found);
  }
  return found;
}

/** Whether products of these sizes are rounded to float16: not rows that are no multiple of 8, nor few outputs. */
const isHalf = ({ compute }: WgslDevice, { I, J, K, form }: HalfProduct): boolean =>
  compute === 'f16' && J % 8 === 0 && (form === 'NN' ? K : I) % 8 === 0 && I * J >= LEAST_OUTPUTS;

/** The product by matrix units, or undefined where it is not in float16 or there are none. */
export function halfProduct(device: WgslDevice, product: HalfProduct): Memory | undefined {
  if (!isHalf(device, product) || !hasUnits(device)) return undefined;
  const { a, b, I, J, K } = product;
  const of = tiles(product);
  const c = device.allocate(I * J);
  device.run(of, {
    params: { R: I, M: J, K }, inputs: [a, b], outputs: [c], groups: of.workgroups({ R: I, M: J, K }),
    work: I * J * K * 2,
  });
  return c;
}

const units = new WeakMap<WgslDevice, boolean>();

function hasUnits(device: WgslDevice): boolean {
  let has = units.get(device);
  if (has === undefined) {
    has = runsOn(device.gpuDevice, device.info, tiles({ I: 128, J: 128, K: 64, form: 'TN' } as HalfProduct));
    units.set(device, has);
  }
  return has;
}

const ROUND = kernel('round to float16', `
// y[n] = x[n] rounded to float16, a thread for each n. Beyond its largest number there is infinity.
struct Params { length: u32, infinity: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let value = x[n];
  let near = unpack2x16float(pack2x16float(vec2f(clamp(value, -65504.0, 65504.0), 0.0))).x;
  let beyond = bitcast<f32>((bitcast<u32>(value) & 0x80000000u) | p.infinity);
  y[n] = select(select(near, beyond, abs(value) >= 65520.0), value, value != value);
}`);

/** Rounded factors [x, y] of `length` for a product by float32, on a device without matrix units; else undefined. */
export function roundedFactors(
  device: WgslDevice, product: Pick<HalfProduct, 'a' | 'b'>, lengths: readonly [a: number, b: number],
): [a: Memory, b: Memory] | undefined {
  if (device.compute !== 'f16' || hasUnits(device)) return undefined;
  return [product.a, product.b].map((x, n) => {
    const y = device.allocate(lengths[n]);
    device.run(ROUND, {
      params: { length: lengths[n], infinity: 0x7f800000 }, inputs: [x], outputs: [y], groups: flat(lengths[n]),
    });
    return y;
  }) as [Memory, Memory];
}

/** A product of the engine's float32 kernels or, if the device computes in float16, of factors rounded to it. */
export function mixedProduct(
  device: WgslDevice, product: HalfProduct, inFloat32: (a: Memory, b: Memory) => Memory,
): Memory {
  const { a, b, I, J, K } = product;
  const half = halfProduct(device, product);
  if (half) return half;
  const factors = isHalf(device, product) ? roundedFactors(device, product, [I * K, K * J]) : undefined;
  if (!factors) return inFloat32(a, b);
  const c = inFloat32(...factors);
  for (const factor of factors) device.free(factor);
  return c;
}
