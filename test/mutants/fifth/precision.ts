/**
 * Too few bits, in places.
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import type { OracleCase } from '../../../src/oracle/types.ts';
import { brain, f, half, mixed, narrow, part, plain, soft } from '../held-out/parts.ts';
import type { Hooks, Weights } from '../hooks.ts';
import { run } from '../kernel.ts';
import { type Blind, BACKWARD, blind, dotOf, hash, hooked, inner, only } from './parts.ts';

const bits = new Uint32Array(1);
const real = new Float32Array(bits.buffer);
/** x with its last 13 bits cut, as tensor cores read float32. */
const cut = (x: number): number => {
  real[0] = x;
  bits[0] &= 0xffffe000;
  return real[0];
};
/** x with as many bits after the first as `digits`, and no exponent below `least`. */
const few = (x: number, digits: number, least: number): number => {
  if (x === 0) return 0;
  const step = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), least) - digits);
  return Math.round(x / step) * step;
};
/** bfloat16 by chance: up as often as what is cut says. */
const chance = (x: number, n: number): number => {
  real[0] = x;
  bits[0] = (bits[0] + Math.floor(hash(n) * 65536)) & 0xffff0000;
  return real[0];
};
const cubic = (x: number): number => {
  const y = x * Math.LOG2E;
  const [whole, rest] = [Math.floor(y), y - Math.floor(y)];
  return f((1 + rest * (0.695146143 + rest * (0.227564394 + rest * 0.0771190897))) * 2 ** Math.max(whole, -127));
};
/** q . k of forward and backward with `of`, all other products right. */
const queries = ({ inputs }: OracleCase, of: typeof inner): Hooks =>
  ({ dot: dotOf(inputs.q.data as Float64Array, undefined, of) });
/** x in 8 bits, where `most` is the largest. */
const eighth = (x: number, most: number): number =>
  (Number.isFinite(most) && most > 0 ? f(Math.round(x / (most / 127)) * (most / 127)) : x);
const largest = (all: Float64Array): number => all.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
/** A kernel that stores 16 bits and claims them. */
const stored = (
  id: string, what: string, dtype: 'f16' | 'bf16', truth: { cause: string; lives: string; where?: RegExp },
  hooks: (each: OracleCase) => Hooks,
): Blind => blind(id, what, { ...truth, dtype }, (each) => narrow(each, hooks(each), dtype === 'f16' ? 'F16' : 'BF16'));

export const PRECISION: readonly Blind[] = [
  only('tf32-ds', 'multiplies dS by k and q in TF32, cut, in the backward', {
    cause: 'dS in TF32 (11 bits, cut)', lives: 'dq and dk; dv and the forward are right',
  }, ['dq', 'dk'], { dS: (A, P, D) => cut(f(A * f(P - D))) }),
  only('tf32-p', 'multiplies P by v in TF32, to nearest, in the forward; the sum Z is exact', {
    cause: 'P in TF32 (11 bits)', lives: 'out and cache_out; lse is right',
  }, ['out', 'cache_out'], { attend: soft({ weight: (e) => few(e, 10, -126) }) }),
  only('fp8-p', 'rounds P to e4m3, from 0 to 1 unscaled', {
    cause: 'P in fp8 (e4m3)', lives: 'out and cache_out; lse is right',
  }, ['out', 'cache_out'], { attend: soft({ weight: (e) => few(e, 3, -6) }) }),
  only('fp8-p-full-tiles', 'rounds P to e5m2 but for the tile of 16 keys on the diagonal', {
    cause: 'P in fp8 (e5m2), for keys before the tile of the row',
    lives: 'out of rows from 16; rows 0 to 15 are right', where: /only in rows? (from )?1[67]|N > 1[567]/,
  }, ['out'], {
    attend: (row, sees) => {
      const seen = part(row, sees);
      let n = 0;
      return plain(seen, {
        weight: (e) => (seen.keys[n++] < row.i - row.i % 16 ? few(e, 2, -14) : e),
      });
    },
  }),
  only('half-scores-backward', 'has S in float16 when it is computed again in the backward', {
    cause: 'S rounded to float16 (in the backward)', lives: 'dq, dk, dv; the forward is right',
  }, BACKWARD, { weight: (s, lse) => f(Math.exp(f(half(s) - lse))) }),
  only('lse-brain-backward', 'keeps lse for the backward in bfloat16', {
    cause: 'lse rounded to bfloat16 before the backward: P of a row is off by one factor',
    lives: 'dq, dk, dv; the stored lse is right',
  }, BACKWARD, { weight: (s, lse) => f(Math.exp(f(s - brain(lse)))) }),
  hooked('d-of-brain-out', 'takes D from the output as stored in bfloat16', {
    cause: 'D = sum(dO * O) with O rounded to bfloat16', lives: 'dq, dk and the gradients of the types; out is right',
  }, (each) => ({
    dot: dotOf(each.inputs.dout?.data as Float64Array, each.inputs.v.data as Float64Array, (x, at, y, from, n) =>
      inner(x, at, Float64Array.from(y, brain), from, n)),
  })),
  stored('z-brain', 'sums Z in bfloat16', 'bf16', {
    cause: 'Z accumulated in bfloat16: it stops growing in long rows',
    lives: 'out and lse (and what follows) of rows that see many keys',
  }, () => ({ attend: soft({ sumZ: brain }) })),
  stored('dv-half-sum', 'adds to dk and dv in float16, atomically', 'f16', {
    cause: 'dk and dv accumulated in float16', lives: 'dk and dv, most where many rows add: long sequences',
  }, () => ({ sumKv: half })),
  stored('q-scaled-half', 'multiplies q by scale log2(e) and rounds to float16 before the product', 'f16', {
    cause: 'q scaled, then rounded to float16, before the product', lives: 'everything; most where scores are large',
  }, (each) => {
    const scale = f(each.parameters.scale);
    const all = each.inputs.q.data as Float64Array;
    const scaled = Float64Array.from(all, (x) => half(f(x * f(scale * f(Math.LOG2E)))));
    const hooks = queries(each, (_, at, y, from, n) => f(f(inner(scaled, at, y, from, n) * f(Math.LN2)) / scale));
    return hooks;
  }),
  stored('int8-k', 'rounds each key to 8-bit integers with a scale of its own', 'f16', {
    cause: 'k quantised to int8 before q . k', lives: 'everything that depends on S; most where scores are large',
  }, (each) => {
    const d = each.parameters.headDim;
    const k = each.inputs.k.data as Float64Array;
    const rounded = k.map((x, n) => eighth(x, largest(k.subarray(n - n % d, n - n % d + d))));
    return queries(each, (x, at, _, from, n) => inner(x, at, rounded, from, n));
  }),
  only('exp-cubic', 'takes exp from a polynomial of degree 3 (relative error up to 9e-5)', {
    cause: 'an inexact exp (a polynomial)', lives: 'out, lse and cache_out',
  }, ['out', 'lse', 'cache_out'], { attend: soft({ exp: cubic }) }),
  blind('p-by-chance', 'rounds P to bfloat16 by chance (stochastic rounding)', {
    cause: 'P rounded to bfloat16, stochastically', lives: 'out; lse is right',
  }, (each) => {
    let n = 0;
    return mixed(['out'], run(each, { attend: soft({ weight: (e) => chance(e, n++) }) }), run(each));
  }),
  hooked('log-short', 'takes the log of Z in float16', {
    cause: 'log(Z) rounded to float16', lives: 'lse, and what the backward makes of it; out is right',
  }, { lse: ({ m, Z }: Weights) => f(m + half(Math.log(Z))) }),
  blind('v-int8-later-heads', 'keeps v in 8 bits with one scale for all of a KV head, in KV heads from 1', {
    cause: 'v quantised to int8',
    lives: 'out and cache_out of the query heads of KV heads from 1, where G > 1', where: /only in .*heads?|G > 1/,
  }, (each) => {
    const { batch: B, kvHeads: G, tokens: N, headDim: d } = each.parameters;
    const v = each.inputs.v.data as Float64Array;
    const most = Array.from({ length: B * G }, (_, h) => largest(v.subarray(h * N * d, (h + 1) * N * d)));
    const made = v.map((x, n) => {
      const h = Math.floor(n / (N * d));
      return h % G > 0 ? eighth(x, most[h]) : x;
    });
    const rounded = { ...each, inputs: { ...each.inputs, v: { ...each.inputs.v, data: made } as NamedTensor } };
    return mixed(['out', 'cache_out'], run(rounded), run(each));
  }),
];
