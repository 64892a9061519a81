/**
 * The ruler that the oracle itself is measured by: §2 to §7 for a case, with mathjs's BigNumbers of 64 digits, in plain
 * loops. Nothing is shared with src/ or reference/: weights are exp(S) / Z without a maximum, since BigNumbers do not
 * overflow, and the gradients of types follow pair by pair from §5's relaxed mask. Tests compare the loops with the
 * strings of docs/equations.ts where those are fast enough.
 * @module
 */
import type { BigNumber } from 'mathjs';
import { createMathematics } from '../../docs/mathematics.ts';
import type { CaseParameters, OracleCase } from '../../src/oracle/types.ts';

export const digits: ReturnType<typeof createMathematics> = createMathematics(64);

/** The exact value of a float64. mathjs itself would take the shortest decimal form, which is a different number. */
export const big = (x: number): BigNumber => digits.bignumber(x.toPrecision(64)) as BigNumber;

const [ZERO, ONE] = [big(0), big(1)];
const [GLOBAL, LOCAL] = [0, 1];

/**
 * The values of one tensor, row-major. `size` is the scale of each value's error: the sum of the magnitudes of its
 * terms.
 */
export interface Exact {
  readonly value: BigNumber[];
  readonly size: Float64Array;
}

/** The integer truths of a case, and its float truths by name, except cache_out. */
export interface ExactTruths {
  readonly types: number[];
  readonly last: number[];
  readonly reals: Readonly<Record<string, Exact>>;
}

const zeros = (count: number): Exact =>
  ({ value: new Array<BigNumber>(count).fill(ZERO), size: new Float64Array(count) });

/** Adds a term. `size` is the sum of the magnitudes of its own terms. */
function add({ value, size: sizes }: Exact, at: number, term: BigNumber, size = Math.abs(Number(term))): void {
  value[at] = value[at].plus(term);
  sizes[at] = sizes[at] + size;
}

/**
 * All truths of a case. Inputs except the scale must be multiples of 2^-5, as drawn; NaN in hidden keys is not read.
 */
export function exactTruths({ parameters, inputs }: OracleCase): ExactTruths {
  const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, chunk } = parameters;
  const chunks = Math.ceil(N / chunk);
  const R = H / G;
  const y = inputs.scores ? probabilities(parameters, inputs) : undefined;
  const types = y ? chosen(y, inputs.forced?.data, G * chunks, chunks) : [...inputs.types.data];
  const last: number[] = [];
  const shared = { out: zeros(B * H * N * d), lse: zeros(B * H * N) };
  const gradients = {
    dv: zeros(B * G * N * d), dq: zeros(B * H * N * d), dk: zeros(B * G * N * d), dm_rows: zeros(B * G * N),
    dw: zeros(B * G * chunks), dl: zeros(B * G * chunks), dg: zeros(B * G * chunks),
  };
  const results = { ...shared, ...(inputs.dout && gradients) };
  const exp = exponentials(parameters.scale);
  for (let head = 0; head < B * G; head++) {
    const own = types.slice(head * chunks, (head + 1) * chunks);
    const rule = visibility(own, parameters);
    last.push(...rule.last);
    for (let h = head * R; h < (head + 1) * R; h++) {
      addHead({ parameters, inputs, results, gradients, rule, exp, head, h });
    }
  }
  const dscores = y && inputs.dout && { dscores: scoreGradient(parameters, y, types, gradients, inputs.forced?.data) };
  return { types, last, reals: { ...results, ...dscores } };
}

interface Visibility {
  readonly last: number[];
  readonly type: (j: number) => number;
  /** The GLOBAL chunks strictly between those of j and i, at most two of them. */
  readonly between: (i: number, j: number) => number[];
  readonly near: (i: number, j: number) => boolean;
}

/** §2 as it is written, and the GLOBAL chunks that make §5's product 0. */
function visibility(types: readonly number[], { tokens: N, window: W, chunk: C }: CaseParameters): Visibility {
  const own = types.map((type, c) => ((c + 1) * C > N ? GLOBAL : type));
  const type = (j: number): number => own[Math.floor(j / C)];
  const end = (c: number): number => (c + 1) * C - 1;
  const last = Array.from({ length: N }, (_, j) => {
    const c = Math.floor(j / C);
    const closer = own.findIndex((each, n) => n > c && each === GLOBAL);
    if (own[c] === GLOBAL) return Infinity;
    return own[c] === LOCAL ? (closer < 0 ? Infinity : end(closer)) : end(c) + W;
  });
  const between = (i: number, j: number): number[] => {
    const found: number[] = [];
    for (let n = Math.floor(j / C) + 1; n < Math.floor(i / C) && found.length < 2; n++) {
      if (own[n] === GLOBAL) found.push(n);
    }
    return found;
  };
  return { last, type, between, near: (i, j) => i <= end(Math.floor(j / C)) + W };
}

/** exp(scale n / UNIT) for whole n, as a product of a few memoized exponentials, each of which takes 0.3 ms. */
function exponentials(scale: number): (n: number) => BigNumber {
  const known = new Map<number, BigNumber>();
  const base = big(scale).div(UNIT);
  const once = (n: number): BigNumber => {
    if (!known.has(n)) known.set(n, base.times(n).exp());
    return known.get(n)!;
  };
  return (n) => {
    const low = n & 255;
    const middle = (n - low) & 65535;
    return once(low).times(once(middle)).times(once(n - low - middle));
  };
}

/** Of q and k, multiples of 1/32, products are multiples of 1 / UNIT. */
const UNIT = 2 ** 10;
/** Of dout and v, whose multiples may be finer. */
const FINE = 2 ** 24;

/** unit x . y for rows whose products are multiples of 1 / unit. All terms are whole numbers, so the sum is exact. */
function product(
  x: ArrayLike<number>, xRow: number, y: ArrayLike<number>, yRow: number, d: number, unit: number,
): number {
  let sum = 0;
  for (let c = 0; c < d; c++) sum += unit * x[xRow * d + c] * y[yRow * d + c];
  if (!Number.isSafeInteger(sum)) throw new RangeError(`a product is ${sum} / ${unit}: the ruler takes whole numbers`);
  return sum;
}

/** Adds what query head h of KV head `head` contributes. */
function addHead({ parameters, inputs, results, gradients, rule, exp, head, h }: {
  parameters: CaseParameters; inputs: OracleCase['inputs']; results: { out: Exact; lse: Exact };
  gradients: Record<'dv' | 'dq' | 'dk' | 'dm_rows' | 'dw' | 'dl' | 'dg', Exact>; rule: Visibility;
  exp: (n: number) => BigNumber; head: number; h: number;
}): void {
  const { tokens: N, headDim: d, chunk: C } = parameters;
  const [q, k, v] = [inputs.q.data, inputs.k.data, inputs.v.data];
  const dout = inputs.dout?.data;
  const scale = big(parameters.scale);
  const chunks = Math.ceil(N / C);
  const { out, lse } = results;
  const { dv, dq, dk, dm_rows: rows, dw, dl, dg } = gradients;
  for (let i = 0; i < N; i++) {
    const row = h * N + i;
    const sees = (j: number): boolean => i <= rule.last[j];
    const E = Array.from({ length: i + 1 }, (_, j) => {
      // Without a dout, hidden keys are not needed; and a row that sees NaN has no truth.
      const readable = dout || (sees(j) && Number.isFinite(k[(head * N + j) * d]));
      return readable ? exp(product(q, row, k, head * N + j, d, UNIT)) : ZERO;
    });
    const sum = (terms: BigNumber[]): BigNumber => terms.reduce((a, b) => a.plus(b), ZERO);
    const Z = sum(E.filter((_, j) => sees(j)));
    const share = ONE.div(Z); // a product takes a quarter of the time of a division
    const A = E.map((e, j) => (sees(j) ? e.times(share) : ZERO));
    lse.value[row] = Z.ln();
    lse.size[row] = Math.abs(Number(lse.value[row]));
    for (let j = 0; j <= i; j++) {
      if (!sees(j)) continue;
      for (let c = 0; c < d; c++) {
        const x = v[(head * N + j) * d + c];
        if (Number.isFinite(x)) add(out, row * d + c, A[j].times(x));
      }
    }
    if (!dout) continue;
    const terms = Array.from({ length: d }, (_, c) => out.value[row * d + c].times(dout[row * d + c]));
    const D = sum(terms);
    const sizeD = terms.reduce((a, x) => a + Math.abs(Number(x)), 0);
    const weigh = parameters.rule === 'exact' ? share : ONE.div(sum(E));
    for (let j = 0; j <= i; j++) {
      const key = head * N + j;
      const P = product(dout, row, v, key, d, FINE) / FINE;
      let size = sizeD;
      for (let c = 0; c < d; c++) size += Math.abs(dout[row * d + c] * v[key * d + c]);
      const weight = E[j].times(weigh);
      const dM = weight.times(big(P).minus(D));
      const sizeM = Number(weight) * size;
      add(rows, head * N + i, dM, sizeM);
      const [b, at] = [Math.floor(j / C), head * chunks];
      const between = rule.between(i, j);
      add(dg, at + b, dM, sizeM);
      if (between.length === 0) add(dl, at + b, dM, sizeM);
      if (rule.near(i, j)) add(dw, at + b, dM, sizeM);
      // The derivative of the product by g_n is the product of the other factors: 0 if one of them is 0.
      if (rule.type(j) === LOCAL && between.length < 2) {
        for (let n = b + 1; n < Math.floor(i / C); n++) {
          if (between.length === 0 || between[0] === n) add(dg, at + n, dM.neg(), sizeM);
        }
      }
      if (!sees(j)) continue;
      const dS = A[j].times(scale).times(big(P).minus(D));
      const sizeS = Number(A[j]) * Math.abs(parameters.scale) * size;
      for (let c = 0; c < d; c++) {
        add(dv, key * d + c, A[j].times(dout[row * d + c]));
        add(dq, row * d + c, dS.times(k[key * d + c]), sizeS * Math.abs(k[key * d + c]));
        add(dk, key * d + c, dS.times(q[row * d + c]), sizeS * Math.abs(q[row * d + c]));
      }
    }
  }
}

/** y of §6, a triple per chunk. */
function probabilities({ temperature }: CaseParameters, { scores, noise }: OracleCase['inputs']): BigNumber[][] {
  return Array.from({ length: scores.data.length / 3 }, (_, t) => {
    const E = [0, 1, 2].map((c) =>
      big(scores.data[3 * t + c]).plus(big(noise?.data[3 * t + c] ?? 0)).div(big(temperature)).exp());
    const Z = E.reduce((a, b) => a.plus(b));
    return E.map((e) => e.div(Z));
  });
}

/** argmax y, the lowest index among equals; GLOBAL where forced. */
function chosen(
  y: readonly BigNumber[][], forced: ArrayLike<number> | undefined, perBatch: number, chunks: number,
): number[] {
  return y.map((triple, t) => {
    if (forced?.[Math.floor(t / perBatch) * chunks + (t % chunks)] === 1) return GLOBAL;
    const most = triple.reduce((a, b) => (b.gt(a) ? b : a));
    return triple.findIndex((p) => p.eq(most));
  });
}

/** §6 and §7. */
function scoreGradient(
  { tokens: N, kvHeads: G, window: W, chunk: C, temperature, price }: CaseParameters, y: readonly BigNumber[][],
  types: readonly number[], { dg, dl, dw }: Record<'dg' | 'dl' | 'dw', Exact>, forced: ArrayLike<number> | undefined,
): Exact {
  const chunks = Math.ceil(N / C);
  const result = zeros(3 * y.length);
  y.forEach((p, t) => {
    const c = t % chunks;
    if (forced?.[Math.floor(t / (G * chunks)) * chunks + c] === 1) return;
    const isGlobal = (n: number): boolean => types[t - c + n] === GLOBAL || (n + 1) * C > N;
    let closer = c + 1;
    while (closer < chunks && !isGlobal(closer)) closer++;
    const ends = [N - 1, (closer + 1) * C - 1, (c + 1) * C - 1 + W].map((end) => Math.min(N - 1, end));
    const dt = [dg, dl, dw].map((each, n) => {
      let kept = 0;
      for (let j = c * C; j < Math.min(N, (c + 1) * C); j++) kept += ends[n] - j;
      const term = big(price).times(kept);
      return { value: each.value[t].plus(term), size: each.size[t] + Number(term) };
    });
    const mean = dt.reduce((a, { value }, n) => a.plus(p[n].times(value)), ZERO);
    const size = dt.reduce((a, x, n) => a + Number(p[n]) * x.size, 0);
    dt.forEach((x, n) => {
      const value = p[n].times(x.value.minus(mean)).div(big(temperature));
      add(result, 3 * t + n, value, Number(p[n]) * (x.size + size) / temperature);
    });
  });
  return result;
}
