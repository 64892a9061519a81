/**
 * The equations evaluated densely from their definitions. No code is shared with any engine.
 * @module
 */
import { all, create } from 'mathjs';
import type { AttentionProblem } from './arbitraries.ts';

/** The sizes that determine what types [B,G,Nc] mean. */
export interface TypeSizes {
  readonly B: number;
  readonly G: number;
  readonly N: number;
  readonly window: number;
  readonly chunk: number;
  readonly localWindow?: number;
  readonly reach?: number;
}

/** last(j) of a token that every later query sees. */
export const FOREVER: number = 2 ** 31 - 1;

/**
 * §2, by search: last(j) [B,G,N], at most j + reach. A chunk that is not full counts as GLOBAL. With a localWindow,
 * LOCAL is a WINDOW of this width.
 */
export function denseLifetime(
  types: ArrayLike<number>, { B, G, N, window, localWindow, chunk, reach = Infinity }: TypeSizes,
): Int32Array {
  const chunks = Math.ceil(N / chunk);
  const last = new Int32Array(B * G * N);
  for (let head = 0; head < B * G; head++) {
    const typeOf = (c: number): number => ((c + 1) * chunk > N ? 0 : types[head * chunks + c]);
    for (let j = 0; j < N; j++) {
      const c = Math.floor(j / chunk);
      const end = (at: number): number => at * chunk + chunk - 1;
      let value = FOREVER;
      if (typeOf(c) === 2) value = Math.min(FOREVER, end(c) + window);
      if (typeOf(c) === 1 && localWindow !== undefined) {
        value = Math.min(FOREVER, end(c) + localWindow);
      } else if (typeOf(c) === 1) {
        let e = c + 1;
        while (e < chunks && typeOf(e) !== 0) e++;
        if (e < chunks) value = end(e);
      }
      last[head * N + j] = Math.min(value, j + reach);
    }
  }
  return last;
}

/** M [B,G,N,N] of §2 as real numbers. */
export function denseMask(last: ArrayLike<number>, { B, G, N }: Pick<TypeSizes, 'B' | 'G' | 'N'>): Float64Array {
  const M = new Float64Array(B * G * N * N);
  for (let n = 0; n < M.length; n++) {
    const j = n % N;
    const i = Math.floor(n / N) % N;
    const head = Math.floor(n / (N * N));
    M[n] = j <= i && i <= last[head * N + j] ? 1 : 0;
  }
  return M;
}

/**
 * §5 for real-valued soft types [B,G,Nc,3]: M [B,G,N,N]. The product is over the chunks strictly between the two; a
 * localWindow takes its place. M is 0 where i - j > reach, whatever the types.
 */
export function relaxedMask(
  soft: ArrayLike<number>, { B, G, N, window, localWindow, chunk, reach = Infinity }: TypeSizes,
): Float64Array {
  const chunks = Math.ceil(N / chunk);
  const M = new Float64Array(B * G * N * N);
  for (let head = 0; head < B * G; head++) {
    const type = (c: number, t: number): number => soft[(head * chunks + c) * 3 + t];
    for (let i = 0; i < N; i++) {
      for (let j = Math.max(0, i - reach); j <= i; j++) {
        const c = Math.floor(j / chunk);
        let open = 1;
        for (let n = c + 1; n < Math.floor(i / chunk); n++) open *= 1 - type(n, 0);
        const within = (width: number): number => (i <= c * chunk + chunk - 1 + width ? 1 : 0);
        if (localWindow !== undefined) open = within(localWindow);
        M[(head * N + i) * N + j] = type(c, 0) + type(c, 1) * open + type(c, 2) * within(window);
      }
    }
  }
  return M;
}

/** One-hot types [B,G,Nc,3]. */
export function oneHot(types: ArrayLike<number>): Float64Array {
  const soft = new Float64Array(types.length * 3);
  for (let n = 0; n < types.length; n++) soft[n * 3 + types[n]] = 1;
  return soft;
}

type Inputs = Pick<AttentionProblem, 'B' | 'G' | 'H' | 'N' | 'd' | 'scale' | 'q' | 'k' | 'v' | 'dOut'>;

/**
 * §3 with a real-valued mask: sum of dOut * out, where out_i = sum_j M E v / sum_j M E over ALL j <= i.
 * The maximum over all of them cancels; it only prevents overflow.
 */
export function denseLoss(p: Inputs, M: ArrayLike<number>): number {
  const { B, G, H, N, d } = p;
  let loss = 0;
  for (let bh = 0; bh < B * H; bh++) {
    const head = Math.floor(bh / H) * G + Math.floor((bh % H) / (H / G));
    for (let i = 0; i < N; i++) {
      const S: number[] = [];
      for (let j = 0; j <= i; j++) {
        let s = 0;
        for (let x = 0; x < d; x++) s += p.q[(bh * N + i) * d + x] * p.k[(head * N + j) * d + x];
        S.push(s * p.scale);
      }
      const most = Math.max(...S);
      let Z = 0;
      let dot = 0;
      for (let j = 0; j <= i; j++) {
        const weight = M[(head * N + i) * N + j] * Math.exp(S[j] - most);
        Z += weight;
        for (let x = 0; x < d; x++) dot += weight * p.dOut[(bh * N + i) * d + x] * p.v[(head * N + j) * d + x];
      }
      loss += dot / Z;
    }
  }
  return loss;
}

const math = create(all, {});
// §3 for one head. Subtracting a huge number from hidden scores gives M E without overflow, since exp(-1e300) = 0.
const ATTENTION = math.compile(`
  ln(z) = log(z);
  X = scale * q * transpose(k) - 1e300 * (1 - M);
  m = reshape(max(X, 2), [N, 1]);
  E = map(X - m, exp);
  Z = reshape(sum(E, 2), [N, 1]);
  out = (E * v) ./ Z;
  lse = m + map(Z, ln)
`);

/** §3 by mathjs matrices: out [B,H,N,d] and lse [B,H,N]. */
export function mathjsAttention(p: Inputs & { last: Int32Array }): { out: Float64Array; lse: Float64Array } {
  const { B, G, H, N, d } = p;
  const M = denseMask(p.last, p);
  const matrix = (x: Float64Array, start: number, columns: number): unknown =>
    math.reshape(math.matrix(Array.from(x.subarray(start * columns, (start + N) * columns))), [N, columns]);
  const out: number[] = [];
  const lse: number[] = [];
  for (let bh = 0; bh < B * H; bh++) {
    const head = Math.floor(bh / H) * G + Math.floor((bh % H) / (H / G));
    const scope: Record<string, unknown> = {
      N, scale: p.scale, q: matrix(p.q, bh * N, d), k: matrix(p.k, head * N, d), v: matrix(p.v, head * N, d),
      M: matrix(M, head * N, N),
    };
    ATTENTION.evaluate(scope);
    out.push(...(math.flatten(scope['out'] as never) as unknown as { toArray(): number[] }).toArray());
    lse.push(...(math.flatten(scope['lse'] as never) as unknown as { toArray(): number[] }).toArray());
  }
  return { out: Float64Array.from(out), lse: Float64Array.from(lse) };
}
