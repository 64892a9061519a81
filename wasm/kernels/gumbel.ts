/**
 * Gumbel noise as src/core/random.ts draws it, with the same bits: a module of its own, with a memory of its own.
 * xoroshiro128+ is that of pure-rand (s1 and s0 of a state as two words each), a uniform number has 26 bits of one word
 * and 27 of the next, and the logarithm is that of src/core/elementary.ts, two numbers at a time.
 */

const SCALE26: f64 = 1.4901161193847656e-8;
const SCALE53: f64 = 1.1102230246251565e-16;

/** The state of the generator, 4 words: s01, s00, s11, s10. */
const STATE: usize = memory.data(16, 16);
/** The numbers of a block. */
const BLOCK: i32 = 4096;
const NUMBERS: usize = memory.data(32768, 16);

export function block(): i32 { return BLOCK; }
export function numbers(): usize { return NUMBERS; }

/** Names the stream from which draw() goes on. */
export function begin(s01: i32, s00: i32, s11: i32, s10: i32): void {
  store<i32>(STATE, s01);
  store<i32>(STATE, s00, 4);
  store<i32>(STATE, s11, 8);
  store<i32>(STATE, s10, 12);
}

/** Writes the next `count` numbers of the stream, at most a block. */
export function draw(count: i32): void {
  uniforms(count);
  const end = NUMBERS + (<usize>count << 3);
  // A logarithm is a long chain of operations: one loop over many has many of them under way.
  for (let at = NUMBERS; at < end; at += 16) v128.store(at, f64x2.neg(log2(v128.load(at))));
  for (let at = NUMBERS; at < end; at += 16) v128.store(at, f64x2.neg(log2(v128.load(at))));
}

/** Rounds the first `count` numbers to float32, which then lie in their place. */
export function narrow(count: i32): void {
  const end = NUMBERS + (<usize>count << 2);
  for (let to = NUMBERS, from = NUMBERS; to < end; to += 8, from += 16) {
    store<i64>(to, i64x2.extract_lane(f32x4.demote_f64x2_zero(v128.load(from)), 0));
  }
}

/** Writes `count` numbers in (0, 1). */
function uniforms(count: i32): void {
  let s01 = load<i32>(STATE);
  let s00 = load<i32>(STATE, 4);
  let s11 = load<i32>(STATE, 8);
  let s10 = load<i32>(STATE, 12);
  let upper = 0;
  let half = false;
  let at = NUMBERS;
  const end = NUMBERS + (<usize>count << 3);
  while (at < end) {
    const out = s00 + s10;
    const a0 = s10 ^ s00;
    const a1 = s11 ^ s01;
    const b00 = s00;
    const b01 = s01;
    s00 = b00 << 24 ^ b01 >>> 8 ^ a0 ^ a0 << 16;
    s01 = b01 << 24 ^ b00 >>> 8 ^ a1 ^ (a1 << 16 | a0 >>> 16);
    s10 = a1 << 5 ^ a0 >>> 27;
    s11 = a0 << 5 ^ a1 >>> 27;
    if (half) {
      const U = <f64>upper * SCALE26 + <f64>(out & 0x7ffffff) * SCALE53;
      store<f64>(at, U);
      if (U !== 0) at += 8;
    } else {
      upper = out & 0x3ffffff;
    }
    half = !half;
  }
  store<i32>(STATE, s01);
  store<i32>(STATE, s00, 4);
  store<i32>(STATE, s11, 8);
  store<i32>(STATE, s10, 12);
}

/** From the upper half of the bits of sqrt 1/2 to those of 1, so that the exponent counts from sqrt 1/2 on. */
const ROOT: i64 = <i64>(0x3ff00000 - 0x3fe6a09e) << 32;

/** The natural logarithm of two normal numbers above 0. */
@inline
function log2(x: v128): v128 {
  // x = m 2^k with m from sqrt 1/2 to sqrt 2. The sign is 0, so that a shift of 64 bits gives the exponent.
  let k = i64x2.sub(i64x2.shr_u(i64x2.add(x, i64x2.splat(ROOT)), 52), i64x2.splat(1023));
  let m = i64x2.sub(x, i64x2.shl(k, 52));
  const below = f64x2.lt(m, f64x2.splat(0.7071067811865476)); // the upper half of its bits is that of sqrt 1/2
  m = v128.bitselect(f64x2.add(m, m), m, below);
  k = i64x2.add(k, below); // where it holds, below is -1
  const n = f64x2.convert_low_i32x4_s(v128.shuffle<i32>(k, k, 0, 2, 0, 2));
  const f = f64x2.div(f64x2.sub(m, f64x2.splat(1)), f64x2.add(m, f64x2.splat(1)));
  const s = f64x2.mul(f, f);
  let p = f64x2.mul(s, f64x2.splat(<f64>1 / 23));
  p = f64x2.mul(s, f64x2.add(f64x2.splat(<f64>1 / 21), p));
  p = f64x2.mul(s, f64x2.add(f64x2.splat(<f64>1 / 19), p));
  p = f64x2.mul(s, f64x2.add(f64x2.splat(<f64>1 / 17), p));
  p = f64x2.mul(s, f64x2.add(f64x2.splat(<f64>1 / 15), p));
  p = f64x2.mul(s, f64x2.add(f64x2.splat(<f64>1 / 13), p));
  p = f64x2.mul(s, f64x2.add(f64x2.splat(<f64>1 / 11), p));
  p = f64x2.mul(s, f64x2.add(f64x2.splat(<f64>1 / 9), p));
  p = f64x2.mul(s, f64x2.add(f64x2.splat(<f64>1 / 7), p));
  p = f64x2.mul(s, f64x2.add(f64x2.splat(<f64>1 / 5), p));
  p = f64x2.mul(s, f64x2.add(f64x2.splat(<f64>1 / 3), p));
  const twice = f64x2.add(f, f);
  const low = f64x2.add(f64x2.mul(twice, p), f64x2.mul(n, f64x2.splat(1.9082149292705877e-10)));
  return f64x2.add(f64x2.mul(n, f64x2.splat(0.6931471803691238)), f64x2.add(twice, low));
}
