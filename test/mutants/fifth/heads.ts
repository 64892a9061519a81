/**
 * Heads, groups, batches and layouts: what is read and written where.
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import type { Tensors } from '../../../src/oracle/types.ts';
import { f, mixed, permuted } from '../held-out/parts.ts';
import { run } from '../kernel.ts';
import { edited, patched } from '../third/parts.ts';
import { type Blind, added, BACKWARD, blind, hooked, misread, replaced, sizes, TYPES } from './parts.ts';

const floor = Math.floor;

export const HEADS: readonly Blind[] = [
  hooked('kv-reversed', 'gives query heads their KV heads from the last to the first', {
    cause: 'query heads read the wrong KV head (in reverse order)',
    lives: 'everything, only where G > 1', where: /G > 1/,
  }, { kv: (b, h, { kvHeads: G, queryHeads: H }) => b * G + G - 1 - floor(h / (H / G)) }),
  blind('dv-sum-mod', 'adds dv of query head h to KV head h mod G; dk is right', {
    cause: 'dv summed over the wrong query heads (h mod G)', lives: 'dv alone, where G > 1 and H > G', where: /G > 1/,
  }, (each) => {
    const { B, G, R, N, d } = sizes(each);
    const right = run(each);
    if (G === 1 || R === 1 || !right.dv) return right;
    const sum = new Float64Array(B * G * N * d);
    for (let r = 0; r < R; r++) {
      const { data } = run(each, { counts: (n) => n === r }).dv;
      data.forEach((x: number, n: number) => {
        const [b, g] = [floor(n / (G * N * d)), floor(n / (N * d)) % G];
        const at = ((b * G + (g * R + r) % G) * N * d) + n % (N * d);
        sum[at] = f(sum[at] + x);
      });
    }
    return { ...right, dv: { ...right.dv, data: sum } as NamedTensor };
  }),
  hooked('group-pairs', 'sums groups two query heads at a time, and drops the last one of an odd group', {
    cause: 'a query head of the group is missing in dk and dv',
    lives: 'dk, dv and the types\' gradients where H / G is 3: only group-3',
    where: /H = 6|H \/ G/,
  }, { counts: (r, R) => R === 1 || r < R - R % 2 }),
  blind('out-groups-first', 'writes the outputs of query head (g, r) to head r G + g', {
    cause: 'output heads permuted (group first)',
    lives: 'out and cache_out alone, where G > 1 and H > G', where: /G > 1/,
  }, (each) => {
    const { G, H, R, N, d } = sizes(each);
    const right = run(each);
    const from = (n: number): number => {
      const [b, h] = [floor(n / (H * N * d)), floor(n / (N * d)) % H];
      return (b * H + h % G * R + floor(h / G)) * N * d + n % (N * d);
    };
    return replaced(right, Object.fromEntries(['out', 'cache_out'].filter((name) => right[name])
      .map((name) => [name, permuted(right[name], from)])));
  }),
  blind('types-last-head-of-group', 'stores dM per query head without adding it: the last one of the group stays', {
    cause: 'only one query head of the group counts in the gradient of the types',
    lives: 'dm_rows, dw, dl, dg, dscores where H > G; dk, dv are right',
    where: /H > |H \/ G/,
  }, (each) => mixed(TYPES, run(each, { counts: (r, R) => r === R - 1 }), run(each))),
  blind('dk-unscaled-odd', 'forgets to scale dk in the odd query heads of a group', {
    cause: 'dk without the scale (1/sqrt(d)), in part',
    lives: 'dk where H > G, from odd query heads', where: /H > |H \/ G|odd query heads?/,
  }, (each) => {
    const right = run(each);
    if (!right.dk) return right;
    const part = (parity: number): NamedTensor => run(each, { counts: (r) => r % 2 === parity }).dk;
    return replaced(right, { dk: added(part(0), part(1), 1 / each.parameters.scale) });
  }),
  blind('scale-lost-last-of-group', 'has no scale in the last query head of each group, if that has several', {
    cause: 'no scale (scale of 1) in some query heads',
    lives: 'out, lse, dq in the last query head of each group, where H > G',
    where: /only in (odd )?query heads?/,
  }, (each) => {
    const { R } = sizes(each);
    const wrong = run(each, { scale: () => 1, dqFactor: () => 1 });
    return patched(run(each), wrong, ['out', 'lse', 'dq'], ({ h }) => R > 1 && h % R === R - 1);
  }),
  blind('head-stride-16', 'writes lse with N rounded up to 16 as the stride of a head', {
    cause: 'a wrong stride between heads in lse (N rounded up to 16)',
    lives: 'lse of every head of B H but the first, where N % 16 > 0', where: /only in (odd )?query heads?|N % 16/,
  }, (each) => {
    const { B, H, N } = sizes(each);
    const right = run(each);
    const stride = Math.ceil(N / 16) * 16;
    const data = new Float64Array(B * H * N);
    for (let h = 0; h < B * H; h++) {
      for (let i = 0; i < N && h * stride + i < data.length; i++) {
        data[h * stride + i] = right.lse.data[h * N + i] as number;
      }
    }
    return { ...right, lse: { ...right.lse, data } as NamedTensor };
  }),
  hooked('types-last-batch', 'reads the types of the last sequence for all sequences', {
    cause: 'types of another sequence of the batch',
    lives: 'batches before the last, only where B > 1', where: /B > 1|only in .*batch/,
  }, {
    types: (types, { batch: B }) => {
      const size = types.length / B;
      return types.map((_, n) => types[(B - 1) * size + n % size]);
    },
  }, ['types']),
  hooked('types-heads-first', 'reads types as [G,B,Nc] instead of [B,G,Nc]', {
    cause: 'the types of other heads and sequences (batch and head swapped)',
    lives: 'only where B > 1, G > 1 and sequences differ in types: only batch; not the first and last of B G',
    where: /B > 1|only in .*batch/,
  }, {
    types: (types, { batch: B, kvHeads: G }) => {
      const chunks = types.length / (B * G);
      return types.map((_, n) => {
        const head = floor(n / chunks);
        return types[(head % G * B + floor(head / G)) * chunks + n % chunks];
      });
    },
  }, ['types']),
  blind('batch-grid', 'starts no blocks for sequences after the first: out and lse are what memory held, zeros', {
    cause: 'out and lse never written (zeros) in some sequences',
    lives: 'out, lse and cache_out in batches from 1, only where B > 1', where: /B > 1|only in .*batch/,
  }, (each) => edited(run(each), ['out', 'lse', 'cache_out'], (x, { b }) => (b > 0 ? 0 : x))),
  blind('values-tokens-first', 'reads v as [B,N,G,d] (and writes dv so) though it is [B,G,N,d]', {
    cause: 'v read in the layout [B,N,G,d]',
    lives: 'everything that depends on v, where G > 1; lse is right', where: /G > 1/,
  }, (each) => {
    const { G, N, d } = sizes(each);
    const there = (n: number): number => {
      const [b, g, j] = [floor(n / (G * N * d)), floor(n / (N * d)) % G, floor(n / d) % N];
      return ((b * N + j) * G + g) * d + n % d;
    };
    const made: Record<string, NamedTensor> = { ...run(misread(each, 'v', there)) };
    if (made.dv) {
      const { data } = made.dv;
      const back = new Float64Array(data.length);
      data.forEach((x: number, n: number) => (back[there(n)] = x));
      made.dv = { ...made.dv, data: back } as NamedTensor;
    }
    return made;
  }),
  blind('dout-tokens-first', 'reads dout as [B,N,H,d]: the gradient of a transposed view', {
    cause: 'dout read in the layout [B,N,H,d]',
    lives: 'all gradients where H > 1; the forward is right', where: /H > 1/,
  }, (each) => {
    const { H, N, d } = sizes(each);
    return run(misread(each, 'dout', (n) => {
      const [b, h, i] = [floor(n / (H * N * d)), floor(n / (N * d)) % H, floor(n / d) % N];
      return ((b * N + i) * H + h) * d + n % d;
    }));
  }),
  blind(
    'packed-start-early', 'starts the keys and values of packed sequences one token early, in the sequence before', {
    cause: 'keys and values shifted by one token (cu_seqlens off by one), the first from the sequence before',
    lives: 'out, lse and cache_out in batches from 1, only where B > 1', where: /B > 1|only in .*batch/,
  }, (each) => {
    const { G, N, d } = sizes(each);
    const from = (n: number): number => {
      const [b, j] = [floor(n / (G * N * d)), floor(n / d) % N];
      return b === 0 ? n : j > 0 ? n - d : n - G * N * d + (N - 1) * d;
    };
    return mixed([...BACKWARD, ...TYPES], run(each), run(misread(misread(each, 'k', from), 'v', from)));
  }),
  blind('pages-off-by-one', 'reads the page of 8 tokens before the right one, but for the first', {
    cause: 'a page table off by one page',
    lives: 'cache_out alone, of rows that see keys from 8; what is alive is right', where: /only in rows? from|N > 8/,
  }, (each) => {
    const { N, d } = sizes(each);
    const from = (n: number): number => (floor(n / d) % N >= 8 ? n - 8 * d : n);
    return mixed(['cache_out'], run(misread(misread(each, 'k', from), 'v', from)), run(each));
  }),
  blind('k-rows-power-of-2', 'reads k with the next power of 2 of d as its row stride', {
    cause: 'a wrong row stride of k',
    lives: 'everything that depends on k where d is no power of two (3, 5, 65)', where: /power of|only where d/,
  }, (each) => {
    const { N, d } = sizes(each);
    const wide = 2 ** Math.ceil(Math.log2(d));
    return run(misread(each, 'k', (n) => n - n % (N * d) + floor(n / d) % N * wide + n % d));
  }),
  blind('fragments', 'writes the components 1 and 2 of every 4 swapped, as tensor cores leave them', {
    cause: 'components of out permuted within d',
    lives: 'components 1 and 2 of each 4 of out, where d > 2', where: /component|only where d/,
  }, (each) => {
    const right = run(each);
    const { d } = each.parameters.headDim > 3 ? { d: each.parameters.headDim } : { d: 0 };
    const swap = (c: number): number => (c % 4 === 1 && c + 1 < d ? c + 1 : c % 4 === 2 ? c - 1 : c);
    return d === 0 ? right : replaced(right, { out: permuted(right.out, (n) => n - n % d + swap(n % d)) });
  }),
  blind('dscores-transposed', 'writes dscores as [B,G,3,Nc]', {
    cause: 'dscores transposed: the three types before the chunks', lives: 'dscores alone, in all cases with scores',
  }, (each) => {
    const right: Tensors = run(each);
    if (!right.dscores) return right;
    const chunks = right.dscores.shape[2];
    return replaced(right, {
      dscores: permuted(right.dscores, (n) => n - n % (3 * chunks) + n % chunks * 3 + floor(n / chunks) % 3),
    });
  }),
];
