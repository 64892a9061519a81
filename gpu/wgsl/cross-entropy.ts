/**
 * Cross-entropy of logits against target tokens, in nats.
 * @module
 */
import type { Memory, WgslDevice } from './device.ts';
import { template } from './template.ts';

const CROSS_ENTROPY = template('cross-entropy', `
// With lse = log sum_v exp(z[v]) of a row z of V logits and its target t, $WHAT.
// A workgroup for each row, whose lanes take every LANES-th logit. The target -1 stands for none.
struct Params { rows: u32, V: u32, weight: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

var<workgroup> lanes: array<f32, $LANES>;

@compute @workgroup_size($LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = min(group.y * groups.x + group.x, p.rows - 1u);
  let start = row * p.V;
  var most = -3.4028234e38;
  for (var v = lane; v < p.V; v += $LANESu) { most = max(most, logits[start + v]); }
  lanes[lane] = most;
  workgroupBarrier();
  for (var n = 0u; n < $LANESu; n++) { most = max(most, lanes[n]); }
  workgroupBarrier();
  var sum = 0.0;
  for (var v = lane; v < p.V; v += $LANESu) { sum += exp(logits[start + v] - most); }
  lanes[lane] = sum;
  workgroupBarrier();
  sum = 0.0;
  for (var n = 0u; n < $LANESu; n++) { sum += lanes[n]; }
  let target_ = targets[row];
  let lse = most + log(sum);
  $RESULT
}`, 'LANES', 'WHAT', 'RESULT');

/** Rows are folded where there are more than workgroups along an axis. */
const folded = (rows: number): readonly [x: number, y: number] => [Math.min(rows, 32768), Math.ceil(rows / 32768)];

const LOSS = {
  WHAT: 'out[row] = lse - z[t], or 0 without a target',
  RESULT: `if (lane == 0u) {
    out[row] = 0.0;
    if (target_ >= 0) { out[row] = lse - logits[start + u32(target_)]; }
  }`,
};

/** lse(logits) - logits[target] of each row; 0 where the target is -1. */
export function crossEntropy(device: WgslDevice, logits: Memory, targets: Memory, rows: number, V: number): Memory {
  const loss = device.allocate(rows);
  device.run(CROSS_ENTROPY({ LANES: device.width, ...LOSS }), {
    params: { rows, V, weight: 1 }, inputs: [logits, targets], outputs: [loss], groups: folded(rows),
    work: rows * V * 16,
  });
  return loss;
}

const GRADIENT = {
  WHAT: 'out[row, v] = weight (exp(z[v] - lse) - [v = t]), or 0 without a target',
  RESULT: `for (var v = lane; v < p.V; v += $LANESu) {
    var gradient = 0.0;
    if (target_ >= 0) {
      gradient = p.weight * exp(logits[start + v] - lse);
      if (v == u32(target_)) { gradient -= p.weight; }
    }
    out[start + v] = gradient;
  }`,
};

/** weight (softmax(logits) - onehot(target)); 0 where the target is -1. */
export function crossEntropyBackward(
  device: WgslDevice, logits: Memory, targets: Memory, weight: number, rows: number, V: number,
): Memory {
  const gradient = device.allocate(rows * V);
  device.run(CROSS_ENTROPY({ LANES: device.width, ...GRADIENT }), {
    params: { rows, V, weight }, inputs: [logits, targets], outputs: [gradient], groups: folded(rows),
    work: rows * V * 24,
  });
  return gradient;
}
