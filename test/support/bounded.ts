/**
 * §3, §4 and §5 written out densely, on numbers with error bounds: the truth together with its budget.
 * @module
 */
import type { MaskGradientRule } from '../../src/core/training-engine.ts';
import type { AttentionProblem } from './arbitraries.ts';
import type { TypeSizes } from './dense.ts';
import { type Bounded, exact, type Rounding } from './tolerance.ts';

type Problem = Omit<AttentionProblem, 'types' | 'only' | 'tied' | 'seed' | 'window' | 'chunk' | 'dOut'>;

/** One query row of one head, and where its keys and values are. */
interface Row {
  /** Row of q, out, dOut: (b H + h) N + i. */
  readonly query: number;
  /** First row of k and v of its KV head: (b G + g) N. */
  readonly base: number;
  readonly i: number;
  readonly visible: readonly number[];
}

function* rows({ B, G, H, N, last }: Problem, first = 0): Generator<Row> {
  for (let bh = 0; bh < B * H; bh++) {
    const base = (Math.floor(bh / H) * G + Math.floor((bh % H) / (H / G))) * N;
    for (let i = first; i < N; i++) {
      const visible: number[] = [];
      for (let j = 0; j <= i; j++) if (i <= last[base + j]) visible.push(j);
      yield { query: bh * N + i, base, i, visible };
    }
  }
}

/** a_i . b_j * factor with two roundings per term, so that it does not matter where the factor is applied. */
function dot(
  R: Rounding, a: ArrayLike<number>, i: number, b: ArrayLike<number>, j: number, d: number, factor: Bounded,
): Bounded {
  const terms: Bounded[] = [];
  for (let x = 0; x < d; x++) {
    terms.push(R.multiply(factor, R.product(exact(a[i * d + x]), exact(b[j * d + x]))));
  }
  return R.sum(terms);
}

const ONE = exact(1);

/**
 * Softmax weights before division. An online softmax rescales a term whenever the maximum grows: at most n
 * times, by exponentials whose arguments add up to at most the range of the scores.
 */
function weights(R: Rounding, S: readonly Bounded[]): { m: Bounded; E: Bounded[] } {
  const m = R.max(S);
  const range = m.value - Math.min(...S.map((s) => s.value)) + 2 * m.error;
  const rescaled = { value: 1, error: R.u * (7 * S.length + 4 * range) };
  return { m, E: S.map((s) => R.multiply(R.exp(R.subtract(s, m)), rescaled)) };
}

/** m + log sum exp(S - m). */
export function logSumExp(R: Rounding, S: readonly Bounded[]): Bounded {
  const { m, E } = weights(R, S);
  return R.add(m, R.log(R.sum(E)));
}

/** §3 for queries `first` to N-1: out [B,H,N-first,d] and lse [B,H,N-first]. */
export function boundedAttention(p: Problem, R: Rounding, first = 0): { out: Bounded[]; lse: Bounded[] } {
  const out: Bounded[] = [];
  const lse: Bounded[] = [];
  for (const { query, base, visible } of rows(p, first)) {
    const S = visible.map((j) => dot(R, p.q, query, p.k, base + j, p.d, R.constant(p.scale)));
    const { E } = weights(R, S);
    const Z = R.sum(E);
    for (let x = 0; x < p.d; x++) {
      out.push(R.divide(R.sum(E.map((e, n) => R.product(e, exact(p.v[(base + visible[n]) * p.d + x])))), Z));
    }
    lse.push(logSumExp(R, S));
  }
  return { out, lse };
}

/** §4: dq [B,H,N,d], dk and dv [B,G,N,d], and dM [B,G,N,N] by both rules, 0 where i - j > reach. */
export function boundedBackward(p: Problem & { dOut: Float64Array }, R: Rounding): {
  dq: Bounded[]; dk: Bounded[]; dv: Bounded[]; dM: Record<MaskGradientRule, Bounded[]>;
} {
  const { d, N, reach = Infinity } = p;
  const { out, lse } = boundedAttention(p, R);
  const scale = R.constant(p.scale);
  const piles = (length: number): Bounded[][] => Array.from({ length }, () => []);
  const dq = piles(p.q.length);
  const dk = piles(p.k.length);
  const dv = piles(p.v.length);
  const exactM = piles(p.B * p.G * N * N);
  const boundedM = piles(p.B * p.G * N * N);
  for (const { query, base, i, visible } of rows(p)) {
    const oldest = Math.max(0, i - reach);
    const causal = Array.from({ length: i + 1 - oldest }, (_, n) =>
      dot(R, p.q, query, p.k, base + oldest + n, d, scale));
    const n = logSumExp(R, causal);
    const terms: Bounded[] = [];
    for (let x = 0; x < d; x++) terms.push(R.multiply(exact(p.dOut[query * d + x]), out[query * d + x]));
    const D = R.sum(terms);
    for (let j = oldest; j <= i; j++) {
      const key = base + j;
      const S = causal[j - oldest];
      const A = R.exp(R.subtract(S, lse[query]));
      const change = R.subtract(dot(R, p.dOut, query, p.v, key, d, ONE), D);
      exactM[(base + i) * N + j].push(R.multiply(A, change));
      boundedM[(base + i) * N + j].push(R.multiply(R.exp(R.subtract(S, n)), change));
      if (!visible.includes(j)) continue;
      const dS = R.multiply(scale, R.multiply(A, change));
      for (let x = 0; x < d; x++) {
        dq[query * d + x].push(R.product(dS, exact(p.k[key * d + x])));
        dk[key * d + x].push(R.product(dS, exact(p.q[query * d + x])));
        dv[key * d + x].push(R.product(A, exact(p.dOut[query * d + x])));
      }
    }
  }
  const total = (pile: Bounded[][]): Bounded[] => pile.map((terms) => R.sum(terms));
  return { dq: total(dq), dk: total(dk), dv: total(dv), dM: { exact: total(exactM), bounded: total(boundedM) } };
}

/**
 * (dg, dl, dw) [B,G,Nc,3] from dM, by differentiating §5's mask: a pair (i, j) with j in chunk c feeds
 * g_c always, l_c while every chunk strictly between is not GLOBAL, w_c inside the window; and g_n of each
 * chunk n strictly between, negatively, if c is LOCAL and no OTHER chunk between is GLOBAL.
 */
export function boundedTypeGradient(
  dM: readonly Bounded[],
  { B, G, N, window, localWindow, chunk, types }: TypeSizes & { readonly types: Int32Array },
  R: Rounding,
): Bounded[] {
  const chunks = Math.ceil(N / chunk);
  const piles: Bounded[][] = Array.from({ length: B * G * chunks * 3 }, () => []);
  for (let head = 0; head < B * G; head++) {
    for (let i = 0; i < N; i++) {
      for (let j = 0; j <= i; j++) {
        const pair = dM[(head * N + i) * N + j];
        const c = Math.floor(j / chunk);
        const between: number[] = [];
        for (let n = c + 1; n < Math.floor(i / chunk); n++) between.push(n);
        const globals = between.filter((n) => types[head * chunks + n] === 0);
        const pile = (at: number, type: number): Bounded[] => piles[(head * chunks + at) * 3 + type];
        pile(c, 0).push(pair);
        const within = (width: number): boolean => i <= (c + 1) * chunk - 1 + width;
        const closes = localWindow === undefined;
        if (closes ? globals.length === 0 : within(localWindow)) pile(c, 1).push(pair);
        if (within(window)) pile(c, 2).push(pair);
        if (types[head * chunks + c] !== 1 || !closes) continue;
        for (const n of between) {
          if (globals.every((other) => other === n)) pile(n, 0).push({ value: -pair.value, error: pair.error });
        }
      }
    }
  }
  return piles.map((terms) => R.sum(terms));
}
