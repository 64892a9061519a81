/**
 * The truths of a case, computed by other means than the oracle's: dense definitions with error bounds, finite
 * differences of the relaxed mask, and a replay through a cache.
 * @module
 */
import type { Engine } from '../../src/core/engine.ts';
import type { NamedTensor } from '../../src/formats/named-tensor.ts';
import type { CaseParameters, OracleCase } from '../../src/oracle/types.ts';
import type { AttentionProblem } from './arbitraries.ts';
import { boundedAttention, boundedBackward, boundedTypeGradient } from './bounded.ts';
import { typeRows } from './cache-model.ts';
import { denseLifetime, denseLoss, oneHot, relaxedMask } from './dense.ts';
import { centralDifferences, ruler } from './differences.ts';
import { type Bounded, exact, Rounding } from './tolerance.ts';

/** float64, in which the truths of cases are computed. */
export const R: Rounding = new Rounding('float64');

const floats = ({ inputs }: OracleCase, name: string): Float64Array => inputs[name].data as Float64Array;

const finite = (x: Float64Array): Float64Array => x.map((value) => (Number.isFinite(value) ? value : 0));

/** §6 by comparison: the type of the highest sum, the lowest index among equals, GLOBAL where forced. */
export function typesOf(each: OracleCase): Int32Array {
  const { inputs, parameters: { tokens: N, chunk, kvHeads: G } } = each;
  if (inputs.types) return inputs.types.data as Int32Array;
  const chunks = Math.ceil(N / chunk);
  return Int32Array.from({ length: inputs.scores.data.length / 3 }, (_, t) => {
    const b = Math.floor(t / (G * chunks));
    if (inputs.forced?.data[b * chunks + (t % chunks)] === 1) return 0;
    const sums = [0, 1, 2].map((c) => inputs.scores.data[3 * t + c] + (inputs.noise?.data[3 * t + c] ?? 0));
    return sums.indexOf(Math.max(...sums));
  });
}

/** The case in the form that other helpers take. Keys and values that are not finite are replaced by 0. */
export function problemOf(each: OracleCase): AttentionProblem {
  const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, window, chunk, scale } = each.parameters;
  const types = typesOf(each);
  return {
    B, G, H, N, d, window, chunk, scale, group: H / G, seed: 0, only: null, tied: false, types,
    last: denseLifetime(types, { B, G, N, window, chunk }),
    q: floats(each, 'q'), k: finite(floats(each, 'k')), v: finite(floats(each, 'v')),
    dOut: each.inputs.dout ? floats(each, 'dout') : new Float64Array(B * H * N * d),
  };
}

/** §4 and §5 with error bounds: every gradient of the case except dscores. */
export function gradients(each: OracleCase): Record<'dq' | 'dk' | 'dv' | 'dm_rows' | 'dTypes', Bounded[]> {
  const p = problemOf(each);
  const { dq, dk, dv, dM } = boundedBackward(p, R);
  const pairs = dM[each.parameters.rule];
  const rows = Array.from({ length: p.B * p.G * p.N }, (_, row) =>
    R.sum(pairs.slice(row * p.N, row * p.N + (row % p.N) + 1)));
  return { dq, dk, dv, dm_rows: rows, dTypes: boundedTypeGradient(pairs, p, R) };
}

/** dscores by §6 and §7 from (dg, dl, dw); 0 where forced. */
export function scoreGradient(each: OracleCase, dTypes: readonly Bounded[]): Bounded[] {
  const { inputs, parameters: { tokens: N, chunk, kvHeads: G, window, temperature, price } } = each;
  const chunks = Math.ceil(N / chunk);
  const types = typesOf(each);
  const [tau, K] = [R.constant(temperature), R.constant(price)];
  return [...types.keys()].flatMap((t) => {
    const [b, c] = [Math.floor(t / (G * chunks)), t % chunks];
    if (inputs.forced?.data[b * chunks + c] === 1) return [exact(0), exact(0), exact(0)];
    const z = [0, 1, 2].map((n) => exact(inputs.scores.data[3 * t + n] + (inputs.noise?.data[3 * t + n] ?? 0)));
    const E = z.map((x) => R.exp(R.divide(R.subtract(x, R.max(z)), tau)));
    const y = E.map((e) => R.divide(e, R.sum(E)));
    let next = c + 1;
    while (next < chunks && (types[t - c + next] !== 0)) next++;
    const ends = [N - 1, Math.min(N - 1, (next + 1) * chunk - 1), Math.min(N - 1, (c + 1) * chunk - 1 + window)];
    const dt = [0, 1, 2].map((n) => {
      const tokens = Array.from({ length: Math.min(chunk, N - c * chunk) }, (_, x) => c * chunk + x);
      return R.add(dTypes[3 * t + n], R.sum(tokens.map((j) => R.multiply(K, exact(ends[n] - j)))));
    });
    const mean = R.sum(y.map((p, n) => R.multiply(p, dt[n])));
    return y.map((p, n) => R.divide(R.multiply(p, R.subtract(dt[n], mean)), tau));
  });
}

/** dg, dl, dw (rule `exact`) as slopes of the loss sum(dout * out) along §5's relaxed mask, [B,G,Nc,3]. */
export function slopesOfRelaxedMask(each: OracleCase): Bounded[] {
  const p = problemOf(each);
  const { out } = boundedAttention(p, ruler);
  const noise = 2 * ruler.sum(out.map((o, n) => ruler.multiply(o, exact(p.dOut[n])))).error;
  const { lse } = boundedAttention(p, ruler);
  const causal = boundedAttention({ ...p, last: p.last.map(() => 2 ** 31 - 1) }, ruler).lse;
  // The step is so small that no row's normaliser changes much, even if a hidden score is far above the visible ones.
  const step = 2 ** -10 / Math.max(...lse.map(({ value }, row) => Math.exp(causal[row].value - value)));
  return centralDifferences((soft) => denseLoss(p, relaxedMask(soft, p)), oneHot(p.types), noise, step);
}

/** What a cache that takes the steps of the case holds after each of them, and its outputs. */
export async function replay(engine: Engine, each: OracleCase): Promise<{ live: Int32Array; out: Float64Array }> {
  const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, window, chunk, scale, steps } = each.parameters;
  const types = typesOf(each);
  const chunks = Math.ceil(N / chunk);
  const cache = engine.createCache({ batch: B, kvHeads: G, headDim: d, blockSize: 4, window, chunk });
  const live = new Int32Array(steps.length * B * G * N);
  const out = new Float64Array(B * H * N * d);
  let seen = 0;
  for (const [r, T] of steps.entries()) {
    const part = (name: string, heads: number): Float64Array => {
      const x = floats(each, name);
      return Float64Array.from({ length: B * heads * T * d }, (_, n) => {
        const [row, c] = [Math.floor(n / d), n % d];
        return x[(Math.floor(row / T) * N + seen + (row % T)) * d + c];
      });
    };
    const rows = typeRows(T, chunk);
    const touched = Int32Array.from({ length: B * G * rows }, (_, n) =>
      types[Math.floor(n / rows) * chunks + Math.min(chunks - 1, Math.floor(seen / chunk) + (n % rows))]);
    const [k, v] = ['k', 'v'].map((name) => engine.tensor(part(name, G), [B, G, T, d]));
    cache.append(k, v, engine.integers(touched, [B, G, rows]));
    const got = await engine.read(cache.attend(engine.tensor(part('q', H), [B, H, T, d]), scale));
    got.forEach((x, n) => {
      const row = Math.floor(n / d);
      out[(Math.floor(row / T) * N + seen + (row % T)) * d + (n % d)] = x;
    });
    cache.evict();
    seen += T;
    for (let head = 0; head < B * G; head++) {
      const at = (r * B * G + head) * N;
      for (const j of await cache.positions(Math.floor(head / G), head % G)) live[at + j] = 1;
    }
  }
  cache.dispose();
  return { live, out };
}

/** [B,G,N]: the position of the GLOBAL token that closes each LOCAL token, or -1, by step 1 of §8, token by token. */
export function closers(each: OracleCase): Int32Array {
  const { batch: B, kvHeads: G, tokens: N, chunk }: CaseParameters = each.parameters;
  const types = typesOf(each);
  const closed = new Int32Array(B * G * N).fill(-1);
  for (let head = 0; head < B * G; head++) {
    let open: number[] = [];
    for (let p = chunk - 1; p < N; p += chunk) { // the chunk that p fills
      const type = types[head * Math.ceil(N / chunk) + Math.floor(p / chunk)];
      if (type === 0) {
        for (const j of open) closed[head * N + j] = p;
        open = [];
      }
      if (type === 1) for (let j = p - chunk + 1; j <= p; j++) open.push(j);
    }
  }
  return closed;
}

/** One of dg, dl, dw out of triples (dg, dl, dw). */
export function third<T>(values: readonly T[], which: 0 | 1 | 2): T[] {
  return values.filter((_, n) => n % 3 === which);
}

/** Every input and truth of a case. */
export function tensorsOf({ inputs, expected }: OracleCase): [string, NamedTensor][] {
  return [...Object.entries(inputs), ...Object.entries(expected)];
}
