import { price } from '../algorithm.ts';
import { type Step, step, typeCases } from '../step.ts';

export const priceStep: Step = step({
  name: 'price',
  title: 'The price of memory',
  chapter: '07-price',
  task: 'Keeping the whole cache costs lambda. Given types, window and lambda, return for every token the prices ' +
    '[of GLOBAL, of LOCAL, of WINDOW] that are added to [dg, dl, dw], for one layer, one head and one sequence.',
  parameters: { types: 'number[]', window: 'number', lambda: 'number' },
  returns: 'number[][]',
  hints: [
    'A token costs the number of later queries that see it, times K = 2 lambda / N^2.',
    'GLOBAL: N - 1 - j queries. LOCAL: e(j) - j, with e(j) the next GLOBAL token, or N - 1. WINDOW: window, but at ' +
      'most N - 1 - j.',
  ],
  cases: () => typeCases().map((each, n) => ({ ...each, lambda: [1, 0.1, 0.03][n % 3] })),
  solve: (given) => price(given),
  mistakes: [
    {
      what: 'prices that count the token\'s own query',
      think: 'A token sees itself in any case: count the queries after it.',
      compute: (given) => price(given).map((row) => row.map((x) => x + 2 * given.lambda / given.types.length ** 2)),
    },
    {
      what: 'prices that are too small by the factor 2',
      think: 'All GLOBAL costs lambda: the mean of (N - 1 - j) / N is about one half, hence the 2.',
      compute: (given) => price(given).map((row) => row.map((x) => x / 2)),
    },
    {
      what: 'a price only for the type that each token has',
      think: 'The gradient compares the types: each has its price, whichever the token has.',
      compute: (given) => price(given).map((row, j) => row.map((x, type) => (type === given.types[j] ? x : 0))),
    },
    {
      what: 'a price of WINDOW beyond the end of the sequence',
      think: 'There are only N - 1 - j queries after token j.',
      compute: (given) => price(given).map(([g, l]) =>
        [g, l, 2 * given.lambda / given.types.length ** 2 * given.window]),
    },
    {
      what: 'a price of LOCAL up to the last token, as if nothing ended it',
      think: 'A LOCAL token is kept until the next GLOBAL token: e(j) - j queries.',
      compute: (given) => price(given).map(([g, , w]) => [g, g, w]),
    },
    {
      what: 'prices that are too large by the factor N',
      think: 'kept is a share of N queries, and then its mean over N tokens is taken: K = 2 lambda / N^2.',
      compute: (given) => price(given).map((row) => row.map((x) => x * given.types.length)),
    },
    {
      what: 'e(j) = N for LOCAL tokens that no GLOBAL token follows',
      think: 'The last query is N - 1: e(j) is N - 1 if there is no GLOBAL token after j.',
      compute: ({ types, window, lambda }) => price({ types, window, lambda }).map(([g, l, w], j) =>
        [g, types.includes(0, j + 1) ? l : l + 2 * lambda / types.length ** 2, w]),
    },
    {
      what: 'prices divided by N (N - 1), which is 0 for one token',
      think: 'K = 2 lambda / N^2.',
      compute: ({ types, window, lambda }) => price({ types, window, lambda }).map((row) =>
        row.map((x) => (types.length === 1 ? NaN : x * types.length / (types.length - 1)))),
    },
  ],
});
