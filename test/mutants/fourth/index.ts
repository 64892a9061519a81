/**
 * A fourth set of broken kernels, written after the repairs from what goes wrong in kernels elsewhere, and judged once
 * before anything was fitted to it. Its author knew the diagnosis, but chose mistakes without asking whether it has a
 * name for them.
 * @module
 */
import { run } from '../kernel.ts';
import { EVER, GLOBAL, LOCAL, WINDOW } from '../hooks.ts';
import type { Mutant } from '../mutant.ts';
import { allRows, chunkEnd, chunkOf, rightDl, rightLast, rightScores } from '../right.ts';
import { e4m3 } from '../../../src/oracle/diagnose/narrow-floats.ts';
import { f, mixed, part, plain, soft } from '../held-out/parts.ts';
import { broken, edited, patched, third as made } from '../third/parts.ts';

type Head = Parameters<typeof rightLast>[0];
const typeOf = (head: Head, j: number): number => head.own[chunkOf(j, head.p)];
const seen = (i: number, j: number, last: number): boolean => j <= i && i <= last;
const upTo = (n: number, tile: number): number => Math.floor(n / tile) * tile + tile - 1;

export const FOURTH: readonly Mutant[] = [
  broken('window-up', 'ends windows with a tile of 16', { where: /WINDOW/ }, {
    last: (head, j) => (typeOf(head, j) === WINDOW ? upTo(rightLast(head, j), 16) : rightLast(head, j)),
  }),
  broken('local-up', 'ends LOCAL with a tile of 32', { where: /LOCAL/ }, {
    last: (head, j) => {
      const last = rightLast(head, j);
      return typeOf(head, j) === LOCAL && last < EVER ? upTo(last, 32) : last;
    },
  }),
  broken('window-chunks', 'counts W in chunks', { named: ['window-in-chunks'], where: /C > 1/ }, {
    last: (head, j) => {
      const { window, chunk } = head.p;
      return typeOf(head, j) === WINDOW ? chunkEnd(chunkOf(j, head.p), head.p) + window * chunk : rightLast(head, j);
    },
  }),
  broken('query-type', 'hides keys by the type of the query', { named: ['unknown'] }, {
    visible: (i, j, last, head) => j <= i && (typeOf(head, i) === GLOBAL || i <= last || i - j <= head.p.window),
  }),
  broken('batch-1-window', 'has a window one too long in the sequence 1', { named: ['window-long'], where: /batch 1/ }, {
    last: (head, j) =>
      rightLast(head, j) + Number(typeOf(head, j) === WINDOW && Math.floor(head.head / head.p.kvHeads) === 1),
  }),
  made('diagonal-twice', 'counts the tile of 16 keys on the diagonal twice', { named: ['terms-weighed', 'unknown'] }, (each) =>
    mixed(['out', 'lse', 'cache_out'], run(each, {
      attend: (row, sees) => {
        const visible = part(row, sees);
        const at = [...visible.keys.keys(), ...visible.keys.keys()]
          .filter((n, copy) => copy < visible.keys.length || visible.keys[n] >= row.i - row.i % 16);
        return plain({
          ...visible, keys: at.map((n) => visible.keys[n]), S: at.map((n) => visible.S[n]),
          value: (n, c) => visible.value(at[n], c),
        });
      },
    }), run(each))),
  broken('scale-log2e', 'multiplies the scale by log2(e) and takes e^x', { named: ['scale-off', 'unknown'] }, { scale: (p) => p.scale * Math.LOG2E }),
  made('lse-ln2', 'multiplies lse by ln 2, as if it were in base 2', { named: ['factor'], where: /0\.693/ }, (each) =>
    edited(run(each), ['lse'], (x) => x * Math.LN2)),
  broken('small-p', 'drops weights below 2^-8', { named: ['weights-dropped', 'unknown'] }, { attend: soft({ weight: (e) => (e < 2 ** -8 ? 0 : e) }) }),
  made('rows-shifted', 'writes out one row too late', { named: ['rows-moved', 'unknown'] }, (each) =>
    edited(run(each), ['out'], (x, { i, b, h, c }, { shape: [, H, N, d], data }) => (i === 0 ? x : data[((b * H + h) * N + i - 1) * d + c]))),
  broken('halves-swapped', 'swaps the halves of d in k', { named: ['input-misread', 'unknown'] }, {
    dot: (x, at, y, from, d) => {
      let sum = 0;
      for (let c = 0; c < d; c++) sum = f(sum + f(x[at + c] * y[from + (c + (d >> 1)) % d]));
      return sum;
    },
  }),
  broken('first-tile-alone', 'goes back through the first tile of 32 keys alone', { where: /keys 0 to 31|keys from 32|N > 32/, named: ['tile-skipped'] }, {
    backVisible: (i, j, last) => seen(i, j, last) && j < 32,
  }),
  made('tail-dv', 'never adds the last, partial tile of 16 queries to dv', { named: ['tile-skipped', 'query-lost'], where: /N % 16/ }, (each) => {
    const { tokens: N } = each.parameters;
    return mixed(['dv'], run(each, { backVisible: (i, j, last) => seen(i, j, last) && i < N - N % 16 }), run(each));
  }),
  made('odd-dq-doubled', 'adds to dq twice in odd tiles of 16 rows', { where: /rows/ }, (each) =>
    edited(run(each), ['dq'], (x, { i }) => (Math.floor(i / 16) % 2 === 1 ? 2 * x : x))),
  made('v-of-next', 'reads v of the next KV head in the last KV head but one', { where: /query heads|KV head/, named: ['input-misread', 'batch-mixed'] }, (each) => {
    const { kvHeads: G, queryHeads: H } = each.parameters;
    if (G < 2) return run(each);
    return patched(run(each), run(each, { kv: (b, h) => b * G + Math.min(G - 1, Math.floor(h / (H / G)) + 1) }), ['out'], ({ h }) =>
      Math.floor(h / (H / G)) === G - 2);
  }),
  broken('dl-of-windows', 'sums dl of WINDOW tokens over their windows', { where: /WINDOW/ }, {
    dl: (s) => (s.head.own[s.c] === WINDOW ? s.column(s.c, 0, chunkEnd(s.c, s.head.p) + s.head.p.window) : rightDl(s)),
  }),
  broken('dg-of-all', 'has dg without what a token costs, but only in odd KV heads', { named: ['dg-no-negative'], where: /odd KV heads/ }, {
    dg: (s) => (s.head.head % s.head.p.kvHeads % 2 === 1 ? allRows(s) : f(allRows(s) - endingOf(s))),
  }),
  broken('scores-order', 'writes dscores as (g, w, l)', { named: ['components-moved', 'triple-swapped', 'unknown'] }, {
    dscores: (z) => { const [g, l, w] = rightScores(z); return [g, w, l]; },
  }),
  broken('q-int8', 'quantises q to 127 steps of its largest', { named: ['input-rounded', 'unknown'] }, {
    dot: (x, at, y, from, d) => {
      let most = 0;
      for (let c = 0; c < d; c++) most = Math.max(most, Math.abs(x[at + c]));
      let sum = 0;
      const step = most / 127 || 1;
      for (let c = 0; c < d; c++) sum = f(sum + f(Math.round(x[at + c] / step) * step * y[from + c]));
      return sum;
    },
  }),
  broken('v-e4m3', 'stores v in fp8 e4m3', { named: ['input-rounded', 'unknown'] }, {
    attend: soft({ value: (row, n, c) => e4m3(row.value(n, c)) }),
  }),
  made('nan-from-64', 'reads beyond its buffer from row 64 on', { named: ['nan'], where: /rows from 64|row 64|N > 64|last tile of 64 rows/ }, (each) =>
    edited(run(each), ['out', 'lse'], (x, { i }) => (i >= 64 ? NaN : x))),
  made('gradients-late', 'has dq negative in the last query head of each group', {
    named: ['sign'], where: /last query head of each group|query head/,
  }, (each) => {
    const R = each.parameters.queryHeads / each.parameters.kvHeads;
    return edited(run(each), ['dq'], (x, { h }) => (h % R === R - 1 ? -x : x));
  }),
  broken('global-skips', 'skips tiles of 16 keys without a GLOBAL or LOCAL token, window or not', { where: /WINDOW/, named: ['unknown'] }, {
    visible: (i, j, last, head) => {
      if (!seen(i, j, last)) return false;
      if (Math.floor(i / 16) === Math.floor(j / 16)) return true;
      const first = j - j % 16;
      for (let key = first; key < Math.min(first + 16, head.p.tokens); key++) {
        if (typeOf(head, key) !== WINDOW) return true;
      }
      return false;
    },
  }),
];

function endingOf(s: Parameters<typeof rightDl>[0]): number {
  let sum = 0;
  const end = s.head.own.findIndex((type, n) => n > s.c && type === GLOBAL);
  const to = end < 0 ? s.head.p.tokens - 1 : Math.min(chunkEnd(end, s.head.p), s.head.p.tokens - 1);
  for (let n = s.c - 1; n >= 0 && s.head.own[n] !== GLOBAL; n--) {
    if (s.head.own[n] === LOCAL) sum = f(sum + s.column(n, (s.c + 1) * s.head.p.chunk, to));
  }
  return sum;
}
