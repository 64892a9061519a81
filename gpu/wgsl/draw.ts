/**
 * Drawing a token from logits by temperature, top-k, top-p and min-p, with noise from the host.
 *
 * Tokens are not sorted. A prefix of their order is found digit by digit: a pass over the row adds up, for each value
 * of a digit, how many tokens have it and what they weigh, and the digit at which the prefix ends is known. Weights
 * are whole multiples of 2^-31 of the largest, so that sums are exact in any order.
 * @module
 */
import type { Drawing } from '../../src/core/forms.ts';
import type { Memory, WgslDevice } from './device.ts';
import { kernel } from './template.ts';

const DRAW = kernel('draw token', `
// drawn[row] = the first token, in the order of x [rows,V], at which the sum of the weights exp((x - max x) inverse) exceeds u times the
// weight of those that top-k, top-p and min-p leave, u = noise / 2^31; -1 if a number is NaN or infinite.
//
// A workgroup for each row. A key orders tokens: a number that falls with x, then the index. Its digits have 9 bits, the first one at
// bit 23 of the number; a token that is alone with its digits is found. Sums of weights have 64 bits: words (low, high).
struct Params { V: u32, k: u32, share: u32, least: f32, inverse: f32, rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> noise: array<u32>;
@group(0) @binding(3) var<storage, read_write> drawn: array<i32>;

const THREADS = 256u;
const BINS = 512u;

var<workgroup> numbers: array<atomic<u32>, 512>;    // tokens of each digit, and their weight
var<workgroup> lows: array<atomic<u32>, 512>;
var<workgroup> highs: array<atomic<u32>, 512>;
var<workgroup> largest: array<f32, 256>;
var<workgroup> wrong: atomic<u32>;
var<workgroup> left: vec2u;                         // the weight of the tokens that are left
var<workgroup> target_: vec2u;                      // the weight at which the prefix ends, or more than which
var<workgroup> before: vec3u;                       // weight and number of the tokens with smaller digits than those known
var<workgroup> digits: vec2u;                       // known so far: of the number, and of the index
var<workgroup> found: u32;

fn keyOf(value: f32) -> u32 {
  let bits = select(bitcast<u32>(value), 0u, value == 0.0);
  return ~select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn weightOf(value: f32) -> u32 { return u32(exp(max((value - largest[0]) * p.inverse, -100.0)) * 2147483648.0 + 0.5); }
fn plus(a: vec2u, b: vec2u) -> vec2u {
  let low = a.x + b.x;
  return vec2u(low, a.y + b.y + u32(low < a.x));
}
fn less(a: vec2u, b: vec2u) -> bool { return a.y < b.y || (a.y == b.y && a.x < b.x); }
fn product(a: u32, b: u32) -> vec2u {
  let middle = (a >> 16u) * (b & 0xffffu) + (((a & 0xffffu) * (b & 0xffffu)) >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return vec2u(a * b, (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u));
}
// a share / 2^32, rounded down or up
fn partOf(a: vec2u, share: u32, up: bool) -> vec2u {
  let low = product(a.x, share);
  return plus(product(a.y, share), vec2u(low.y + select(0u, 1u, up && low.x > 0u), 0u));
}
fn addWeight(bin: u32, weight: vec2u) {
  let old = atomicAdd(&lows[bin], weight.x);
  let carry = weight.y + u32(old + weight.x < old);
  if (carry > 0u) { atomicAdd(&highs[bin], carry); }
}
fn take(value: f32, n: u32, level: u32) {
  let key = keyOf(value);
  var bin = 0u;
  if (level < 4u) {
    let shift = select(23u - 9u * level, 0u, level == 3u);
    let bits = select(9u, 5u, level == 3u);
    if (level > 0u && (key >> (shift + bits)) != digits.x) { return; }
    bin = (key >> shift) & ((1u << bits) - 1u);
  } else {
    let shift = 18u - 9u * (level - 4u);
    if (key != digits.x || (level > 4u && (n >> (shift + 9u)) != digits.y)) { return; }
    bin = (n >> shift) & 511u;
  }
  atomicAdd(&numbers[bin], 1u);
  addWeight(bin, vec2u(weightOf(value), 0u));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = min(group.y * groups.x + group.x, p.rows - 1u);
  let start = row * p.V;
  let end = p.V - 1u;
  var most = x[start + min(lane, end)];
  var bad = false;
  for (var n = lane; n < p.V; n += 4u * THREADS) {
    let a = vec4f(x[start + n], x[start + min(n + THREADS, end)], x[start + min(n + 2u * THREADS, end)], x[start + min(n + 3u * THREADS, end)]);
    most = max(most, max(max(a.x, a.y), max(a.z, a.w)));
    bad = bad || any((bitcast<vec4u>(a) & vec4u(0x7f800000u)) == vec4u(0x7f800000u));
  }
  largest[lane] = most;
  if (bad) { atomicStore(&wrong, 1u); }
  workgroupBarrier();
  if (lane == 0u) {
    for (var n = 1u; n < THREADS; n++) { most = max(most, largest[n]); }
    largest[0] = most;
    left = vec2u(0xffffffffu, 0xffffffffu);
  }
  workgroupBarrier();
  // 0: the weight of the first k tokens. 1: of those that top-p leaves. 2: of those that min-p leaves. 3: the token.
  for (var stage = 0u; stage < 4u; stage++) {
    if ((stage == 0u && p.k >= p.V) || (stage == 1u && p.share == 0u) || (stage == 2u && p.least <= 0.0)) { continue; }
    for (var level = 0u; level < 7u; level++) {
      for (var n = lane; n < BINS; n += THREADS) {
        atomicStore(&numbers[n], 0u);
        atomicStore(&lows[n], 0u);
        atomicStore(&highs[n], 0u);
      }
      workgroupBarrier();
      if (stage == 2u) {
        var sum = vec2u();
        for (var n = lane; n < p.V; n += THREADS) {
          let value = x[start + n];
          if (exp(max((value - largest[0]) * p.inverse, -100.0)) >= p.least) { sum = plus(sum, vec2u(weightOf(value), 0u)); }
        }
        addWeight(0u, sum);
      } else {
        for (var n = lane; n < p.V; n += 4u * THREADS) {
          let a = vec4f(x[start + n], x[start + min(n + THREADS, end)], x[start + min(n + 2u * THREADS, end)], x[start + min(n + 3u * THREADS, end)]);
          take(a.x, n, level);
          if (n + THREADS < p.V) { take(a.y, n + THREADS, level); }
          if (n + 2u * THREADS < p.V) { take(a.z, n + 2u * THREADS, level); }
          if (n + 3u * THREADS < p.V) { take(a.w, n + 3u * THREADS, level); }
        }
      }
      workgroupBarrier();
      // Of every 16 digits the first gets what they hold together.
      if (lane < 32u) {
        var number = 0u;
        var sum = vec2u();
        for (var n = 16u * lane; n < 16u * lane + 16u; n++) {
          number += atomicLoad(&numbers[n]);
          sum = plus(sum, vec2u(atomicLoad(&lows[n]), atomicLoad(&highs[n])));
        }
        sixteens[lane] = vec3u(sum, number);
      }
      workgroupBarrier();
      if (lane == 0u) {
        found = 0u;
        if (level == 0u) {
          before = vec3u();
          digits = vec2u();
          if (stage != 2u) {
            var all = vec2u();
            for (var n = 0u; n < 32u; n++) { all = plus(all, sixteens[n].xy); }
            if (less(all, left)) { left = all; }
          }
          if (stage == 1u) { target_ = partOf(left, p.share, true); }
          if (stage == 3u) { target_ = partOf(left, noise[row] << 1u, false); }
        }
        if (stage == 2u) {
          if (less(sixteens[0].xy, left)) { left = sixteens[0].xy; }
          found = 1u;
        } else {
          var bin = 0u;
          for (; bin < BINS - 16u; bin += 16u) {
            if (enough(stage, joined(before, sixteens[bin / 16u]))) { break; }
            before = joined(before, sixteens[bin / 16u]);
          }
          var own = vec3u();
          for (; bin < BINS; bin++) {
            own = vec3u(atomicLoad(&lows[bin]), atomicLoad(&highs[bin]), atomicLoad(&numbers[bin]));
            if (enough(stage, joined(before, own)) || bin == BINS - 1u) { break; }
            before = joined(before, own);
          }
          if (level < 4u) {
            digits.x = (digits.x << select(9u, 5u, level == 3u)) | bin;
          } else {
            digits.y = (digits.y << 9u) | bin;
          }
          if (own.z <= 1u) {
            found = 1u;
            left = plus(before.xy, own.xy);
          }
        }
      }
      if (workgroupUniformLoad(&found) == 1u) {
        if (stage == 3u && atomicLoad(&wrong) == 0u) { report(row, start, lane, level); }
        break;
      }
    }
  }
  if (lane == 0u && atomicLoad(&wrong) == 1u) { drawn[row] = -1; }
}

var<workgroup> sixteens: array<vec3u, 32>;
fn joined(a: vec3u, b: vec3u) -> vec3u { return vec3u(plus(a.xy, b.xy), a.z + b.z); }
// Whether a prefix with so much weight, and so many tokens, is enough.
fn enough(stage: u32, sum: vec3u) -> bool {
  if (stage == 0u) { return sum.z >= p.k; }
  if (stage == 1u) { return !less(sum.xy, target_); }
  return less(target_, sum.xy);
}
// The one token that has the digits which are known.
fn report(row: u32, start: u32, lane: u32, level: u32) {
  let shift = select(select(23u - 9u * level, 0u, level == 3u), 0u, level > 3u);
  for (var n = lane; n < p.V; n += THREADS) {
    if ((keyOf(x[start + n]) >> shift) != digits.x) { continue; }
    if (level > 3u && (n >> (18u - 9u * (level - 4u))) != digits.y) { continue; }
    drawn[row] = i32(n);
  }
}`);

/** Draws a token from each of `rows` rows x of V logits. */
export function draw(
  device: WgslDevice, x: Memory, noise: Memory, rows: number, V: number, drawing: Omit<Drawing<unknown>, 'noise'>,
): Memory {
  const { temperature, topK = V, topP = 1, minP = 0 } = drawing;
  const drawn = device.allocate(rows);
  device.run(DRAW, {
    params: {
      V, rows, k: Math.min(topK, V), share: topP >= 1 ? 0 : Math.max(1, Math.round(topP * 2 ** 32)), least: minP,
      inverse: Math.min(1 / temperature, 3e38),
    },
    inputs: [x, noise], outputs: [drawn], groups: [Math.min(rows, 32768), Math.ceil(rows / 32768)], work: rows * V * 64,
  });
  return drawn;
}
