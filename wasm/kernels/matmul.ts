/**
 * C = A Bᵀ. A [M,K] is read as it is; B [N,K] is packed into panels (panels.ts). Every sum runs over K in order, so a
 * result depends neither on M and N nor on tiles, and in float64 it has the reference's bits. Panels are 8 columns of float32, float16 or bfloat16 in a float32 engine, and 4
 * columns of float32 or float64 in a float64 engine.
 */
import { BF16, F16, widen } from './panels';

/** Room for a tile whose panel has fewer than 8 columns: 192 bytes, which every thread has of its own. */
let edge: usize = 0;
export function setEdge(at: usize): void { edge = at; }

/**
 * Six rows of A times a panel of 8 columns. This and the next are functions of their own, with as few variables as
 * possible, since the compilers of WebAssembly keep those of small functions in registers. They are exported, so that
 * nothing inlines them.
 */
export function tile6(a: usize, lda: usize, b: usize, c: usize, ldc: usize, K: i32): void {
  let s00 = f32x4.splat(0), s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00, s30 = s00, s31 = s00, s40 = s00, s41 = s00, s50 = s00, s51 = s00;
  let a1 = a + lda, a2 = a1 + lda, a3 = a2 + lda, a4 = a3 + lda, a5 = a4 + lda;
  const end = a + (<usize>K << 2);
  while (a < end) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let x = v128.load_splat<f32>(a);
    s00 = f32x4.add(f32x4.mul(x, b0), s00); s01 = f32x4.add(f32x4.mul(x, b1), s01);
    x = v128.load_splat<f32>(a1);
    s10 = f32x4.add(f32x4.mul(x, b0), s10); s11 = f32x4.add(f32x4.mul(x, b1), s11);
    x = v128.load_splat<f32>(a2);
    s20 = f32x4.add(f32x4.mul(x, b0), s20); s21 = f32x4.add(f32x4.mul(x, b1), s21);
    x = v128.load_splat<f32>(a3);
    s30 = f32x4.add(f32x4.mul(x, b0), s30); s31 = f32x4.add(f32x4.mul(x, b1), s31);
    x = v128.load_splat<f32>(a4);
    s40 = f32x4.add(f32x4.mul(x, b0), s40); s41 = f32x4.add(f32x4.mul(x, b1), s41);
    x = v128.load_splat<f32>(a5);
    s50 = f32x4.add(f32x4.mul(x, b0), s50); s51 = f32x4.add(f32x4.mul(x, b1), s51);
    b += 32; a += 4; a1 += 4; a2 += 4; a3 += 4; a4 += 4; a5 += 4;
  }
  v128.store(c, s00); v128.store(c, s01, 16); c += ldc;
  v128.store(c, s10); v128.store(c, s11, 16); c += ldc;
  v128.store(c, s20); v128.store(c, s21, 16); c += ldc;
  v128.store(c, s30); v128.store(c, s31, 16); c += ldc;
  v128.store(c, s40); v128.store(c, s41, 16); c += ldc;
  v128.store(c, s50); v128.store(c, s51, 16);
}

/** Four rows. */
export function tile4(a: usize, lda: usize, b: usize, c: usize, ldc: usize, K: i32): void {
  let s00 = f32x4.splat(0), s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00, s30 = s00, s31 = s00;
  let a1 = a + lda, a2 = a1 + lda, a3 = a2 + lda;
  const end = a + (<usize>K << 2);
  while (a < end) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let x = v128.load_splat<f32>(a);
    s00 = f32x4.add(f32x4.mul(x, b0), s00); s01 = f32x4.add(f32x4.mul(x, b1), s01);
    x = v128.load_splat<f32>(a1);
    s10 = f32x4.add(f32x4.mul(x, b0), s10); s11 = f32x4.add(f32x4.mul(x, b1), s11);
    x = v128.load_splat<f32>(a2);
    s20 = f32x4.add(f32x4.mul(x, b0), s20); s21 = f32x4.add(f32x4.mul(x, b1), s21);
    x = v128.load_splat<f32>(a3);
    s30 = f32x4.add(f32x4.mul(x, b0), s30); s31 = f32x4.add(f32x4.mul(x, b1), s31);
    b += 32; a += 4; a1 += 4; a2 += 4; a3 += 4;
  }
  v128.store(c, s00); v128.store(c, s01, 16); c += ldc;
  v128.store(c, s10); v128.store(c, s11, 16); c += ldc;
  v128.store(c, s20); v128.store(c, s21, 16); c += ldc;
  v128.store(c, s30); v128.store(c, s31, 16);
}

/** One row. */
export function tile1(a: usize, b: usize, c: usize, K: i32): void {
  let s0 = f32x4.splat(0), s1 = s0;
  const end = a + (<usize>K << 2);
  while (a < end) {
    const x = v128.load_splat<f32>(a);
    s0 = f32x4.add(f32x4.mul(x, v128.load(b)), s0); s1 = f32x4.add(f32x4.mul(x, v128.load(b, 16)), s1);
    b += 32; a += 4;
  }
  v128.store(c, s0); v128.store(c, s1, 16);
}

/** Rows m0..m1-1 times a panel, to rows of C that are `row` bytes apart and have room for 8 columns. */
@inline
function panelRows(A: usize, lda: usize, b: usize, c: usize, row: usize, m0: i32, m1: i32, K: i32): void {
  let m = m0;
  // Eight rows are twice four.
  for (; m + 6 <= m1 && m + 8 != m1; m += 6) tile6(A + <usize>m * lda, lda, b, c + <usize>m * row, row, K);
  for (; m + 4 <= m1; m += 4) tile4(A + <usize>m * lda, lda, b, c + <usize>m * row, row, K);
  for (; m < m1; m++) tile1(A + <usize>m * lda, b, c + <usize>m * row, K);
}

/** The same for a panel of fewer columns. */
function lastRows(A: usize, lda: usize, b: usize, c: usize, row: usize, m0: i32, m1: i32, K: i32, columns: i32): void {
  for (let m = m0; m < m1;) {
    const rows = m + 4 <= m1 ? 4 : 1;
    if (rows == 4) tile4(A + <usize>m * lda, lda, b, edge, 32, K);
    else tile1(A + <usize>m * lda, b, edge, K);
    for (let r = 0; r < rows; r++, m++) memory.copy(c + <usize>m * row, edge + (<usize>r << 5), <usize>columns << 2);
  }
}

/** Rows of A that are multiplied by all panels in turn: few enough to stay in the second-level cache. */
const ROWS: i32 = 96;

/** C [M,N] = A [M,K] times float32 panels; ldc is the number of columns between rows of C. */
export function gemm32(A: usize, panels: usize, C: usize, M: i32, N: i32, K: i32, ldc: i32): void {
  const lda = <usize>K << 2;
  const row = <usize>ldc << 2;
  for (let m0 = 0; m0 < M; m0 += ROWS) {
    const m1 = min(M, m0 + ROWS);
    for (let n = 0; n < N; n += 8) {
      const b = panels + (<usize>n * K << 2);
      const c = C + (<usize>n << 2);
      if (n + 8 <= N) panelRows(A, lda, b, c, row, m0, m1, K);
      else lastRows(A, lda, b, c, row, m0, m1, K, N - n);
    }
  }
}

/** The same over panels of float16 or bfloat16, each of which is widened into `room` first. */
export function gemm16(A: usize, panels: usize, C: usize, M: i32, N: i32, K: i32, ldc: i32, dtype: i32, room: usize): void {
  for (let n = 0; n < N; n += 8) {
    widen(panels + (<usize>n * K << 1), room, 8 * K, dtype);
    gemm32(A, room, C + (<usize>n << 2), M, min(8, N - n), K, ldc);
  }
}

/** One row of A times all panels, four panels at a time. */
export function gemv32(A: usize, panels: usize, C: usize, N: i32, K: i32): void {
  const P = <usize>K << 5;
  const end = A + (<usize>K << 2);
  let n = 0;
  for (; n + 32 <= N; n += 32) {
    let p = panels + (<usize>n * K << 2), q = p + P, r = q + P, t = r + P;
    let a = A;
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    while (a < end) {
      const x = v128.load_splat<f32>(a);
      s0 = f32x4.add(f32x4.mul(x, v128.load(p)), s0); s1 = f32x4.add(f32x4.mul(x, v128.load(p, 16)), s1);
      s2 = f32x4.add(f32x4.mul(x, v128.load(q)), s2); s3 = f32x4.add(f32x4.mul(x, v128.load(q, 16)), s3);
      s4 = f32x4.add(f32x4.mul(x, v128.load(r)), s4); s5 = f32x4.add(f32x4.mul(x, v128.load(r, 16)), s5);
      s6 = f32x4.add(f32x4.mul(x, v128.load(t)), s6); s7 = f32x4.add(f32x4.mul(x, v128.load(t, 16)), s7);
      a += 4; p += 32; q += 32; r += 32; t += 32;
    }
    const c = C + (<usize>n << 2);
    v128.store(c, s0); v128.store(c, s1, 16); v128.store(c, s2, 32); v128.store(c, s3, 48);
    v128.store(c, s4, 64); v128.store(c, s5, 80); v128.store(c, s6, 96); v128.store(c, s7, 112);
  }
  for (; n < N; n += 8) {
    tile1(A, panels + (<usize>n * K << 2), edge, K);
    memory.copy(C + (<usize>n << 2), edge, <usize>min(8, N - n) << 2);
  }
}

/**
 * Four numbers of panels for gemvHalf. Those of float16 are 2^-112 of their value, which A makes up for: the products
 * are the same numbers, one operation earlier.
 */
@inline
function lifted(from: usize, dtype: i32): v128 {
  const h = v128.load16x4_s(from);
  if (dtype != F16) return i32x4.shl(h, 16);
  return v128.and(i32x4.shl(h, 13), i32x4.splat(<i32>0x8fffffff));
}

/** Whether 2^112 times every one of n numbers is finite. If so, writes these products to `to`. */
export function lift(from: usize, to: usize, n: i32): i32 {
  for (let at: usize = 0; at < <usize>n << 2; at += 4) {
    const x = load<f32>(from + at);
    if (!(abs<f32>(x) < 32768)) return 0;
    store<f32>(to + at, x * 5.192296858534828e33);
  }
  return 1;
}

/** The same as gemv32 over panels of float16 or bfloat16. In float16, A comes from lift(). */
@inline
function gemvHalf(A: usize, panels: usize, C: usize, N: i32, K: i32, dtype: i32): void {
  const P = <usize>K << 4;
  const end = A + (<usize>K << 2);
  let n = 0;
  for (; n + 32 <= N; n += 32) { // four streams keep the memory busy
    let p = panels + (<usize>n * K << 1), q = p + P, r = q + P, t = r + P;
    let a = A;
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    while (a < end) {
      const x = v128.load_splat<f32>(a);
      s0 = f32x4.add(f32x4.mul(x, lifted(p, dtype)), s0); s1 = f32x4.add(f32x4.mul(x, lifted(p + 8, dtype)), s1);
      s2 = f32x4.add(f32x4.mul(x, lifted(q, dtype)), s2); s3 = f32x4.add(f32x4.mul(x, lifted(q + 8, dtype)), s3);
      s4 = f32x4.add(f32x4.mul(x, lifted(r, dtype)), s4); s5 = f32x4.add(f32x4.mul(x, lifted(r + 8, dtype)), s5);
      s6 = f32x4.add(f32x4.mul(x, lifted(t, dtype)), s6); s7 = f32x4.add(f32x4.mul(x, lifted(t + 8, dtype)), s7);
      a += 4; p += 16; q += 16; r += 16; t += 16;
    }
    const c = C + (<usize>n << 2);
    v128.store(c, s0); v128.store(c, s1, 16); v128.store(c, s2, 32); v128.store(c, s3, 48);
    v128.store(c, s4, 64); v128.store(c, s5, 80); v128.store(c, s6, 96); v128.store(c, s7, 112);
  }
  for (; n < N; n += 8) {
    let p = panels + (<usize>n * K << 1);
    let s0 = f32x4.splat(0), s1 = s0;
    for (let a = A; a < end; a += 4) {
      const x = v128.load_splat<f32>(a);
      s0 = f32x4.add(f32x4.mul(x, lifted(p, dtype)), s0); s1 = f32x4.add(f32x4.mul(x, lifted(p + 8, dtype)), s1);
      p += 16;
    }
    v128.store(edge, s0); v128.store(edge, s1, 16);
    memory.copy(C + (<usize>n << 2), edge, <usize>min(8, N - n) << 2);
  }
}
export function gemvF16(A: usize, panels: usize, C: usize, N: i32, K: i32): void { gemvHalf(A, panels, C, N, K, F16); }
export function gemvBF16(A: usize, panels: usize, C: usize, N: i32, K: i32): void { gemvHalf(A, panels, C, N, K, BF16); }

@inline
function pair<E>(b: usize, second: bool): v128 {
  if (sizeof<E>() == 8) return second ? v128.load(b, 16) : v128.load(b);
  return f64x2.promote_low_f32x4(second ? v128.load64_zero(b, 8) : v128.load64_zero(b));
}
@inline
function storePairs(c: usize, first: v128, second: v128, columns: i32): void {
  if (columns >= 2) v128.store(c, first); else store<f64>(c, f64x2.extract_lane(first, 0));
  if (columns >= 4) v128.store(c, second, 16); else if (columns == 3) store<f64>(c, f64x2.extract_lane(second, 0), 16);
}

/** C [M,N] = A [M,K] float64 times panels of 4 columns of E, float32 or float64. */
@inline
function gemmWide<E>(A: usize, panels: usize, C: usize, M: i32, N: i32, K: i32, ldc: i32): void {
  const lda = <usize>K << 3;
  const row = <usize>ldc << 3;
  const step = sizeof<E>() * 4;
  for (let m0 = 0; m0 < M; m0 += ROWS) {
    const m1 = min(M, m0 + ROWS);
    for (let n = 0; n < N; n += 4) {
      const start = panels + <usize>n * K * sizeof<E>();
      for (let m = m0; m < m1; m += 4) {
        // The last rows may come twice, which computes them twice.
        const a0 = A + <usize>m * lda, a1 = A + <usize>min(m + 1, m1 - 1) * lda, a2 = A + <usize>min(m + 2, m1 - 1) * lda, a3 = A + <usize>min(m + 3, m1 - 1) * lda;
        let s00 = f64x2.splat(0), s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00, s30 = s00, s31 = s00;
        let b = start;
        for (let k: usize = 0; k < lda; k += 8) {
          const p = pair<E>(b, false), q = pair<E>(b, true);
          b += step;
          let x = v128.load64_splat(a0 + k);
          s00 = f64x2.add(s00, f64x2.mul(x, p)); s01 = f64x2.add(s01, f64x2.mul(x, q));
          x = v128.load64_splat(a1 + k);
          s10 = f64x2.add(s10, f64x2.mul(x, p)); s11 = f64x2.add(s11, f64x2.mul(x, q));
          x = v128.load64_splat(a2 + k);
          s20 = f64x2.add(s20, f64x2.mul(x, p)); s21 = f64x2.add(s21, f64x2.mul(x, q));
          x = v128.load64_splat(a3 + k);
          s30 = f64x2.add(s30, f64x2.mul(x, p)); s31 = f64x2.add(s31, f64x2.mul(x, q));
        }
        const c = C + (<usize>n << 3);
        storePairs(c + <usize>m * row, s00, s01, N - n);
        storePairs(c + <usize>min(m + 1, m1 - 1) * row, s10, s11, N - n);
        storePairs(c + <usize>min(m + 2, m1 - 1) * row, s20, s21, N - n);
        storePairs(c + <usize>min(m + 3, m1 - 1) * row, s30, s31, N - n);
      }
    }
  }
}
export function gemm64x32(A: usize, panels: usize, C: usize, M: i32, N: i32, K: i32, ldc: i32): void { gemmWide<f32>(A, panels, C, M, N, K, ldc); }
export function gemm64x64(A: usize, panels: usize, C: usize, M: i32, N: i32, K: i32, ldc: i32): void { gemmWide<f64>(A, panels, C, M, N, K, ldc); }

/** One row times panels of float32, 16 columns at a time. */
export function gemv64x32(A: usize, panels: usize, C: usize, N: i32, K: i32): void {
  const P = <usize>K << 4;
  let n = 0;
  for (; n + 16 <= N; n += 16) {
    let b = panels + (<usize>n * K << 2);
    let s0 = f64x2.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    for (let k = 0; k < K; k++) {
      const x = v128.load64_splat(A + (<usize>k << 3));
      s0 = f64x2.add(s0, f64x2.mul(x, pair<f32>(b, false))); s1 = f64x2.add(s1, f64x2.mul(x, pair<f32>(b, true)));
      s2 = f64x2.add(s2, f64x2.mul(x, pair<f32>(b + P, false))); s3 = f64x2.add(s3, f64x2.mul(x, pair<f32>(b + P, true)));
      s4 = f64x2.add(s4, f64x2.mul(x, pair<f32>(b + 2 * P, false))); s5 = f64x2.add(s5, f64x2.mul(x, pair<f32>(b + 2 * P, true)));
      s6 = f64x2.add(s6, f64x2.mul(x, pair<f32>(b + 3 * P, false))); s7 = f64x2.add(s7, f64x2.mul(x, pair<f32>(b + 3 * P, true)));
      b += 16;
    }
    const c = C + (<usize>n << 3);
    v128.store(c, s0); v128.store(c, s1, 16); v128.store(c, s2, 32); v128.store(c, s3, 48);
    v128.store(c, s4, 64); v128.store(c, s5, 80); v128.store(c, s6, 96); v128.store(c, s7, 112);
  }
  if (n < N) gemmWide<f32>(A, panels + (<usize>n * K << 2), C + (<usize>n << 3), 1, N - n, K, N);
}
