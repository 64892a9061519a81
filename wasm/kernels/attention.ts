/**
 * §3 for the queries of one KV head over its keys, which are in the order of their positions: position `pos` (or their
 * index, if that is 0), and `last`, the last query that sees each. `share` query heads read the head; query t of each
 * is at position i0 + t. Hidden keys and values are never read.
 */
import { axpy, dot, exp64, log64 } from './math';
import { F16, widen } from './panels';
import { exponentials, largest, scaled } from './softmax';

@inline
function positionOf(pos: usize, j: i32): i32 {
  return pos ? load<i32>(pos + (<usize>j << 2)) : j;
}
@inline
function at32(list: usize, n: i32): i32 {
  return load<i32>(list + (<usize>n << 2));
}
@inline
function put32(list: usize, n: i32, value: i32): void {
  store<i32>(list + (<usize>n << 2), value);
}

/** The queries that are computed together, over the keys that all of them see. */
const TILE: i32 = 16;

/** The rows of queries, times heads, that are in work at once. */
const ROWS: i32 = 16;

/** Bytes of `room` for attend32 and attend64. */
export function attendRoom(n: i32, d: i32, share: i32): usize {
  const wide = <usize>((d + 7) & ~7);
  const rows = <usize>max(ROWS, share);
  return 64 + (<usize>(n + 16) * rows << 2) + (<usize>n * 20 + 64) + rows * (wide << 3) + ((<usize>n + 8) * (<usize>d + wide) << 2);
}

/** The largest number of visible keys of a query of the latest call. */
let peak: i32 = 0;
export function peakOf(): i32 { return peak; }

/** Four rows of A times a panel of eight columns of B [K,8]. Exported, so that it is not inlined; see matmul.ts. */
export function attentionTile(a: usize, lda: usize, b: usize, c: usize, ldc: usize, K: i32): void {
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

/** float32. Returns the number of visible pairs. Rows of heads are `head` bytes apart in q and out, those of lse in lse. */
export function attend32(
  q: usize, head: usize, k: usize, v: usize, pos: usize, last: usize, n: i32, i0: i32, T: i32, share: i32, d: i32,
  scale: f32, out: usize, lse: usize, lseHead: usize, room: usize,
): f64 {
  const ld = <usize>d << 2;
  const dp = (d + 7) & ~7;
  const ldv = <usize>dp << 2;
  const lds = <usize>((n + 16) & ~3) << 2;
  const S = (room + 15) & ~15;
  const os = S + ROWS * lds;
  const qs = os + ROWS * ldv;
  const zs = qs + ROWS * ldv; // 1 / Z of each row
  const kp = zs + 64;
  const vp = kp + (<usize>(n + 8) * ld);
  const strip = <usize>n << 5; // the bytes of a panel of 8 columns of values
  const live = vp + <usize>n * ldv;
  const shared = live + (<usize>n << 2);
  const partial = shared + (<usize>n << 2);
  let count = 0; // of the keys that are alive
  let next = 0; // the next key to be born
  let before = 0; // how many shared keys the latest tile gathered
  let pairs: f64 = 0;
  peak = 0;
  for (let t0 = 0; t0 < T; t0 += TILE) {
    const R = min(TILE, T - t0);
    const first = i0 + t0;
    const end = first + R - 1;
    let kept = 0;
    for (let m = 0; m < count; m++) {
      const j = at32(live, m);
      if (at32(last, j) >= first) put32(live, kept++, j);
    }
    while (next < n && positionOf(pos, next) <= end) {
      if (at32(last, next) >= first) put32(live, kept++, next);
      next++;
    }
    count = kept;
    let ns = 0;
    let np = 0;
    let same = 0; // how many shared keys are gathered already
    for (let m = 0; m < count; m++) {
      const j = at32(live, m);
      if (positionOf(pos, j) <= first && at32(last, j) >= end) {
        if (same == ns && ns < before && at32(shared, ns) == j) same++;
        put32(shared, ns++, j);
      } else put32(partial, np++, j);
    }
    before = ns;
    for (let m = same; m < ns; m++) {
      const j = at32(shared, m);
      const from = k + <usize>j * ld;
      let to = kp + <usize>(m & ~7) * ld + (<usize>(m & 7) << 2);
      for (let c: usize = 0; c < ld; c += 4) {
        store<f32>(to, load<f32>(from + c));
        to += 32;
      }
      to = vp + (<usize>m << 5);
      for (let c: usize = 0; c < ld; c += 32) {
        memory.copy(to, v + <usize>j * ld + c, min<usize>(32, ld - c));
        to += strip;
      }
    }
    const rows = R * share;
    for (let r0 = 0; r0 < rows; r0 += ROWS) {
      const group = min(ROWS, rows - r0);
      const padded = (group + 3) & ~3;
      for (let r = 0; r < padded; r++) {
        const row = r0 + min(r, group - 1);
        memory.copy(qs + <usize>r * ld, q + <usize>(row % share) * head + <usize>(t0 + row / share) * ld, ld);
      }
      for (let m = 0; m < ns; m += 8) for (let r = 0; r < padded; r += 4) {
        attentionTile(qs + <usize>r * ld, ld, kp + <usize>m * ld, S + <usize>r * lds + (<usize>m << 2), lds, d);
      }
      for (let r = 0; r < group; r++) {
        const s = S + <usize>r * lds;
        const i = first + (r0 + r) / share;
        scaled(s, s, ns, scale);
        let visible = ns;
        for (let m = 0; m < np; m++) {
          const j = at32(partial, m);
          const sees = positionOf(pos, j) <= i && at32(last, j) >= i;
          store<f32>(s + (<usize>(ns + m) << 2), sees ? scale * dot<f32>(qs + <usize>r * ld, k + <usize>j * ld, d) : -Infinity);
          visible += i32(sees);
        }
        if ((r0 + r) % share == 0) {
          pairs += <f64>visible;
          peak = max(peak, visible);
        }
        const top = largest(s, ns + np);
        const z = exponentials(s, ns + np, visible > 0 ? top : 0);
        store<f32>(zs + (<usize>r << 2), visible > 0 ? 1 / z : 0);
        if (lse) {
          const sum = visible > 0 ? <f32>(<f64>top + log64(<f64>z)) : -<f32>Infinity;
          store<f32>(lse + <usize>((r0 + r) % share) * lseHead + (<usize>(t0 + (r0 + r) / share) << 2), sum);
        }
      }
      for (let c = 0; c < dp; c += 8) for (let r = 0; r < padded; r += 4) {
        attentionTile(S + <usize>r * lds, lds, vp + <usize>(c >> 3) * strip, os + <usize>r * ldv + (<usize>c << 2), ldv, ns);
      }
      for (let r = 0; r < group; r++) {
        const to = os + <usize>r * ldv;
        for (let m = 0; m < np; m++) {
          const weight = load<f32>(S + <usize>r * lds + (<usize>(ns + m) << 2));
          if (weight != 0) axpy<f32>(weight, v + <usize>at32(partial, m) * ld, to, d);
        }
        const row = r0 + r;
        scaled(to, out + <usize>(row % share) * head + <usize>(t0 + row / share) * ld, d, load<f32>(zs + (<usize>r << 2)));
      }
    }
  }
  return pairs;
}

/** One query of each head over n keys, all of which it sees: decoding. */
export function decode32(
  q: usize, head: usize, k: usize, v: usize, n: i32, share: i32, d: i32, scale: f32, out: usize, room: usize,
): void {
  const ld = <usize>d << 2;
  const lds = <usize>((n + 16) & ~3) << 2;
  const S = (room + 15) & ~15;
  for (let j = 0; j < n; j++) {
    const key = k + <usize>j * ld;
    for (let h = 0; h < share; h++) {
      store<f32>(S + <usize>h * lds + (<usize>j << 2), scale * dot<f32>(q + <usize>h * head, key, d));
    }
  }
  for (let h = 0; h < share; h++) {
    const s = S + <usize>h * lds;
    const to = out + <usize>h * head;
    const z = exponentials(s, n, largest(s, n));
    let c: usize = 0;
    for (; c + 64 <= ld; c += 64) {
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
      let p = v + c;
      for (let j = 0; j < n; j++) {
        const x = v128.load_splat<f32>(s + (<usize>j << 2));
        a0 = f32x4.add(f32x4.mul(x, v128.load(p)), a0); a1 = f32x4.add(f32x4.mul(x, v128.load(p, 16)), a1);
        a2 = f32x4.add(f32x4.mul(x, v128.load(p, 32)), a2); a3 = f32x4.add(f32x4.mul(x, v128.load(p, 48)), a3);
        p += ld;
      }
      v128.store(to + c, a0); v128.store(to + c, a1, 16); v128.store(to + c, a2, 32); v128.store(to + c, a3, 48);
    }
    if (c < ld) {
      memory.fill(to + c, 0, ld - c);
      for (let j = 0; j < n; j++) axpy<f32>(load<f32>(s + (<usize>j << 2)), v + <usize>j * ld + c, to + c, <i32>((ld - c) >> 2));
    }
    scaled(to, to, d, 1 / z);
  }
}

/** The same two with keys and values in float16, which are widened into `room`. */
export function decodeHalf(
  q: usize, head: usize, k: usize, v: usize, n: i32, share: i32, d: i32, scale: f32, out: usize, room: usize,
): void {
  const numbers = <usize>n * d << 2;
  widen(k, room, n * d, F16);
  widen(v, room + numbers, n * d, F16);
  decode32(q, head, room, room + numbers, n, share, d, scale, out, room + 2 * numbers);
}
export function attendHalf(
  q: usize, head: usize, k: usize, v: usize, pos: usize, last: usize, n: i32, i0: i32, T: i32, share: i32, d: i32,
  scale: f32, out: usize, lse: usize, lseHead: usize, room: usize,
): f64 {
  const numbers = <usize>n * d << 2;
  widen(k, room, n * d, F16);
  widen(v, room + numbers, n * d, F16);
  return attend32(q, head, room, room + numbers, pos, last, n, i0, T, share, d, scale, out, lse, lseHead, room + 2 * numbers);
}

/** float64, in the reference's order of sums. */
export function attend64(
  q: usize, head: usize, k: usize, v: usize, pos: usize, last: usize, n: i32, i0: i32, T: i32, share: i32, d: i32,
  scale: f64, out: usize, lse: usize, lseHead: usize, room: usize,
): f64 {
  const ld = <usize>d << 3;
  const s = (room + 15) & ~15;
  const live = s + (<usize>n << 3);
  let count = 0;
  let next = 0;
  let pairs: f64 = 0;
  peak = 0;
  for (let t = 0; t < T; t++) {
    const i = i0 + t;
    let kept = 0;
    for (let m = 0; m < count; m++) {
      const j = at32(live, m);
      if (at32(last, j) >= i) put32(live, kept++, j);
    }
    while (next < n && positionOf(pos, next) <= i) {
      if (at32(last, next) >= i) put32(live, kept++, next);
      next++;
    }
    count = kept;
    pairs += <f64>count;
    peak = max(peak, count);
    for (let h = 0; h < share; h++) {
      const row = <usize>h * head + <usize>t * ld;
      let top = -<f64>Infinity;
      for (let m = 0; m < count; m++) {
        const score = scale * dot<f64>(q + row, k + <usize>at32(live, m) * ld, d);
        store<f64>(s + (<usize>m << 3), score);
        if (score > top) top = score;
      }
      let z: f64 = 0;
      for (let m = 0; m < count; m++) {
        const e = exp64(load<f64>(s + (<usize>m << 3)) - top);
        store<f64>(s + (<usize>m << 3), e);
        z += e;
      }
      memory.fill(out + row, 0, ld);
      for (let m = 0; m < count; m++) axpy<f64>(load<f64>(s + (<usize>m << 3)) / z, v + <usize>at32(live, m) * ld, out + row, d);
      if (lse) store<f64>(lse + <usize>h * lseHead + (<usize>t << 3), top + log64(z));
    }
  }
  return pairs;
}
