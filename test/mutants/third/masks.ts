/**
 * The third set: wrong masks, heads and places.
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import type { OracleCase, Tensors } from '../../../src/oracle/types.ts';
import { EVER, GLOBAL, LOCAL, WINDOW } from '../hooks.ts';
import { run } from '../kernel.ts';
import type { Mutant } from '../mutant.ts';
import { chunkEnd, chunkOf, closer, rightLast } from '../right.ts';
import { mixed, permuted } from '../held-out/parts.ts';
import { broken, edited, patched, third } from './parts.ts';

const clipped = (most: number) => (head: Parameters<typeof rightLast>[0], j: number): number =>
  (head.own[chunkOf(j, head.p)] === WINDOW
    ? chunkEnd(chunkOf(j, head.p), head.p) + Math.min(most, head.p.window) : rightLast(head, j));
const longer = (head: Parameters<typeof rightLast>[0], j: number): number =>
  rightLast(head, j) + Number(head.own[chunkOf(j, head.p)] === WINDOW);
const FORWARD = ['out', 'lse'];
const ROWS = ['out', 'lse', 'dq'];
const groupOf = ({ parameters: { queryHeads: H, kvHeads: G } }: OracleCase): number => H / G;
/** The heads of each sequence in another order: head h is written where order(h) is. */
const reordered = (outputs: Tensors, names: readonly string[], order: (h: number, H: number) => number): Tensors => {
  const made: Record<string, NamedTensor> = { ...outputs };
  for (const name of names) {
    const { shape: [, H], data: { length } } = outputs[name];
    const size = length / (outputs[name].shape[0] * H);
    made[name] = permuted(outputs[name], (n) => {
      const b = Math.floor(n / (size * H));
      return (b * H + order(Math.floor(n / size) % H, H)) * size + n % size;
    });
  }
  return made;
};

export const MASKS: readonly Mutant[] = [
  broken('window-odd-kv', 'has a window one too long in odd KV heads', { named: ['window-long'], where: /odd KV heads/ }, {
    last: (head, j) => (head.head % head.p.kvHeads % 2 === 1 ? longer(head, j) : rightLast(head, j)),
  }),
  third('window-odd-query', 'has a window one too long in odd query heads, in the attention alone', {
    named: ['window-long'], where: /odd query heads/,
  }, (each) => patched(run(each), run(each, { last: longer }), FORWARD, ({ h }) => h % 2 === 1)),
  broken('window-clip-32', 'clips its window to 32, the size of its tile', { named: ['window-clipped'], where: /W > 32/ }, { last: clipped(32) }),
  broken('window-clip-64', 'clips its window to 64', { named: ['window-clipped'], where: /W > 64/ }, { last: clipped(64) }),
  third('window-clip-attended', 'clips its window to 32 in the attention alone', { named: ['window-clipped'], where: /W > 32/ }, (each) =>
    mixed(['last', 'mask'], run(each), run(each, { last: clipped(32) }))),
  broken('local-neighbour', 'closes LOCAL by the GLOBAL tokens of the next KV head', {
    named: ['local-by-neighbour'],
  }, (each) => {
    const { kvHeads: G, tokens: N, chunk: C } = each.parameters;
    const chunks = Math.ceil(N / C);
    const types = run(each).types?.data ?? each.inputs.types.data;
    return {
      last: (head, j) => {
        const next = head.head - head.head % G + (head.head + 1) % G;
        const own = Int32Array.from(types.slice(next * chunks, (next + 1) * chunks) as Int32Array);
        if (chunks * C > N) own[chunks - 1] = GLOBAL;
        const c = chunkOf(j, head.p);
        return head.own[c] === LOCAL ? closer({ ...head, own }, c) : rightLast(head, j);
      },
    };
  }),
  broken('batch-1-types', 'masks the sequence 1 by the types of sequence 0, and the others rightly', {
    named: ['types-of-first-batch'], where: /only in batch 1/,
  }, {
    lastOfHead: (last, { kvHeads: G, tokens: N }) =>
      last.map((x, n) => (Math.floor(n / (G * N)) === 1 ? last[n % (G * N)] : x)),
  }),
  broken('last-tile-unmasked', 'has no causal mask in a last tile of 16 queries that is not whole', {
    named: ['causal-missing', 'tile-unmasked'], where: /last.*tile|N % 16/,
  }, ({ parameters: { tokens: N } }) => ({
    visible: (i, j, last) => (i >= N - N % 16 ? i <= last : j <= i && i <= last),
  })),
  broken('last-tile-whole', 'does not mask lifetimes in a last tile of 16 keys that is not whole', {
    named: ['tile-unmasked', 'mask-ignored'], where: /last.*tile|N % 16/,
  }, ({ parameters: { tokens: N } }) => ({ visible: (i, j, last) => j <= i && (j >= N - N % 16 || i <= last) })),
  third('heads-reversed', 'writes the query heads of out in reverse order', { named: ['heads-permuted'] }, (each) =>
    reordered(run(each), ['out'], (h, H) => H - 1 - h)),
  third('heads-interleaved', 'writes the query heads of out as [R,G] instead of [G,R]', { named: ['heads-permuted', 'gqa-modulo'] }, (each) => {
    const { kvHeads: G } = each.parameters;
    return reordered(run(each), ['out', 'lse'], (h) => h % G * groupOf(each) + Math.floor(h / G));
  }),
  third('heads-swapped-dq', 'swaps the query heads of dq in pairs', { named: ['heads-permuted'] }, (each) =>
    (each.expected.dq ? reordered(run(each), ['dq'], (h, H) => (h ^ 1) < H ? h ^ 1 : h) : run(each))),
  third('group-modulo-dkv', 'sums dk and dv over the query heads h mod G, and has out right', { named: ['gqa-modulo', 'group-modulo'] }, (each) => {
    if (!each.expected.dk) return run(each);
    // The head h of a group is counted for KV head h mod G: its contribution is that of the right group's keys.
    const { queryHeads: H, kvHeads: G, batch: B, tokens: N, headDim: d } = each.parameters;
    const R = H / G;
    const parts = Array.from({ length: R }, (_, r) => run(each, { counts: (n) => n === r }));
    const right = run(each);
    const sum = (name: 'dk' | 'dv'): NamedTensor => {
      const data = new Float64Array(right[name].data.length);
      for (let b = 0; b < B; b++) for (let h = 0; h < H; h++) {
        const [from, to] = [(b * G + Math.floor(h / R)) * N * d, (b * G + h % G) * N * d];
        for (let n = 0; n < N * d; n++) data[to + n] += parts[h % R][name].data[from + n];
      }
      return { ...right[name], data } as NamedTensor;
    };
    return { ...right, dk: sum('dk'), dv: sum('dv') };
  }),
  broken('one-key-lost', 'never reads the key 7', { named: ['key-lost'], where: /key 7\b/ }, { visible: (i, j, last) => j <= i && i <= last && (j !== 7 || i === 7) }),
  broken('every-third', 'loses a third of the pairs, by (i + 2 j) mod 3', { named: ['unknown'] }, {
    visible: (i, j, last) => j <= i && i <= last && (i === j || (i + 2 * j) % 3 !== 0),
  }),
  broken('last-of-tile', 'hides its own key from the last query of each tile of 16', {
    named: ['diagonal-hidden'], where: /i % 16 = 15|last row of each tile of 16/,
  }, { visible: (i, j, last) => j <= i && i <= last && (i % 16 !== 15 || j < i) }),
  third('rows-from-64', 'starts one workgroup for 64 queries: later rows are never written', {
    named: ['zeros', 'tail-unwritten'], where: /rows? (from )?64|i >= 64/,
  }, (each) => edited(run(each), ROWS, (x, { i }) => (i >= 64 ? 0 : x))),
  third('rows-from-256', 'has indices of 8 bits: row i is written from row i mod 256', { where: /rows? (from )?256|i >= 256|N > 256/ }, (each) => {
    const right = run(each);
    return edited(right, ['out'], (x, { b, h, i, c }, { shape: [, H, N, d], data }) =>
      (i >= 256 ? data[((b * H + h) * N + i % 256) * d + c] : x));
  }),
  third('heads-from-4', 'launches four query heads: the others stay zero', { named: ['zeros'], where: /query heads (from 4|4)/ }, (each) =>
    edited(run(each), ROWS, (x, { h }) => (h >= 4 ? 0 : x))),
  third('nan-head-1', 'reads uninitialised memory in query head 1', { where: /query head 1\b|odd query heads/ }, (each) =>
    edited(run(each), ['out'], (x, { h, i }) => (h === 1 && i % 5 === 4 ? NaN : x))),
  third('components-from-64', 'has registers for 64 numbers of d: the rest of out repeats the first', { where: /components? (from )?64|d > 64/ }, (each) =>
    edited(run(each), ['out'], (x, { b, h, i, c }, { shape: [, H, N, d], data }) =>
      (c >= 64 ? data[((b * H + h) * N + i) * d + c - 64] : x))),
  broken('types-stride', 'reads the lifetimes of KV head g one token late', { named: [], where: /KV head 1|KV heads? (from )?1|odd KV heads/ }, {
    lastOfHead: (last, { kvHeads: G, tokens: N }) => last.map((x, n) =>
      (Math.floor(n / N) % G > 0 && n % N > 0 ? Math.max(n % N, last[n - 1]) : x)),
  }),
  third('zero-out', 'never launches its forward: out is all zeros', { named: ['zeros'] }, (each) => edited(run(each), ['out'], () => 0)),
  third('zero-dk', 'never writes dk', { named: ['zeros'] }, (each) => edited(run(each), ['dk'], () => 0)),
  third('global-window', 'gives GLOBAL tokens that no LOCAL precedes a window', { named: ['unknown'], where: /GLOBAL/ }, (each) =>
    run(each, {
      last: (head, j) => {
        const c = chunkOf(j, head.p);
        if (head.own[c] !== GLOBAL || c === 0 || head.own[c - 1] === LOCAL) return rightLast(head, j);
        return Math.min(EVER, chunkEnd(c, head.p) + head.p.window);
      },
    })),
];
