/**
 * Panels of B [N,K], in which products read it: [N/width][K][width], the last one filled up with zeros, so that every
 * step of a product reads neighbours. And the numbers of 16 bits that panels may hold.
 */

/** What a panel holds, as a number. */
export const F32: i32 = 0;
export const F16: i32 = 1;
export const BF16: i32 = 2;

/** B [N,K] -> panels of W columns of elements E. */
@inline
function pack<E>(B: usize, N: i32, K: i32, out: usize, W: i32): void {
  const size = sizeof<E>();
  for (let n = 0; n < N; n += W) {
    for (let c = 0; c < W; c++) {
      let to = out + <usize>n * K * size + <usize>c * size;
      const step = <usize>W * size;
      if (n + c < N) {
        const from = B + <usize>(n + c) * K * size;
        for (let k: usize = 0; k < <usize>K * size; k += size) { store<E>(to, load<E>(from + k)); to += step; }
      } else for (let k = 0; k < K; k++) { store<E>(to, 0); to += step; }
    }
  }
}
export function pack16x8(B: usize, N: i32, K: i32, out: usize): void { pack<u16>(B, N, K, out, 8); }
export function pack32x8(B: usize, N: i32, K: i32, out: usize): void { pack<u32>(B, N, K, out, 8); }
export function pack32x4(B: usize, N: i32, K: i32, out: usize): void { pack<u32>(B, N, K, out, 4); }
export function pack64x4(B: usize, N: i32, K: i32, out: usize): void { pack<u64>(B, N, K, out, 4); }

/** B given as its transpose [K,N] -> panels of 32 bytes a row: 8 columns of float32, or 4 of float64. */
export function packTransposed(B: usize, N: i32, K: i32, out: usize, size: i32): void {
  const row = <usize>N * size;
  for (let at: usize = 0; at < row; at += 32) {
    const room = min<usize>(32, row - at);
    let from = B + at;
    for (let k = 0; k < K; k++) {
      if (room == 32) {
        v128.store(out, v128.load(from));
        v128.store(out, v128.load(from, 16), 16);
      } else {
        memory.fill(out, 0, 32);
        memory.copy(out, from, room);
      }
      from += row;
      out += 32;
    }
  }
}

/** Row `n` of B from its panels, as float32 elements of E (u16 or u32 or u64), for embeddings that are also heads. */
@inline
function unpackRow<E>(panels: usize, n: i32, K: i32, out: usize, W: i32): void {
  const size = sizeof<E>();
  let from = panels + <usize>(n / W * W) * K * size + <usize>(n % W) * size;
  for (let k = 0; k < K; k++) { store<E>(out, load<E>(from)); from += <usize>W * size; out += size; }
}
export function unpackRow16x8(p: usize, n: i32, K: i32, out: usize): void { unpackRow<u16>(p, n, K, out, 8); }
export function unpackRow32x8(p: usize, n: i32, K: i32, out: usize): void { unpackRow<u32>(p, n, K, out, 8); }
export function unpackRow32x4(p: usize, n: i32, K: i32, out: usize): void { unpackRow<u32>(p, n, K, out, 4); }
export function unpackRow64x4(p: usize, n: i32, K: i32, out: usize): void { unpackRow<u64>(p, n, K, out, 4); }

/** x [rows,columns] -> [columns,rows]. */
export function transpose32(x: usize, rows: i32, columns: i32, out: usize): void {
  for (let r0 = 0; r0 < rows; r0 += 16) for (let c = 0; c < columns; c++) for (let r = r0; r < min(r0 + 16, rows); r++)
    store<u32>(out + (<usize>(c * rows + r) << 2), load<u32>(x + (<usize>(r * columns + c) << 2)));
}
export function transpose64(x: usize, rows: i32, columns: i32, out: usize): void {
  for (let r0 = 0; r0 < rows; r0 += 16) for (let c = 0; c < columns; c++) for (let r = r0; r < min(r0 + 16, rows); r++)
    store<u64>(out + (<usize>(c * rows + r) << 3), load<u64>(x + (<usize>(r * columns + c) << 3)));
}

/**
 * Four float16 (dtype 1) or bfloat16 (dtype 2) numbers from memory. The exponent of float16 is moved into that of
 * float32, and corrected by a product with 2^112, which is exact for numbers below the normal ones, too. The engine
 * stores no infinite ones as float16.
 */
@inline
function widened(from: usize, dtype: i32): v128 {
  const h = v128.load16x4_s(from);
  if (dtype != F16) return i32x4.shl(h, 16);
  return f32x4.mul(v128.and(i32x4.shl(h, 13), i32x4.splat(<i32>0x8fffffff)), f32x4.splat(5.192296858534828e33));
}

/** n float16 (dtype 1) or bfloat16 (dtype 2) numbers as float32. */
export function widen(from: usize, to: usize, n: i32, dtype: i32): void {
  let k = 0;
  for (; k + 4 <= n; k += 4) {
    v128.store(to, widened(from, dtype));
    from += 8;
    to += 16;
  }
  for (; k < n; k++) {
    const h = <i32>load<i16>(from);
    store<f32>(to, dtype == F16 ? reinterpret<f32>((h << 13) & 0x8fffffff) * 5.192296858534828e33 : reinterpret<f32>(h << 16));
    from += 2;
    to += 4;
  }
}

/** float32 numbers to float16, rounded to nearest, ties to even. */
export function narrow(from: usize, to: usize, n: i32): void {
  for (let k = 0; k < n; k++) {
    const bits = load<u32>(from + (<usize>k << 2));
    const sign = (bits >> 16) & 0x8000;
    const value = reinterpret<f32>(bits & 0x7fffffff);
    let half: u32;
    if (value !== value) half = 0x7e00;
    else if (value >= 65520) half = 0x7c00;
    else if (value < 6.103515625e-5) half = <u32>nearest<f32>(value * 16777216); // below the normal numbers
    else {
      const magnitude = bits & 0x7fffffff;
      half = (magnitude + 0xfff + ((magnitude >> 13) & 1) - 0x38000000) >> 13;
    }
    store<u16>(to + (<usize>k << 1), <u16>(sign | half));
  }
}
