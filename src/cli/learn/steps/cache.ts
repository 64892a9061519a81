import { cache } from '../algorithm.ts';
import { L, type Step, step, typeCases, W } from '../step.ts';

export const cacheStep: Step = step({
  name: 'cache',
  title: 'A cache that forgets',
  chapter: '08-cache',
  task: 'Decode token by token: append the token, and evict what no later query will see. Given the types and the window, ' +
    'return the positions that are held after each token, in order.',
  parameters: { types: 'number[]', window: 'number' },
  returns: 'number[][]',
  hints: [
    'When token i has been appended and attended to, what matters is the next query, i + 1.',
    'A new GLOBAL token ends the LOCAL tokens that are still open: after it they are gone. A cache cannot look ahead: until ' +
      'then they stay.',
    'A WINDOW token at j is held until the query at j + window has been: after token j + window it goes.',
  ],
  cases: () => typeCases(),
  solve: ({ types, window }) => cache(types, window),
  mistakes: [
    {
      what: 'a cache that evicts one step too late',
      think: 'After token i, keep what query i + 1 will see: entries with last >= i + 1.',
      compute: ({ types, window }) => {
        const held = cache(types, window);
        return held.map((now, i) => [...new Set([...(held[i - 1] ?? []), i])].filter((j) =>
          now.includes(j) || (types[j] === W ? j + window >= i : true)));
      },
    },
    {
      what: 'a cache that never evicts',
      think: 'What no later query sees must go: that is the point.',
      compute: ({ types }) => types.map((_, i) => types.slice(0, i + 1).map((__, j) => j)),
    },
    {
      what: 'a cache in which LOCAL tokens are never closed',
      think: 'A new GLOBAL token ends the LOCAL tokens before it.',
      compute: ({ types, window }) => types.map((_, i) => types.slice(0, i + 1)
        .flatMap((type, j) => (type === W && j + window < i + 1 ? [] : [j]))),
    },
    {
      what: 'a cache that knows the future: LOCAL tokens go before the GLOBAL token that ends them has come',
      think: 'The query at the GLOBAL token still sees them.',
      compute: ({ types, window }) => cache(types, window).map((held, i) => held.filter((j) =>
        !(types[j] === L && types.findIndex((type, n) => n > j && type === 0) === i + 1))),
    },
    {
      what: 'a cache that evicts WINDOW tokens one step too early',
      think: 'The query at j + window still sees token j: it goes after token j + window, not before.',
      compute: ({ types, window }) => cache(types, window).map((held, i) =>
        held.filter((j) => types[j] !== W || j + window - 1 >= i + 1)),
    },
    {
      what: 'a cache in which the first token is GLOBAL, whatever its type',
      think: 'That is done when types are chosen; here types are taken as given.',
      compute: ({ types, window }) => cache([0, ...types.slice(1)], window),
    },
    {
      what: 'a cache that keeps entries with last >= i, one step too long, so that a second GLOBAL token closes LOCAL tokens again',
      think: 'After token i, keep what query i + 1 will see: entries with last >= i + 1. What is closed stays closed.',
      compute: ({ types, window }) => {
        let entries: { j: number; last: number }[] = [];
        return types.map((type, i) => {
          entries = entries.map(({ j, last }) => ({ j, last: type === 0 && types[j] === L ? i : last }));
          entries.push({ j: i, last: type === W ? i + window : Infinity });
          entries = entries.filter(({ last }) => last >= i);
          return entries.map(({ j }) => j);
        });
      },
    },
  ],
});
