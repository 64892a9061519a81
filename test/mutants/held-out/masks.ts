/**
 * Wrong types, lifetimes and masks, written differently or in other places than those of ../masks.ts.
 * @module
 */
import type { OracleCase, Tensors } from '../../../src/oracle/types.ts';
import { EVER, GLOBAL, type Head, type Hooks, LOCAL, WINDOW } from '../hooks.ts';
import { run } from '../kernel.ts';
import { chunkEnd, chunkOf, closer, rightLast, softmax } from '../right.ts';
import type { Mutant } from '../mutant.ts';
import { f, hooked, made, mixed } from './parts.ts';

const first = (z: readonly number[]): number => z.indexOf(Math.max(...z));
const added = (scores: readonly number[], noise: readonly number[]): number[] => scores.map((x, n) => f(x + noise[n]));
const ofType = (head: Head, j: number, type: number): boolean => head.own[chunkOf(j, head.p)] === type;
/** Replaces last() for one type only. */
const lasts = (type: number, last: (head: Head, j: number) => number): Hooks['last'] => (head, j) =>
  (ofType(head, j, type) ? last(head, j) : rightLast(head, j));
const seen = (i: number, j: number, last: number): boolean => j <= i && i <= last;
/** Makes only attention wrong: last, mask and the cache come from correct code. */
const onlyAttention = (hooks: Hooks) => (each: OracleCase): Tensors => {
  const right = run(each);
  const others = Object.keys(right).filter((name) => /^(last|mask|cache_.*)$/.test(name));
  return mixed(others, right, run(each, hooks));
};

export const MASKS: readonly Mutant[] = [
  hooked('least-score', 'sorts the scores ascending and takes the first', 'argmin', {
    type: ({ scores, noise, forced }) => (forced ? GLOBAL : first(added(scores, noise).map((x) => -x))),
  }),
  hooked('order-w-l-g', 'numbers the types WINDOW, LOCAL, GLOBAL', 'types-reversed', {
    type: ({ scores, noise, forced }) => (forced ? GLOBAL : 2 - first(added(scores, noise))),
  }),
  hooked('scores-by-type', 'reads the scores as [B,G,3,Nc]', 'scores-transposed', ({ inputs, parameters: p }) => {
    let t = 0;
    const chunks = Math.ceil(p.tokens / p.chunk);
    const read = (name: string): number[] => {
      const [head, c] = [Math.floor(t / chunks), t % chunks];
      return [0, 1, 2].map((n) => inputs[name]?.data[(head * 3 + n) * chunks + c] ?? 0);
    };
    return {
      type: ({ forced }) => {
        const z = added(read('scores'), read('noise'));
        t++;
        return forced ? GLOBAL : first(z);
      },
    };
  }),
  hooked('noise-times-tau', 'multiplies the noise by tau before adding it', 'noise-untempered', {
    type: ({ scores, noise, tau, forced }) =>
      (forced ? GLOBAL : first(added(scores, noise.map((x) => f(tau * x))))),
  }),
  hooked('probabilities-inference', 'samples by probabilities only where there is no noise', 'probabilities-tie', {
    type: ({ scores, noise, tau, forced }) => {
      if (forced) return GLOBAL;
      return noise.every((x) => x === 0) ? first(softmax(scores.map((x) => f(x / tau)))) : first(added(scores, noise));
    },
  }),
  hooked('window-from-first', 'counts W from the first token of the chunk', 'window-from-chunk-start', {
    last: lasts(WINDOW, (head, j) => Math.max(j, chunkOf(j, head.p) * head.p.chunk + head.p.window)),
  }),
  hooked('window-kept', 'has two types in its kernel: LOCAL, and what stays', 'window-forever', { last: lasts(WINDOW, () => EVER) }),
  hooked('local-any-other', 'closes LOCAL where the type changes', 'local-by-any', {
    last: lasts(LOCAL, (head, j) => closer(head, chunkOf(j, head.p), (type) => type !== LOCAL)),
  }),
  hooked('batch-stride', 'forgets the batch in the stride of its lifetimes', 'types-of-first-batch', {
    lastOfHead: (last, { kvHeads: G, tokens: N }) => last.map((_, n) => last[n % (G * N)]),
  }),
  hooked('diagonal-strict', 'masks with j < i, except in row 0', 'diagonal-hidden', {
    visible: (i, j, last) => (j < i || i === 0) && seen(i, j, last),
  }),
  hooked('mask-as-key-query', 'indexes the mask [key][query]', 'mask-transposed', {
    visible: (i, j, _, head) => seen(j, i, rightLast(head, i)),
  }),
  hooked('first-tile-of-keys', 'starts its loop over tiles of 32 keys at the second', 'tile-skipped', {
    visible: (i, j, last) => seen(i, j, last) && (i < 32 || j >= 32),
  }),
  made('first-key-32', 'skips tiles of 32 keys by their first key, in the attention alone', 'tile-by-first-key', onlyAttention({
    visible: (i, j, last, head) => seen(i, j, last) && i <= rightLast(head, j - j % 32),
  })),
  made('whole-tiles-32', 'masks whole tiles of 32 keys, in the attention alone', 'tile-whole', onlyAttention({
    visible: (i, j, _, head) => {
      for (let key = j - j % 32; j <= i && key <= Math.min(i, j - j % 32 + 31); key++) {
        if (i <= rightLast(head, key)) return true;
      }
      return false;
    },
  })),
  made('window-attended-long', 'attends to W + 2 tokens with a right mask tensor', 'window-long', onlyAttention({
    visible: (i, j, last, head) => j <= i && i <= last + Number(ofType(head, j, WINDOW)),
  })),
  made('window-attended-short', 'attends to W tokens with a right mask tensor', 'window-short', onlyAttention({
    visible: (i, j, last, head) => j <= i && i <= Math.max(j, last - Number(ofType(head, j, WINDOW))),
  })),
  made('closing-unseen', 'hides LOCAL from the closing query in the attention alone', 'local-early', onlyAttention({
    visible: (i, j, last, head) => seen(i, j, last) && !(ofType(head, j, LOCAL) && i === last && i !== j),
  })),
  hooked('backward-last', 'has i < last(j) in the backward alone', 'last-excluded', { backVisible: (i, j, last) => j <= i && i < last }),
  hooked('backward-local-late', 'closes LOCAL one query late in the backward alone', 'local-late', {
    backVisible: (i, j, last, head) => seen(i, j, ofType(head, j, LOCAL) && last < EVER ? last + 1 : last),
  }),
  hooked('backward-next-key', 'has the causal mask one key late in the backward alone', 'causal-late', {
    backVisible: (i, j, last) => j <= i + 1 && i <= last,
  }),
  hooked('global-tile-64', 'keeps GLOBAL tokens for their tile of 64', 'global-chunk-edge', {
    last: lasts(GLOBAL, (_, j) => j - j % 64 + 63),
  }),
  hooked('zero-slides', 'lets position 0 slide out with the window, whatever its type', 'sink-forgotten', {
    last: (head, j) => (j === 0 ? chunkEnd(0, head.p) + head.p.window : rightLast(head, j)),
  }),
  made('second-head-types', 'masks the attention of every KV head by the types of the first', 'types-of-first-head', (each) => {
    const { kvHeads: G, tokens: N } = each.parameters;
    const shared: Hooks['lastOfHead'] = (last) => last.map((_, n) => {
      const head = Math.floor(n / N);
      return last[(head - head % G) * N + n % N];
    });
    return mixed(['last', 'mask'], run(each), run(each, { lastOfHead: shared }));
  }),
];
