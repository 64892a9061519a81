/**
 * The third set: wrong arithmetic and too little precision.
 * @module
 */
import type { OracleCase, Tensors } from '../../../src/oracle/types.ts';
import { roundTo } from '../../../src/formats/rounding.ts';
import { run } from '../kernel.ts';
import type { Mutant } from '../mutant.ts';
import { allRows, chunkEnd, closing, ending, rightDl } from '../right.ts';
import { brain, f, half, mixed, narrow, part, plain, soft, tiled } from '../held-out/parts.ts';
import { broken, edited, narrowed, third } from './parts.ts';

/** To nearest with `bits` bits, exponents unbounded: TF32 has 11, fp8 has 4 (e4m3) or 3 (e5m2). */
const toBits = (bits: number) => (x: number): number => {
  if (x === 0 || !Number.isFinite(x)) return x;
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(x))) - bits + 1);
  return Math.round(x / unit) * unit;
};
/** fp8 e4m3 has its least subnormal at 2^-9. */
const e4m3 = (x: number): number => (Math.abs(x) < 2 ** -6 ? Math.round(x * 2 ** 9) / 2 ** 9 : toBits(4)(x));
const e5m2 = (x: number): number => (Math.abs(x) < 2 ** -14 ? Math.round(x * 2 ** 16) / 2 ** 16 : toBits(3)(x));
const scored = (round: (s: number) => number) => (row: Parameters<typeof part>[0], sees: (j: number) => boolean) =>
  plain(part({ ...row, S: row.S.map(round) }, sees));
const TYPE_GRADIENTS = ['dm_rows', 'dw', 'dl', 'dg', 'dscores'];
/** Scales k, rounds it to 16 bits, and takes the product with q. */
const scaledKeys = (round: (x: number) => number, times = 1) => ({ parameters: { scale } }: OracleCase) => ({
  scale: () => 1,
  dot: (x: Float64Array, at: number, y: Float64Array, from: number, d: number) => {
    let sum = 0;
    for (let c = 0; c < d; c++) sum = f(sum + f(x[at + c] * round(y[from + c] * scale * times)));
    return f(sum / times);
  },
});
const forwardOnly = (each: OracleCase, wrong: Tensors): Tensors => mixed(['out', 'lse', 'cache_out'], wrong, run(each));

export const ROUNDINGS: readonly Mutant[] = [
  broken('tf32-pv', 'rounds P to TF32', { named: ['probabilities-tf32', 'probabilities-f16'] }, { attend: soft({ weight: toBits(11) }), storeA: toBits(11) }),
  broken('fp8-e4m3', 'rounds P to fp8 e4m3', { named: ['probabilities-e4m3'] }, { attend: soft({ weight: e4m3 }) }),
  broken('fp8-e5m2', 'rounds P to fp8 e5m2', { named: ['probabilities-e5m2'] }, { attend: soft({ weight: e5m2 }) }),
  broken('scores-f16', 'rounds S to float16', { named: ['scores-f16'] }, { attend: scored(half) }),
  broken('scores-bf16', 'rounds S to bfloat16', { named: ['scores-bf16'] }, { attend: scored(brain) }),
  broken('scores-tf32', 'rounds S to 11 bits', { named: ['scores-f16', 'scores-tf32'] }, { attend: scored(toBits(11)) }),
  narrowed('bf16', 'scores-bf16-claimed', 'claims bfloat16 and rounds S to bfloat16', { named: ['scores-bf16'] }, { attend: scored(brain) }),
  third('k-scaled-bf16', 'scales k and rounds it to bfloat16 before the product', { named: ['k-scaled-bf16'] }, (each) =>
    forwardOnly(each, narrow(each, scaledKeys(brain, Math.LOG2E)(each), 'BF16')), 'bf16'),
  third('k-scaled-f16', 'scales k and rounds it to float16 before the product', { named: ['k-scaled-f16'] }, (each) =>
    forwardOnly(each, narrow(each, scaledKeys(half, Math.LOG2E)(each), 'F16')), 'f16'),
  broken('scale-bf16', 'holds the scale in bfloat16', { named: ['scale-bf16'], where: /scale/ }, { scale: (p) => brain(p.scale) }),
  narrowed('bf16', 'dkv-bf16', 'claims bfloat16 and accumulates dk and dv in it, a query at a time', { named: ['accumulated-bf16'] }, { sumKv: brain }),
  narrowed('f16', 'dkv-f16', 'claims float16 and accumulates dk and dv in it, a query at a time', { named: ['accumulated-f16'] }, { sumKv: half }),
  third('out-e4m3', 'stores out in fp8 e4m3', { named: ['stored-e4m3'] }, (each) => edited(run(each), ['out'], e4m3)),
  narrowed('bf16', 'dq-bf16', 'claims bfloat16 and accumulates dq in it, a key at a time', { named: ['accumulated-bf16'] }, { sumQ: brain }),
];

export const FORMULAS: readonly Mutant[] = [
  broken('exp2-alpha', 'rescales earlier tiles by 2^x, and weighs keys by e^x', { named: ['exp2-rescaling'] }, {
    attend: tiled(16, (old, top) => ({ o: f(2 ** (old - top)), Z: f(2 ** (old - top)) })),
  }),
  broken('exp2-backward', 'recomputes P in the backward by 2^x', { named: ['exp2-weights'] }, { weight: (S, lse) => f(2 ** (S - lse)) }),
  broken('exp2-weights', 'weighs keys by 2^x, with lse in nats', { named: ['exp2-weights'] }, { attend: soft({ exp: (x) => 2 ** x }) }),
  third('lse-one-key', 'leaves lse 0 where a row has one key', { where: /one visible key/ }, (each) => {
    const right = run(each);
    const { queryHeads: H, kvHeads: G } = each.parameters;
    const last = right.last.data;
    return edited(right, ['lse'], (x, { b, h, i }, { shape: [, , N] }) => {
      const from = (b * G + Math.floor(h / (H / G))) * N;
      let seen = 0;
      for (let j = 0; j <= i; j++) seen += Number(last[from + j] >= i);
      return seen === 1 ? 0 : x;
    });
  }),
  third('lse-zero', 'never writes lse', { named: ['zeros'] }, (each) => edited(run(each), ['lse'], () => 0)),
  third('out-doubled-odd', 'doubles out in odd query heads', { named: ['factor'], where: /odd query heads/ }, (each) =>
    edited(run(each), ['out'], (x, { h }) => (h % 2 === 1 ? 2 * x : x))),
  third('dk-halved', 'halves dk', { named: ['factor'], where: /0\.5\b/ }, (each) => edited(run(each), ['dk'], (x) => x / 2)),
  third('dq-first-tile', 'never writes dq of the first tile of 16 queries', { named: ['zeros'], where: /rows? 0(\.\.| to )15/ }, (each) =>
    edited(run(each), ['dq'], (x, { i }) => (i < 16 ? 0 : x))),
  broken('diagonal-tile', 'starts the loop of its backward after the tile of 16 on the diagonal', {
    named: ['diagonal-tile-skipped', 'tile-skipped'], where: /diagonal/,
  }, { backVisible: (i, j, last) => j <= i && i <= last && Math.floor(i / 16) > Math.floor(j / 16) }),
  broken('last-query-lost', 'leaves the last query out of dk and dv', { where: /query N ?- ?1|last query/ }, ({ parameters: { tokens: N } }) => ({
    backVisible: (i, j, last) => j <= i && i <= last && (N === 1 || i < N - 1 || j === i),
  })),
  broken('dl-blocks', 'adds dl only for blocks of 16 keys that end before the block of rows', { named: ['dl-diagonal-block'], where: /block|diagonal/ }, {
    dl: (s) => {
      const block = (n: number): number => Math.floor(n / 16);
      let sum = 0;
      const { head, c, cell } = s;
      const { chunk: C, tokens: N } = head.p;
      for (let j = c * C; j < Math.min((c + 1) * C, N); j++) {
        for (let i = j; i <= closing(head, c); i++) if (block(i) > block(j)) sum = f(sum + cell(i, j));
      }
      return sum;
    },
  }),
  broken('dm-clamped', 'clamps the weights of dM to 1', { named: ['dm-clamped'], where: /rule|exact/ }, {
    dM: (right, _, { P, D, weight }) => (weight > 1 ? f(P - D) : right),
  }),
  broken('dm-averaged', 'averages dM over the tokens of a chunk', { named: ['factor', 'chunk-mean'], where: /C > 1/ }, {
    dw: (s) => f(s.column(s.c, 0, chunkEnd(s.c, s.head.p) + s.head.p.window) / s.head.p.chunk),
    dl: (s) => f(rightDl(s) / s.head.p.chunk), dg: (s) => f((allRows(s) - ending(s)) / s.head.p.chunk),
  }),
  broken('lse-tiles', 'lse misses the last tile of 16 keys', { where: /lse/, named: ['lse-last-tile'] }, {
    attend: (row, sees) => {
      const all = plain(part(row, sees));
      const end = row.i - row.i % 16;
      const short = part(row, (j) => sees(j) && j < end);
      return short.keys.length === 0 ? all : { ...all, lse: plain(short).lse };
    },
  }),
  third('types-modulo', 'sums the gradient of types over the query heads h mod G', { named: ['gqa-modulo', 'group-modulo'] }, (each) =>
    mixed(TYPE_GRADIENTS, run(each, { kv: (b, h, p) => b * p.kvHeads + h % p.kvHeads }), run(each))),
  broken('padded-d', 'pads d to a power of two and reads the next row in the rest', { named: ['dim-padding', 'padded-dim'], where: /d is no power of two|d = 3|d = 5|d % \d+ != 0/ }, {
    dot: (x, at, y, from, d) => {
      const padded = 2 ** Math.ceil(Math.log2(d));
      let sum = 0;
      for (let c = 0; c < padded; c++) sum = f(sum + f((x[at + c] ?? 0) * (y[from + c] ?? 0)));
      return sum;
    },
  }),
  third('dout-batch', 'reads dout of batch 0 for every sequence', { named: ['batch-mixed'], where: /batches? (from )?1|batch > 1|B > 1/ }, (each) => {
    const { dout } = each.inputs;
    if (!dout || dout.shape[0] === 1) return run(each);
    const size = dout.data.length / dout.shape[0];
    const first = { ...dout, data: dout.data.map((_: number, n: number) => dout.data[n % size]) } as typeof dout;
    return run({ ...each, inputs: { ...each.inputs, dout: first } });
  }),
  third('dq-no-lse', 'recomputes the backward with lse rounded to float16', { named: ['lse-f16', 'stored-f16'], where: /lse/ }, (each) =>
    run(each, { weight: (S, lse) => f(Math.exp(f(S - roundTo(lse, 'F16')))) })),
];
