/**
 * Wrong types, lifetimes and masks.
 * @module
 */
import { EVER, GLOBAL, type Head, LOCAL, WINDOW } from './hooks.ts';
import { chunkEnd, chunkOf, closer, rightLast, softmax } from './right.ts';
import { type Mutant, mutant } from './mutant.ts';

const f = Math.fround;
const sums = (scores: readonly number[], noise: readonly number[]): number[] => scores.map((x, n) => f(x + noise[n]));
const first = (z: readonly number[]): number => z.indexOf(Math.max(...z));
const shifted = (wanted: number, by: number) => (head: Head, j: number): number => {
  const right = rightLast(head, j);
  return head.own[chunkOf(j, head.p)] === wanted && right !== EVER ? right + by : right;
};
type Last = (head: Head, j: number, c: number) => number;
const only = (wanted: number, last: Last) => (head: Head, j: number): number => {
  const c = chunkOf(j, head.p);
  return head.own[c] === wanted ? last(head, j, c) : rightLast(head, j);
};

export const MASKS: readonly Mutant[] = [
  mutant('argmax-of-probabilities', 'chooses types by the argmax of float32 probabilities', 'probabilities-tie', {
    type: ({ scores, noise, tau, forced }) =>
      (forced ? GLOBAL : first(softmax(sums(scores, noise).map((x) => f(x / tau))))),
  }),
  mutant('ties-to-last', 'takes the last of equal scores, with >= in the comparison', 'ties-highest', {
    type: ({ scores, noise, forced }) => {
      let best = 0;
      const z = sums(scores, noise);
      z.forEach((x, n) => (best = x >= z[best] ? n : best));
      return forced ? GLOBAL : best;
    },
  }),
  mutant('noise-minus', 'subtracts the Gumbel noise', 'noise-sign', {
    type: ({ scores, noise, forced }) => (forced ? GLOBAL : first(scores.map((x, n) => f(x - noise[n])))),
  }),
  mutant('no-noise', 'trains without the noise', 'noise-ignored', {
    type: ({ scores, forced }) => (forced ? GLOBAL : first(scores)),
  }),
  mutant('noise-after-tau', 'adds the noise to scores / tau', 'noise-untempered', {
    type: ({ scores, noise, tau, forced }) =>
      (forced ? GLOBAL : first(scores.map((x, n) => f(f(x / tau) + noise[n])))),
  }),
  mutant('not-forced', 'forgets to force the first and the last token GLOBAL', 'forced-ignored', {
    type: ({ scores, noise }) => first(sums(scores, noise)),
  }),
  mutant('types-1-2', 'numbers WINDOW 1 and LOCAL 2', 'types-local-window', {
    type: ({ scores, noise, forced }) => (forced ? GLOBAL : [GLOBAL, WINDOW, LOCAL][first(sums(scores, noise))]),
  }),
  mutant('window-plus-1', 'keeps WINDOW tokens for W + 1 queries', 'window-long', { last: shifted(WINDOW, 1) }),
  mutant('window-minus-1', 'counts the token itself as one of the W queries', 'window-short', { last: shifted(WINDOW, -1) }),
  mutant('local-after', 'closes LOCAL tokens one query after the GLOBAL', 'local-late', { last: shifted(LOCAL, 1) }),
  mutant('local-before', 'closes LOCAL tokens before the GLOBAL\'s own query', 'local-early', { last: shifted(LOCAL, -1) }),
  mutant('local-self', 'lets a LOCAL token close itself', 'local-by-itself', {
    last: only(LOCAL, (head, _, c) => chunkEnd(c, head.p)),
  }),
  mutant('local-local', 'closes LOCAL tokens at the next LOCAL too', 'local-by-local', {
    last: only(LOCAL, (head, _, c) => closer(head, c, (type) => type !== WINDOW)),
  }),
  mutant('local-open', 'never closes LOCAL', 'local-never', { last: only(LOCAL, () => EVER) }),
  mutant('local-last-global', 'takes the last GLOBAL of the sequence for the closer', 'local-by-last-global', {
    last: only(LOCAL, (head, _, c) => {
      const n = head.own.lastIndexOf(GLOBAL);
      return n > c ? chunkEnd(n, head.p) : EVER;
    }),
  }),
  mutant('local-closer-start', 'closes LOCAL chunks at the first token of the GLOBAL chunk', 'local-chunk-first', {
    last: only(LOCAL, (head, _, c) => {
      const end = closer(head, c);
      return end === EVER ? EVER : end - head.p.chunk + 1;
    }),
  }),
  mutant('window-of-token', 'counts W from the token, not from the end of its chunk', 'window-from-token', {
    last: only(WINDOW, (head, j) => j + head.p.window),
  }),
  mutant('global-tile', 'forgets GLOBAL tokens of earlier tiles of 16', 'global-chunk-edge', {
    last: only(GLOBAL, (_, j) => j - j % 16 + 15),
  }),
  mutant('global-next', 'lets a GLOBAL token end with the next one', 'global-by-global', {
    last: only(GLOBAL, (head, _, c) => closer(head, c)),
  }),
  mutant('sink-as-window', 'gives the first token a window instead of keeping it', 'sink-forgotten', {
    last: only(GLOBAL, (head, _, c) => (c === 0 ? chunkEnd(0, head.p) + head.p.window : EVER)),
  }),
  mutant('one-head-types', 'masks every KV head by the types of the first', 'types-of-first-head', {
    lastOfHead: (last, { kvHeads: G, tokens: N }) => last.map((_, n) => {
      const head = Math.floor(n / N);
      return last[(head - head % G) * N + n % N];
    }),
  }),
  mutant('last-exclusive', 'treats last(j) as exclusive: i < last(j)', 'last-excluded', {
    visible: (i, j, last) => j <= i && i < last,
  }),
  mutant('not-causal', 'has no causal mask: only lifetimes hide', 'causal-missing', { visible: (i, _, last) => i <= last }),
  mutant('causal-off-by-one', 'lets a query see the next key', 'causal-late', { visible: (i, j, last) => j <= i + 1 && i <= last }),
  mutant('mask-forgotten', 'runs plain causal attention', 'mask-ignored', { visible: (i, j) => j <= i }),
  mutant('tile-first-key', 'skips a tile of 16 keys when its first key is hidden', 'tile-by-first-key', {
    visible: (i, j, last, head) => {
      const start = j - j % 16;
      return j <= i && i <= last && i <= rightLast(head, start);
    },
  }),
  mutant('tile-seen-whole', 'masks tiles of 16 keys, not keys: one visible key shows the tile', 'tile-whole', {
    visible: (i, j, _, head) => {
      if (j > i) return false;
      for (let key = j - j % 16; key <= Math.min(j - j % 16 + 15, i, head.p.tokens - 1); key++) {
        if (i <= rightLast(head, key)) return true;
      }
      return false;
    },
  }),
  mutant('tail-of-keys', 'never reads the last tile of keys if it is not whole', 'tile-skipped', {
    visible: (i, j, last, { p }) => j <= i && i <= last && (j < p.tokens - p.tokens % 32 || p.tokens < 32),
  }),
];
