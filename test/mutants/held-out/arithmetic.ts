/**
 * Wrong sums, written differently or in other places than those of ../arithmetic.ts.
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import { GLOBAL, LOCAL, type Sums, WINDOW } from '../hooks.ts';
import { run } from '../kernel.ts';
import { chunkEnd, chunkOf, ending, rightDg, rightLast, rightScores, softmax } from '../right.ts';
import type { Mutant } from '../mutant.ts';
import { ascending, claiming, dots, f, hooked, made, mixed, part, permuted, plain, soft, tiled } from './parts.ts';

const LOG2E = f(Math.LOG2E);
const factor = (old: number, top: number): number => f(Math.exp(f(old - top)));
const vectors = (size: number) => (d: number): number[] => ascending(d - d % size);
const every = (names: readonly string[], change: (x: number) => number) =>
  (name: string, data: Float32Array): Float32Array => (names.includes(name) ? data.map((x) => f(change(x))) : data);
const all = ({ c, column, head }: Sums): number => column(c, 0, head.p.tokens - 1);
const TYPE_GRADIENTS = ['dm_rows', 'dw', 'dl', 'dg', 'dscores'];

export const FORWARDS: readonly Mutant[] = [
  hooked('kv-backwards', 'walks the KV heads from the last', 'kv-reversed', {
    kv: (b, h, { kvHeads: G, queryHeads: H }) => b * G + G - 1 - Math.floor(h * G / H),
  }),
  made('interleaved-groups', 'takes keys, values and the mask of KV head h mod G', 'gqa-modulo', (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d } = each.parameters;
    const turn = (width: number, head: (h: number) => number) => (n: number): number => {
      const [h, size] = [Math.floor(n / (N * width)), N * width];
      return (h - h % H + head(h % H)) * size + n % size;
    };
    // Sorted by KV head and back: query head x of the sorted is (x mod R) G + x / R.
    const R = H / G;
    const sorted = (x: number): number => x % R * G + Math.floor(x / R);
    const back = (h: number): number => h % G * R + Math.floor(h / G);
    const inputs: Record<string, NamedTensor> = { ...each.inputs, q: permuted(each.inputs.q, turn(d, sorted)) };
    if (inputs.dout) inputs.dout = permuted(inputs.dout, turn(d, sorted));
    const results: Record<string, NamedTensor> = { ...run({ ...each, inputs }) };
    for (const name of ['out', 'dq', 'cache_out', 'lse']) {
      const tensor = results[name];
      if (tensor) results[name] = permuted(tensor, turn(name === 'lse' ? 1 : d, back));
    }
    return results;
  }),
  hooked('over-scale', 'divides S by the scale', 'scale-inverted', { scale: ({ scale }) => 1 / scale }),
  hooked('scale-in-forward', 'recomputes S in the backward without the scale', 'scale-forgotten', ({ parameters: p }) => ({
    weight: (S, lse) => f(Math.exp(f(f(S / f(p.scale)) - lse))),
  })),
  hooked('accumulator-64', 'does not rescale the accumulator, in tiles of 64', 'online-output', {
    attend: tiled(64, (old, top) => ({ o: 1, Z: factor(old, top) })),
  }),
  hooked('accumulator-1', 'does not rescale the accumulator, a key at a time', 'online-output', {
    attend: tiled(1, (old, top) => ({ o: 1, Z: factor(old, top) })),
  }),
  hooked('sum-32', 'does not rescale the sum, in tiles of 32', 'online-sum', {
    attend: tiled(32, (old, top) => ({ o: factor(old, top), Z: 1 })),
  }),
  hooked('late-max-32', 'weighs tiles of 32 by the maximum before them', 'online-stale', {
    attend: tiled(32, (old, top) => ({ o: factor(old, top), Z: factor(old, top) }), (old) => old),
  }),
  hooked('adds-minus-1e4', 'adds -1e4 to the S of hidden keys', 'finite-mask', {
    attend: (row, sees) => plain({ ...row, S: row.S.map((x, n) => (sees(row.keys[n]) ? x : f(x - 1e4))) }),
  }),
  hooked('z-of-all', 'divides by the sum over all causal keys and writes a right lse', 'normalised-by-all', {
    attend: (row, sees) => {
      const [seen, causal] = [plain(part(row, sees)), plain(part(row, (j) => j <= row.i))];
      return { ...seen, Z: f(causal.Z * f(Math.exp(f(causal.m - seen.m)))) };
    },
  }),
  made('k-for-v', 'passes k twice', 'values-from-keys', (each) => run({ ...each, inputs: { ...each.inputs, v: each.inputs.k } })),
  hooked('vectors-of-8', 'reads d in vectors of 8 and leaves out the rest', 'dim-tail', { dot: dots(vectors(8)) }),
  made('tail-of-qk', 'leaves the rest of d out of q . k in the forward alone', 'dim-tail', (each) => {
    const wrong = run(each, { dot: dots(vectors(4)) });
    return mixed(['out', 'lse', 'cache_out'], wrong, run(each));
  }),
  made('strides-swapped', 'writes out as [B,H,d,N]', 'layout-dims', (each) => {
    const { tokens: N, headDim: d } = each.parameters;
    const results = run(each);
    const from = (n: number): number => {
      const at = n % (N * d);
      return n - at + at % N * d + Math.floor(at / N);
    };
    return { ...results, out: permuted(results.out, from) };
  }),
  hooked(
    'last-rows-16', 'never writes rows of a last tile of 16 that is not whole: out, lse and dq', 'tail-unwritten',
    ({ parameters: { tokens: N, headDim: d } }) => ({
      write: (name, data) => {
        const row = (n: number): number => Math.floor(n / (name === 'lse' ? 1 : d)) % N;
        return ['out', 'lse', 'dq'].includes(name) ? data.map((x, n) => (row(n) >= N - N % 16 ? 0 : x)) : data;
      },
    }),
  ),
  hooked('lse-is-max', 'writes the maximum where lse is asked for', 'lse-max-only', { lse: ({ m }) => m }),
  made('lse-exp2', 'writes lse times log2(e), and has it right in the backward', 'lse-base-2', (each) => {
    const right = run(each);
    return { ...right, lse: { ...right.lse, data: right.lse.data.map((x) => f(x * LOG2E)) } as NamedTensor };
  }),
  claiming('bf16', 'scale-bf16', 'forgets the scale, in bfloat16', 'scale-forgotten', { scale: () => 1 }),
  claiming('f16', 'window-f16', 'has a window that is one too long, in float16', 'window-long', {
    last: (head, j) => rightLast(head, j) + Number(head.own[chunkOf(j, head.p)] === WINDOW),
  }),
];

export const BACKWARDS: readonly Mutant[] = [
  made('stores-not-adds', 'stores dk and dv instead of adding: the last query head wins', 'group-last', (each) =>
    mixed(['dk', 'dv'], run(each, { counts: (r, R) => r === R - 1 }), run(each))),
  made('types-of-one', 'sums the gradient of types over the first query head alone', 'group-first', (each) =>
    mixed(TYPE_GRADIENTS, run(each, { counts: (r) => r === 0 }), run(each))),
  made('types-averaged', 'averages the gradient of types over the group', 'group-mean', (each) =>
    mixed(TYPE_GRADIENTS, run(each, { groupFactor: (R) => 1 / R }), run(each))),
  claiming('bf16', 'one-head-bf16', 'sums dk and dv over the first query head, in bfloat16', 'group-first', {
    counts: (r) => r === 0,
  }),
  hooked('no-a', 'takes P\' - D for dS', 'ds-without-a', { dS: (_, P, D) => f(P - D) }),
  hooked('both-unscaled', 'forgets the scale in dq and dk', 'gradient-unscaled', { dqFactor: () => 1, dkFactor: () => 1 }),
  hooked('dq-scaled-twice', 'folds the scale into k and scales dq again', 'gradient-scale-twice', {
    dqFactor: (scale) => scale * scale,
  }),
  hooked('log2e-left', 'leaves the factor log2(e) of its exp2 in dq', 'factor', { write: every(['dq'], (x) => x * LOG2E) }),
  hooked('dv-scaled', 'multiplies dv by a scale of 3/4 that belongs to dropout', 'factor', { write: every(['dv'], (x) => x * 0.75) }),
  hooked('descent', 'hands out the negative gradient of the scores', 'sign', { write: every(['dscores'], (x) => -x) }),
  hooked('dw-whole-windows', 'sums dw for whole windows alone', 'dw-partial-dropped', {
    dw: ({ c, head, column }) => {
      const end = chunkEnd(c, head.p) + head.p.window;
      return end < head.p.tokens ? column(c, 0, end) : 0;
    },
  }),
  hooked('dg-every-local', 'charges a token for every LOCAL before it, closed or not', 'dg-all-local', {
    dg: (s) => {
      const { head: { own, p }, c } = s;
      let sum = all(s);
      const end = own.findIndex((type, n) => n > c && type === GLOBAL);
      const to = end < 0 ? p.tokens - 1 : Math.min(chunkEnd(end, p), p.tokens - 1);
      for (let n = 0; n < c; n++) if (own[n] === LOCAL) sum = f(sum - s.column(n, (c + 1) * p.chunk, to));
      return sum;
    },
  }),
  hooked('dg-of-globals', 'has the negative term for GLOBAL tokens alone', 'dg-no-negative', {
    dg: (s) => (s.head.own[s.c] === GLOBAL ? rightDg(s) : all(s)),
  }),
  hooked('dg-half-sum', 'drops the rows i <= e(j) and the negative term', ['dg-rows-dropped', 'dg-no-negative'], {
    dg: (s) => {
      const end = s.head.own.findIndex((type, n) => n > s.c && type === GLOBAL);
      return end < 0 ? 0 : s.column(s.c, chunkEnd(end, s.head.p) + 1, s.head.p.tokens - 1);
    },
  }),
  hooked('tau-in-y-too', 'divides by tau in the softmax\'s gradient and again after it', 'tau-squared', {
    dscores: (z) => rightScores(z).map((x) => f(x / z.tau)),
  }),
  hooked('y-of-the-sums', 'takes y from scores + noise that are not divided by tau', 'unknown', {
    dscores: (z) => rightScores({ ...z, y: softmax(z.scores.map((x, n) => f(x + z.noise[n]))) }),
  }),
  hooked('price-all-equal', 'prices every type as if it were GLOBAL', 'unknown', {
    dscores: (z) => rightScores({ ...z, price: z.price.map(() => z.price[0]) }),
  }),
  hooked('ending-own-row', 'subtracts from its own row on, in dg', 'unknown', {
    dg: (s) => {
      let sum = f(all(s) - ending(s));
      const { head: { own, p }, c } = s;
      for (let n = c - 1; n >= 0 && own[n] !== GLOBAL; n--) {
        if (own[n] === LOCAL) sum = f(sum - s.column(n, chunkEnd(c, p), chunkEnd(c, p)));
      }
      return sum;
    },
  }),
];

/** Mistakes without a name. */
export const NAMELESS: readonly Mutant[] = [
  hooked('exp2-unconverted', 'takes 2^x for e^x', 'exp2-weights', { attend: soft({ exp: (x) => 2 ** x }) }),
  hooked('softmax-plus-one', 'adds 1 to the sum, a sink without a key', ['unknown', 'row-factor'], { attend: soft({ z: (Z, m) => f(Z + f(Math.exp(-m))) }) }),
  hooked('softcap', 'caps S at 30 by tanh', 'unknown', {
    attend: (row, sees) => plain(part({ ...row, S: row.S.map((x) => f(30 * Math.tanh(x / 30))) }, sees)),
  }),
  hooked('alibi', 'has a bias that falls with the distance left in', 'unknown', {
    attend: (row, sees) => plain(part({ ...row, S: row.S.map((x, n) => f(x - (row.i - row.keys[n]) / 8)) }, sees)),
  }),
  hooked('next-value', 'reads the value before the one it weighs', 'unknown', {
    attend: soft({ value: (row, n, c) => row.value(Math.max(0, n - 1), c) }),
  }),
];
