/**
 * Rules of eviction and closing that a cache may have instead of those of §8.
 * @module
 */
import { chunkOf, TOKEN_TYPE_NAMES, TokenType } from '../../core/lifetime.ts';
import type { CacheStep, Change } from './cache-change.ts';
import type { Scene } from './scene.ts';

const { LOCAL, WINDOW } = TokenType;
type Evicts = NonNullable<Change['evicts']>;

/** Caches with one other rule. */
export function* cacheRules(scene: Scene): Generator<Change> {
  yield* closings(scene);
  yield* evictions(scene);
  yield* counts(scene);
  const { heads, parameters: { kvHeads: G } } = scene;
  if (G > 1) {
    yield { name: 'types-of-first-head', by: (head) => head - head % G };
    yield { name: 'types-moved', detail: 'those of the next KV head', by: (head) => head - head % G + (head + 1) % G };
    if (G > 2) yield { name: 'types-moved', detail: 'those of the KV head before', by: (head) => head - head % G + (head + G - 1) % G };
  }
  if (heads > G) {
    yield { name: 'types-of-first-batch', by: (head) => head % G };
    yield { name: 'types-moved', detail: 'those of the next sequence', by: (head) => (head + G) % heads };
  }
}

function* closings({ parameters: { chunk: C } }: Scene): Generator<Change> {
  const misses: readonly (readonly [string, NonNullable<Change['misses']>])[] = [
    ['those that end with the last token of their step', (end, { next }) => end === next - 1],
    ['those that do not end with the last token of their step', (end, { next }) => end !== next - 1],
    ['those that begin with the first token of their step', (end, { begin }) => end - C + 1 === begin],
    ['those of the first step', (_, { r }) => r === 0],
    ['those of later steps than the first', (_, { r }) => r > 0],
    ['those of steps of one token', (_, { begin, next }) => next - begin === 1],
    ['those of steps of several tokens', (_, { begin, next }) => next - begin > 1],
    ['all but the first of a step', (_, { ends }) => ends.length > 1],
    ...C === 1 ? [] : [
      ['those that began in an earlier step', (end: number, { begin }: CacheStep) => end - C + 1 < begin] as const,
      ['those that began in their own step', (end: number, { begin }: CacheStep) => end - C + 1 >= begin] as const,
    ],
  ];
  for (const [detail, rule] of misses) yield { name: 'global-missed', detail, misses: rule };
  const places: readonly (readonly [string, NonNullable<Change['closedAt']>])[] = [
    ['at the last token of the step', (_, { next }) => next - 1],
    ['at the first token of the step', (_, { begin }) => begin],
    ['at the last token of the step before', (_, { begin }) => begin - 1],
    ['at the first token of the next step', (_, { next }) => next],
    ['at the number of the step', (_, { r }) => r],
    ['at its number in the step', (end, { begin }) => end - begin],
  ];
  for (const [detail, closedAt] of places) yield { name: 'local-other', detail, closedAt };
  yield { name: 'closes-some', detail: 'the oldest token', closes: (open) => open.slice(0, 1) };
  yield { name: 'closes-some', detail: 'all but the newest token', closes: (open) => open.slice(0, -1) };
  yield { name: 'closes-some', detail: 'all but the oldest token', closes: (open) => open.slice(1) };
  yield { name: 'closes-some', detail: 'those of its own step', closes: (open, _, begin) => open.filter((j) => j >= begin) };
  if (C > 1) {
    yield { name: 'closes-some', detail: 'the newest chunk', closes: (open) => open.filter((j) => chunkOf(j, C) === chunkOf(open.at(-1)!, C)) };
    yield { name: 'closes-some', detail: 'the last token of each chunk', closes: (open) => open.filter((j) => j % C === C - 1) };
    yield { name: 'closes-some', detail: 'the first token of each chunk', closes: (open) => open.filter((j) => j % C === 0) };
  }
}

function* evictions(scene: Scene): Generator<Change> {
  const { N, parameters: { steps } } = scene;
  const by = (detail: string, evicts: Evicts): Change => ({ name: 'evicts-some', detail, evicts });
  const when = (detail: string, is: (step: CacheStep) => boolean): Change =>
    by(detail, (entries, dies, step) => (is(step) ? entries.filter((j) => !dies(j)) : entries));
  yield when('steps of one token evict nothing', ({ begin, next }) => next - begin > 1);
  yield when('steps of several tokens evict nothing', ({ begin, next }) => next - begin === 1);
  yield when('the first step evicts nothing', ({ r }) => r > 0);
  yield when('the last step evicts nothing', ({ next }) => next < N);
  yield when('only steps that bring a GLOBAL evict', ({ ends }) => ends.length > 0);
  yield when('only steps that bring no GLOBAL evict', ({ ends }) => ends.length === 0);
  for (const n of [2, 3, 4, 5, 6, 8, 16]) {
    for (let rest = n - 1; rest >= 0; rest--) {
      if (steps.length > 1) yield when(`only steps r % ${n} = ${rest} evict`, ({ r }) => r % n === rest);
    }
  }
  for (const n of [8, 16, 32, 64, 4]) {
    if (n < N) yield when(`only steps that pass a multiple of ${n} positions evict`, ({ begin, next }) => Math.floor(begin / n) < Math.floor(next / n));
  }
  for (const most of [1, 2, 4, 8]) {
    const words = most === 1 ? 'one entry' : `${most} entries`;
    for (const [which, cut] of [
      ['oldest', (dead: readonly number[]) => dead.slice(0, most)], ['newest', (dead: readonly number[]) => dead.slice(-most)],
    ] as const) {
      yield by(`a step evicts ${words} at most, the ${which} first`, (entries, dies) => {
        const gone = new Set(cut(entries.filter((j) => dies(j))));
        return entries.filter((j) => !gone.has(j));
      });
    }
  }
  yield by('the entry behind one that is evicted is not looked at', (entries, dies) => entries.filter((j, n) => {
    let run = 0;
    while (n - run > 0 && dies(entries[n - run - 1])) run++;
    return !dies(j) || run % 2 === 1;
  }));
  yield by('the entry that is moved into the place of one that is evicted is not looked at', (entries, dies) => {
    const left = [...entries];
    for (let n = 0; n < left.length; n++) {
      if (!dies(left[n])) continue;
      const end = left.pop()!;
      if (n < left.length) left[n] = end;
    }
    return left;
  });
  yield by('only the oldest of what is held, up to one that lives', (entries, dies) => {
    const first = entries.findIndex((j) => !dies(j));
    return first < 0 ? [] : entries.slice(first);
  });
  yield by('the newest of what is held is not looked at', (entries, dies) => entries.filter((j, n) => n === entries.length - 1 || !dies(j)));
  yield by('the oldest of what is held is not looked at', (entries, dies) => entries.filter((j, n) => n === 0 || !dies(j)));
  yield by('tokens of the step itself stay', (entries, dies, { begin }) => entries.filter((j) => j >= begin || !dies(j)));
  for (const page of [2, 4, 8, 16, 32, 64]) {
    if (page >= N) continue;
    yield by(`only whole pages of ${page} positions`, (entries, dies) => {
      const alive = new Set(entries.filter((j) => !dies(j)).map((j) => Math.floor(j / page)));
      return entries.filter((j) => alive.has(Math.floor(j / page)));
    });
    yield by(`what lies in a last, partial page of ${page} entries is not looked at`, (entries, dies) =>
      entries.filter((j, n) => n >= entries.length - entries.length % page || !dies(j)));
    yield by(`only the first ${page} entries are looked at`, (entries, dies) => entries.filter((j, n) => n >= page || !dies(j)));
  }
  for (const type of [LOCAL, WINDOW] as const) {
    yield {
      name: 'evicts-some', detail: `${TOKEN_TYPE_NAMES[type]} entries never leave`,
      dead: (j, last, { next }, typeOf) => typeOf(j) !== type && last < next,
    };
    yield {
      name: 'evicts-some', detail: `${TOKEN_TYPE_NAMES[type]} entries leave one step late`,
      dead: (j, last, { begin, next }, typeOf) => last < (typeOf(j) === type ? begin : next),
    };
  }
  yield { name: 'evicts-some', detail: 'each leaves one step late', dead: (_, last, { begin }) => last < begin };
}

/** WINDOW entries that leave by number. */
function* counts({ parameters: { chunk: C, window: W } }: Scene): Generator<Change> {
  for (const [most, least] of [['W', W], ['W + 1', W + 1]] as const) {
    for (const [words, comes] of [
      ['WINDOW tokens', (n: number, j: number, type: (j: number) => number) => type(n) === WINDOW && n > j],
      ...C === 1 ? [] : [['WINDOW tokens of later chunks', (n: number, j: number, type: (j: number) => number) =>
        type(n) === WINDOW && chunkOf(n, C) > chunkOf(j, C)] as const],
    ] as const) {
      yield {
        name: 'evicted-by-count', detail: `once ${most} ${words} have come`,
        dead: (j, last, { next }, type) => {
          if (type(j) !== WINDOW) return last < next;
          if (last >= 0x7fffffff) return false;
          let count = 0;
          for (let n = j + 1; n < next; n++) count += Number(comes(n, j, type));
          return count >= least;
        },
      };
    }
  }
}
