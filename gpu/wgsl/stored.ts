/**
 * Weights as they are stored: in words of four bytes, of which one holds a float32 or two narrower numbers.
 * @module
 */
import type { WeightDtype } from '../../src/core/tensor.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import { template } from './template.ts';

/** The dtypes in which an array can be stored. */
export type StoredDtype = Exclude<WeightDtype, 'f64'>;

/** The WGSL of `element(n)`, which reads element n of `table: array<u32>` as it is stored. */
export const ELEMENT: Readonly<Record<StoredDtype, string>> = {
  f32: 'fn element(n: u32) -> f32 { return bitcast<f32>(table[n]); }',
  f16: 'fn element(n: u32) -> f32 { return unpack2x16float(table[n / 2u])[n % 2u]; }',
  bf16: 'fn element(n: u32) -> f32 { return bitcast<f32>(select(table[n / 2u] << 16u, table[n / 2u] & 0xffff0000u, n % 2u == 1u)); }',
};

const WIDEN = template('widen', `
// out[n] = table[n], stored in $DTYPE, as float32; a thread for each element.
struct Params { length: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

$ELEMENT

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n < p.length) { out[n] = element(n); }
}`, 'DTYPE', 'ELEMENT');

/** `length` elements as float32. */
export function widened(device: WgslDevice, stored: Memory, dtype: StoredDtype, length: number): Memory {
  const out = device.allocate(length);
  device.run(WIDEN({ DTYPE: dtype, ELEMENT: ELEMENT[dtype] }), {
    params: { length }, inputs: [stored], outputs: [out], groups: flat(length),
  });
  return out;
}
