/**
 * The gated activation silu(gate) * up and its gradients.
 * @module
 */
import { flat, type Memory, type WgslDevice } from './device.ts';
import { kernel } from './template.ts';

const SWIGLU = kernel('swiglu', `
// y[n] = x sigmoid(x) up[n] with x = gate[n], a thread for each n.
struct Params { length: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gate: array<f32>;
@group(0) @binding(2) var<storage, read> up: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let x = gate[n];
  y[n] = x / (1.0 + exp(-x)) * up[n];
}`);

/** x sigmoid(x) u, element by element. */
export function swiglu(device: WgslDevice, gate: Memory, up: Memory, length: number): Memory {
  const y = device.allocate(length);
  device.run(SWIGLU, { params: { length }, inputs: [gate, up], outputs: [y], groups: flat(length) });
  return y;
}

const BACKWARD = kernel('swiglu backward', `
// dGate[n] = dy u s (1 + x (1 - s)) and dUp[n] = dy x s with x = gate[n], u = up[n] and s = sigmoid(x).
struct Params { length: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dOut: array<f32>;
@group(0) @binding(2) var<storage, read> gate: array<f32>;
@group(0) @binding(3) var<storage, read> up: array<f32>;
@group(0) @binding(4) var<storage, read_write> dGate: array<f32>;
@group(0) @binding(5) var<storage, read_write> dUp: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let x = gate[n];
  let s = 1.0 / (1.0 + exp(-x));
  dGate[n] = dOut[n] * up[n] * s * (1.0 + x * (1.0 - s));
  dUp[n] = dOut[n] * x / (1.0 + exp(-x));
}`);

/** dGate = dy u s (1 + x (1 - s)) and dUp = dy x s, with s = sigmoid(x). */
export function swigluBackward(
  device: WgslDevice, dOut: Memory, gate: Memory, up: Memory, length: number,
): [dGate: Memory, dUp: Memory] {
  const [dGate, dUp] = [device.allocate(length), device.allocate(length)];
  device.run(BACKWARD, {
    params: { length }, inputs: [dOut, gate, up], outputs: [dGate, dUp], groups: flat(length),
  });
  return [dGate, dUp];
}
