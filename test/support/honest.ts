/**
 * Honest kernels: the algorithm in f64, f32, f16 or bf16, with every operation rounded, in the orders that kernels use.
 * They accumulate in f32 (f64 for f64), and store P, dS, o and results in the dtype claimed.
 * @module
 */
import type { FloatDtype, NamedTensor } from '../../src/formats/named-tensor.ts';
import { roundArray, roundTo } from '../../src/formats/rounding.ts';
import type { ClaimedDtype, OracleCase, Tensors } from '../../src/oracle/types.ts';

export const ORDERS = ['ascending', 'descending', 'pairwise', 'online-1', 'online-16', 'online-64'] as const;

/** One way to compute. */
export interface Honest {
  readonly dtype: ClaimedDtype;
  /** The order of every sum. `online-T` takes keys in tiles of T, rescales when the maximum grows, and uses exp2. */
  readonly order: (typeof ORDERS)[number];
  /** The error of exp, up to this many units of 2^-23, as on GPUs; WGSL allows 3 + 2|x|. Default: 0. */
  readonly expUlps?: number;
  /** Whether lse and the sums of dM are also stored in the dtype, instead of f32. */
  readonly narrow?: boolean;
  /** Whether dk and dv are stored by query head before the group is summed, as PyTorch does with expanded keys. */
  readonly byHead?: boolean;
  /** The dtype to which sums are rounded, if it is not the honest one. */
  readonly accumulate?: FloatDtype;
}

const STORED: Readonly<Record<ClaimedDtype, FloatDtype>> = { f64: 'F64', f32: 'F32', f16: 'F16', bf16: 'BF16' };

/** The outputs of `oracleCase`, computed as `how` says. */
export function honestOutputs(oracleCase: OracleCase, how: Honest): Tensors {
  const { parameters, inputs, expected } = oracleCase;
  const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, window, chunk, rule, price } = parameters;
  const { dtype, order } = how;
  const accumulate = how.accumulate ?? (dtype === 'f64' ? 'F64' : 'F32');
  const f = (x: number): number => roundTo(x, accumulate);
  const single = (x: number): number => (dtype === 'f64' ? x : Math.fround(x));
  const stored = (x: number): number => roundTo(x, STORED[dtype]);
  const R = H / G;
  const chunks = Math.ceil(N / chunk);
  const data = (name: string): Float64Array => (inputs[name]?.data ?? new Float64Array(0)) as Float64Array;
  const [q, k, v, dO] = ['q', 'k', 'v', 'dout'].map(data) as [Float64Array, Float64Array, Float64Array, Float64Array];
  const scale = single(parameters.scale);
  let wobble = 1;
  const off = (y: number, x: number): number => {
    wobble = (wobble * 16807) % 2147483647;
    const ulps = Math.min(how.expUlps ?? 0, 3 + 2 * Math.abs(x));
    return single(y * (1 + ulps * 2 ** (dtype === 'f64' ? -52 : -23) * (2 * wobble / 2147483647 - 1)));
  };
  const exp = (x: number): number => off(Math.exp(x), x);
  const exp2 = (x: number): number => off(2 ** x, x);

  const sum = (terms: readonly number[]): number => {
    if (order === 'pairwise') {
      if (terms.length <= 1) return f(terms[0] ?? 0);
      const half = terms.length >> 1;
      return f(sum(terms.slice(0, half)) + sum(terms.slice(half)));
    }
    const ordered = order === 'descending' ? terms.toReversed() : terms;
    return ordered.reduce((total, x) => f(total + x), 0);
  };
  const dot = (x: Float64Array, at: number, y: Float64Array, from: number): number =>
    sum(Array.from({ length: d }, (_, c) => f(x[at + c] * y[from + c])));

  const types = honestTypes(oracleCase, f);
  const last = Int32Array.from(expected.last.data);
  const results: Record<string, Float64Array> = {};
  const make = (name: string, length: number): Float64Array => (results[name] = new Float64Array(length));
  const [out, lse] = [make('out', B * H * N * d), make('lse', B * H * N)];

  /** Attends for row `row` to `keys` with scores `S`. Writes out and returns lse. */
  const attend = (S: readonly number[], keys: readonly number[], row: number): number => {
    const value = (j: number, c: number): number => v[j * d + c];
    if (!order.startsWith('online')) {
      const m = Math.max(...S);
      const E = S.map((x) => exp(f(x - m)));
      const Z = sum(E);
      for (let c = 0; c < d; c++) {
        out[row * d + c] = stored(single(sum(keys.map((j, n) => f(stored(E[n]) * value(j, c)))) / Z));
      }
      return single(m + single(Math.log(Z)));
    }
    const size = Number(order.slice('online-'.length));
    const folded = single(scale * single(Math.LOG2E));
    let [m, Z] = [-Infinity, 0];
    const o = new Float64Array(d);
    for (let begin = 0; begin < S.length; begin += size) {
      const tile = S.slice(begin, begin + size);
      const top = Math.max(m, ...tile);
      const shift = single(top * folded);
      const alpha = m === -Infinity ? 0 : exp2(single(single(m - top) * folded));
      const E = tile.map((x) => exp2(single(x * folded - shift)));
      Z = f(f(Z * alpha) + sum(E));
      for (let c = 0; c < d; c++) {
        o[c] = f(f(o[c] * alpha) + sum(E.map((e, n) => f(stored(e) * value(keys[begin + n], c)))));
      }
      m = top;
    }
    for (let c = 0; c < d; c++) out[row * d + c] = stored(single(o[c] / Z));
    return single(single(m * scale) + single(single(Math.log2(Z)) * single(Math.LN2)));
  };

  const online = order.startsWith('online');
  const times = (x: number): number => single(x * scale);
  const lists = Array.from({ length: B * G }, () => ({
    dv: Array.from({ length: N * d }, (): number[][] => Array.from({ length: R }, () => [])),
    dk: Array.from({ length: N * d }, (): number[][] => Array.from({ length: R }, () => [])),
    dM: new Map<number, number[]>(),
  }));
  const backward = dO.length > 0;
  const dq = backward ? make('dq', q.length) : q;
  for (let row = 0; row < B * H * N; row++) {
    const [b, h, i] = [Math.floor(row / (H * N)), Math.floor(row / N) % H, row % N];
    const head = b * G + Math.floor(h / R);
    const all = Array.from({ length: i + 1 }, (_, j) => head * N + j);
    const keys = all.filter((j) => last[j] >= i);
    const product = (j: number): number => dot(q, row * d, k, j * d);
    const raw = keys.map(product);
    lse[row] = attend(online ? raw : raw.map(times), keys, row);
    if (!backward) continue;
    const D = dot(dO, row * d, out, row * d);
    const { dv, dk, dM } = lists[head];
    const row2: number[][] = Array.from({ length: d }, () => []);
    keys.forEach((j, n) => {
      const S = times(raw[n]);
      const A = exp(single(S - lse[row]));
      const P = dot(dO, row * d, v, j * d);
      const dS = stored(f(A * f(P - D)));
      for (let c = 0; c < d; c++) {
        row2[c].push(f(dS * k[j * d + c]));
        dk[(j - head * N) * d + c][h % R].push(f(dS * q[row * d + c]));
        dv[(j - head * N) * d + c][h % R].push(f(stored(A) * dO[row * d + c]));
      }
    });
    for (let c = 0; c < d; c++) dq[row * d + c] = stored(times(sum(row2[c])));
    const S = all.map((j) => times(product(j)));
    let norm = lse[row];
    if (rule === 'bounded') {
      const m = Math.max(...S);
      norm = single(m + single(Math.log(sum(S.map((x) => exp(single(x - m)))))));
    }
    all.forEach((j, n) => {
      const at = i * N + (j - head * N);
      const term = f(exp(single(S[n] - norm)) * f(dot(dO, row * d, v, j * d) - D));
      dM.set(at, [...(dM.get(at) ?? []), term]);
    });
  }
  const narrow = how.narrow ? stored : single;
  lse.forEach((x, n) => (lse[n] = narrow(x)));
  if (backward) {
    const [dv, dk, dm] = [make('dv', v.length), make('dk', k.length), make('dm_rows', B * G * N)];
    const d3 = { dw: make('dw', B * G * chunks), dl: make('dl', B * G * chunks), dg: make('dg', B * G * chunks) };
    lists.forEach((list, head) => {
      for (let n = 0; n < N * d; n++) {
        const grouped = (parts: readonly (readonly number[])[], last: (x: number) => number): number =>
          stored(how.byHead ? sum(parts.map((part) => stored(last(sum(part))))) : last(sum(parts.flat())));
        dv[head * N * d + n] = grouped(list.dv[n], (x) => x);
        dk[head * N * d + n] = grouped(list.dk[n], times);
      }
      const dM = (i: number, j: number): number[] => list.dM.get(i * N + j)!;
      for (let i = 0; i < N; i++) {
        dm[head * N + i] = narrow(sum(Array.from({ length: i + 1 }, (_, j) => dM(i, j)).flat()));
      }
      const own = types.subarray(head * chunks, (head + 1) * chunks);
      for (const [name, terms] of Object.entries(typeTerms(own, { N, window, chunk }, dM))) {
        terms.forEach((list, c) => (d3[name as 'dg'][head * chunks + c] = narrow(sum(list))));
      }
    });
    if (inputs.scores) make('dscores', B * G * chunks * 3).set(dscores());
  }

  function dscores(): Float64Array {
    const { temperature: tau } = parameters;
    const scores = data('scores');
    const noise = data('noise');
    const forced = inputs.forced?.data;
    const result = new Float64Array(scores.length);
    for (let t = 0; t < scores.length / 3; t++) {
      const [head, c] = [Math.floor(t / chunks), t % chunks];
      if (forced?.[Math.floor(head / G) * chunks + c] === 1) continue;
      const z = [0, 1, 2].map((n) => single(single(scores[3 * t + n] + (noise[3 * t + n] ?? 0)) / tau));
      const e = z.map((x) => exp(single(x - Math.max(...z))));
      const y = e.map((x) => stored(single(x / sum(e))));
      const own = types.subarray(head * chunks, (head + 1) * chunks);
      const prices = priceOf(own, c, { N, window, chunk }).map((n) => single(single(price) * n));
      const dt = ['dg', 'dl', 'dw'].map((name, n) => narrow(f(results[name][t] + prices[n])));
      const mean = sum(dt.map((x, n) => f(y[n] * x)));
      dt.forEach((x, n) => (result[3 * t + n] = stored(single(f(y[n] * f(x - mean)) / tau))));
    }
    return result;
  }

  const made: Record<string, NamedTensor> = {};
  for (const [name, truth] of Object.entries(expected)) {
    const values = results[name === 'cache_out' ? 'out' : name];
    const wide = ['lse', 'dm_rows', 'dg', 'dl', 'dw'].includes(name) && !how.narrow && dtype !== 'f64';
    if (values) made[name] = { dtype: wide ? 'F32' : STORED[dtype], shape: truth.shape, data: roundArray(values, wide ? 'F32' : STORED[dtype]) };
    else made[name] = truth;
  }
  if (made.cache_bytes) {
    const width = { f64: 8, f32: 4, f16: 2, bf16: 2 }[dtype];
    const bytes = (expected.cache_bytes.data as Int32Array).map((x) => x / 4 * width + 12 * (x / (8 * d)));
    made.cache_bytes = { dtype: 'I32', shape: expected.cache_bytes.shape, data: bytes };
  }
  if (inputs.scores) made.types = { dtype: 'U8', shape: expected.types.shape, data: types };
  return made;
}

/** §6: the types that the scores choose, or those that are given. */
function honestTypes({ parameters, inputs }: OracleCase, f: (x: number) => number): Int32Array {
  if (!inputs.scores) return inputs.types.data as Int32Array;
  const chunks = Math.ceil(parameters.tokens / parameters.chunk);
  const [scores, noise, forced] = [inputs.scores.data, inputs.noise?.data, inputs.forced?.data];
  return Int32Array.from({ length: scores.length / 3 }, (_, t) => {
    const b = Math.floor(t / (parameters.kvHeads * chunks));
    if (forced?.[b * chunks + (t % chunks)] === 1) return 0;
    const z = [0, 1, 2].map((n) => f(scores[3 * t + n] + (noise?.[3 * t + n] ?? 0)));
    return z.indexOf(Math.max(...z));
  });
}

interface Sizes { readonly N: number; readonly window: number; readonly chunk: number }

/** e(c) of §5 in tokens; an unfinished chunk counts as GLOBAL. */
function closerOf(types: Int32Array, c: number, { N, chunk }: Sizes): number {
  for (let n = c + 1; n < types.length; n++) {
    if (types[n] === 0 || (n + 1) * chunk > N) return Math.min((n + 1) * chunk, N) - 1;
  }
  return N - 1;
}

/** The terms of each sum of §5, by chunk. */
function typeTerms(
  types: Int32Array, sizes: Sizes, dM: (i: number, j: number) => number[],
): Record<'dw' | 'dl' | 'dg', number[][]> {
  const { N, window, chunk } = sizes;
  const tokens = (c: number): number[] =>
    Array.from({ length: Math.min(chunk, N - c * chunk) }, (_, n) => c * chunk + n);
  const column = (c: number, from: number, to: number): number[] => tokens(c).flatMap((j) => {
    const terms: number[] = [];
    for (let i = Math.max(j, from); i <= Math.min(to, N - 1); i++) terms.push(...dM(i, j));
    return terms;
  });
  const dg = [...types.keys()].map((c) => {
    const terms = column(c, 0, N - 1);
    for (let n = c - 1; n >= 0; n--) {
      if (types[n] === 1) terms.push(...column(n, (c + 1) * chunk, closerOf(types, c, sizes)).map((x) => -x));
      if (types[n] === 0) break;
    }
    return terms;
  });
  return {
    dg, dl: [...types.keys()].map((c) => column(c, 0, closerOf(types, c, sizes))),
    dw: [...types.keys()].map((c) => column(c, 0, (c + 1) * chunk - 1 + window)),
  };
}

/** §7: the pairs that chunk c would keep as each type, (g, l, w). */
function priceOf(types: Int32Array, c: number, sizes: Sizes): number[] {
  const { N, window, chunk } = sizes;
  const ends = [N - 1, closerOf(types, c, sizes), Math.min((c + 1) * chunk - 1 + window, N - 1)];
  return ends.map((end) => {
    let kept = 0;
    for (let j = c * chunk; j < Math.min((c + 1) * chunk, N); j++) kept += end - j;
    return kept;
  });
}
