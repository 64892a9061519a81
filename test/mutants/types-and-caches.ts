/**
 * Wrong gradients of types and scores, and wrong caches.
 * @module
 */
import { type Entry, EVER, GLOBAL, LOCAL, type ScoreGradient, type Sums, WINDOW } from './hooks.ts';
import { allRows, chunkEnd, chunkOf, closing, ending, rightDg, rightScores, softmax } from './right.ts';
import { type Mutant, mutant } from './mutant.ts';

const f = Math.fround;
const windowEnd = ({ head, c }: Sums): number => chunkEnd(c, head.p) + head.p.window;
const scores = (change: (z: ScoreGradient) => Partial<ScoreGradient>) => (z: ScoreGradient): number[] =>
  rightScores({ ...z, ...change(z) });

export const TYPE_GRADIENTS: readonly Mutant[] = [
  mutant('dw-w-plus-1', 'sums dw over one query too many', 'dw-long', { dw: (s) => s.column(s.c, 0, windowEnd(s) + 1) }),
  mutant('dw-w-minus-1', 'sums dw over one query too few', 'dw-short', { dw: (s) => s.column(s.c, 0, windowEnd(s) - 1) }),
  mutant('dw-overrun', 'does not stop dw at N - 1 and reads the next head', 'dw-unclamped', {
    dw: (s) => {
      const { head: { p }, c } = s;
      let sum = s.column(c, 0, windowEnd(s));
      for (let j = c * p.chunk; j < Math.min((c + 1) * p.chunk, p.tokens); j++) {
        const end = Math.min(windowEnd(s), 2 * p.tokens - 1);
        for (let i = p.tokens; i <= end; i++) sum = f(sum + s.beyond(i - p.tokens, j));
      }
      return sum;
    },
  }),
  mutant('dl-to-the-end', 'sums dl to the end of the sequence', 'dl-to-end', { dl: allRows }),
  mutant('dl-before-e', 'stops dl before e(j)', 'dl-short', { dl: (s) => s.column(s.c, 0, closing(s.head, s.c) - 1) }),
  mutant('dg-positive', 'has no negative term in dg', 'dg-no-negative', { dg: allRows }),
  mutant('dg-late', 'drops the rows i <= e(j) of dg', 'dg-rows-dropped', {
    dg: (s) => f(s.column(s.c, closing(s.head, s.c) + 1, s.head.p.tokens - 1) - ending(s)),
  }),
  mutant('dg-one-local', 'charges a token for the nearest LOCAL before it alone', 'dg-nearest', {
    dg: (s) => {
      const { head: { own, p }, c } = s;
      for (let n = c - 1; n >= 0 && own[n] !== GLOBAL; n--) {
        if (own[n] === LOCAL) return f(allRows(s) - s.column(n, (c + 1) * p.chunk, closing(s.head, c)));
      }
      return allRows(s);
    },
  }),
  mutant('dg-plus', 'adds the negative term of dg', 'dg-sign', { dg: (s) => f(allRows(s) + ending(s)) }),
  mutant('dg-to-the-end', 'sums the negative term of dg to the end of the sequence', 'dg-to-end', {
    dg: (s) => f(allRows(s) - ending(s, s.head.p.tokens - 1)),
  }),
  mutant('no-tau', 'does not divide dscores by tau', 'tau-missing', { dscores: (z) => rightScores(z).map((x) => f(x * z.tau)) }),
  mutant('no-mean', 'leaves the mean out of the softmax\'s gradient', 'softmax-mean', {
    dscores: ({ y, dt, price, tau, forced }) => y.map((x, n) => (forced ? 0 : f(f(x * f(dt[n] + price[n])) / tau))),
  }),
  mutant('y-without-noise', 'takes the softmax without the noise for y', 'probabilities-without-noise', {
    dscores: scores(({ scores: s, tau }) => ({ y: softmax(s.map((x) => f(x / tau))) })),
  }),
  mutant('y-one-hot', 'takes the one-hot types for y', 'probabilities-hard', {
    dscores: scores(({ type }) => ({ y: [0, 1, 2].map((n) => Number(n === type)) })),
  }),
  mutant('forced-learns', 'sends gradient into the scores of forced tokens', 'forced-gradient', {
    dscores: scores(() => ({ forced: false })),
  }),
  mutant('no-price', 'forgets the price of memory', 'price-missing', { dscores: scores(() => ({ price: [0, 0, 0] })) }),
  mutant('price-minus', 'pays for memory with the wrong sign', 'price-sign', {
    dscores: scores(({ price }) => ({ price: price.map((x) => -x) })),
  }),
  mutant('price-of-choice', 'charges the chosen type alone', 'price-chosen', {
    dscores: scores(({ price, type }) => ({ price: price.map((x, n) => (n === type ? x : 0)) })),
  }),
  mutant('dl-dw-swapped', 'hands (dg, dw, dl) to the softmax', 'triple-swapped', {
    dscores: scores(({ dt, price }) => ({ dt: [0, 2, 1].map((n) => dt[n]), price: [0, 2, 1].map((n) => price[n]) })),
  }),
];

const isWindow = ({ j }: Entry, { p, own }: { p: { chunk: number }; own: Int32Array }): boolean =>
  own[Math.floor(j / p.chunk)] === WINDOW;

export const CACHES: readonly Mutant[] = [
  mutant('evicts-early', 'evicts entries that the next query still sees', 'evicted-early', {
    cache: { dies: ({ last }, next) => last <= next },
  }),
  mutant('evicts-late', 'evicts one step late', 'evicted-late', { cache: { dies: ({ last }, next) => last < next - 1 } }),
  mutant('evicts-first', 'evicts before the step attends', 'evicted-before-attending', {
    cache: { before: (entries, _, next) => entries.filter(({ last }) => last >= next) },
  }),
  mutant('evicts-nothing', 'masks what is dead but never frees it', 'never-evicted', { cache: { dies: () => false } }),
  mutant('closer-blind', 'drops LOCAL entries before the closing query attends', 'local-gone-at-closing', {
    cache: {
      before: (entries, _, next, head) =>
        entries.filter(({ j, last }) => head.own[chunkOf(j, head.p)] !== LOCAL || last >= next),
    },
  }),
  mutant('renumbers', 'numbers the survivors anew', 'renumbered', {
    cache: {
      after: (entries) => entries.map((entry, n) => ({ ...entry, position: n })),
      dies: ({ last }, next) => last < next,
    },
  }),
  mutant('overwrites-dying', 'reuses the slots of entries that die in this step before it attends', 'slot-reused', {
    cache: {
      before: (entries, begin, next) => {
        const dying = entries.filter(({ j, last }) => j < begin && last < next).slice(0, next - begin);
        return entries.filter((entry) => !dying.includes(entry));
      },
    },
  }),
  mutant('ring-of-w', 'has W slots for WINDOW tokens', 'ring-short', {
    cache: {
      visible: (i, entry, _, head) => {
        const { j, last } = entry;
        return j <= i && (isWindow(entry, head) && last > j ? i < last : i <= last);
      },
    },
  }),
  mutant('ring-overwrites', 'has W + 1 slots for a step of many tokens', 'ring-overwritten', {
    cache: {
      before: (entries, _, next, head) =>
        entries.filter((entry) => !isWindow(entry, head) || entry.j >= next - head.p.window - 1),
    },
  }),
  mutant('closes-one', 'closes only the newest LOCAL entry', 'closes-newest', {
    cache: {
      close: (open, end) => {
        const newest = open.filter(({ last }) => last === EVER).at(-1);
        if (newest) newest.last = newest.closedBy = end;
      },
    },
  }),
  mutant('closes-old', 'closes LOCAL entries of earlier steps, not those of the GLOBAL\'s own step', 'closes-cached', {
    cache: {
      close: (open, end, begin) => {
        for (const entry of open) if (entry.last === EVER && entry.j < begin) entry.last = entry.closedBy = end;
      },
    },
  }),
  mutant('closes-with-last', 'closes with the last of several GLOBALs in a step', 'closed-by-last', {
    cache: {
      close: (open, end, _, ends) => {
        for (const entry of open) {
          if (entry.last === EVER || ends.includes(entry.closedBy)) entry.last = entry.closedBy = end;
        }
      },
    },
  }),
  mutant('sees-all-held', 'lets every query of a step see all that is held', 'steps-unmasked', {
    cache: { visible: (i, { j, last }, begin) => j <= i && last >= begin },
  }),
  mutant('bytes-never-shrink', 'keeps memory for the whole context', 'bytes-context', {
    cache: { bytes: (_, seen, __, d) => seen * 2 * d * 4 },
  }),
  mutant('bytes-padded', 'pads every head to the longest', 'bytes-longest', { cache: { bytes: (_, __, most, d) => most * 2 * d * 4 } }),
  mutant('bytes-keys', 'counts keys and no values', 'bytes-half', { cache: { bytes: (live, _, __, d) => live * d * 4 } }),
];

/** Mistakes without a name. */
export const NAMELESS: readonly Mutant[] = [
  mutant('odd-heads-forget', 'hides every fifth key from odd queries', 'unknown', {
    visible: (i, j, last) => j <= i && i <= last && (i % 2 === 0 || j % 5 > 0 || i === j),
  }),
  mutant('dk-transposed', 'mixes dk of neighbouring tokens', ['unknown', 'rows-moved'], {
    write: (name, data, [, , N, d]) => (name === 'dk' ? data.map((_, n) => {
      const j = Math.floor(n / d) % N;
      return data[n + (j % 2 === 0 && j + 1 < N ? d : j % 2 === 1 ? -d : 0)];
    }) : data),
  }),
  mutant('dg-squared', 'squares dg', 'unknown', { dg: (s) => f(rightDg(s) ** 2) }),
];
