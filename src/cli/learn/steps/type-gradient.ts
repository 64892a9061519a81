import { maskGradient, typeGradient } from '../algorithm.ts';
import { attendedCases } from '../attended.ts';
import { L, type Step, step } from '../step.ts';

/** The sum of dM[i][k] over the queries from `first` on. */
const later = (dM: number[][], k: number, first: number): number =>
  dM.slice(first).reduce((sum, row) => sum + row[k], 0);

export const typeGradientStep: Step = step({
  name: 'type-gradient',
  title: 'From the mask to the types',
  chapter: '05-types-as-numbers',
  task: 'Read one-hot types as numbers g, l and w: M[i][j] = g[j] + l[j] * (the product of 1 - g[n] for j < n < i) + w[j] * ' +
    '[i - j <= window]. Given dM, the types and the window, return [dg, dl, dw] of every token.',
  parameters: { dM: 'number[][]', types: 'number[]', window: 'number' },
  returns: 'number[][]',
  hints: [
    'Differentiate M[i][j] by w[j], and sum over the queries: dw[j] is the sum of dM[i][j] for i from j to j + window.',
    'The product is 1 up to and including the next GLOBAL token e(j), and 0 after it: dl[j] sums i from j to e(j). With no ' +
      'GLOBAL token after j, e(j) is the last token.',
    'g[j] occurs twice: in M[i][j] for all i >= j, and in the products of the LOCAL tokens k before it. Those it takes from ' +
      'the queries after j that would still have seen k: subtract the sum of dM[i][k] for i from j + 1 to e(j), for each ' +
      'LOCAL k < j with no GLOBAL token between k and j.',
  ],
  cases: () => attendedCases().map(({ types, window, ...given }) => ({ dM: maskGradient(given), types, window })),
  solve: (given) => typeGradient(given),
  mistakes: [
    {
      what: 'dg without what a GLOBAL token takes from the LOCAL tokens before it',
      think: 'A GLOBAL token ends LOCAL tokens: g is in their products too.',
      compute: (given) => typeGradient({ ...given, types: given.types.map((type) => (type === L ? 2 : type)) })
        .map(([dg], j) => [dg, ...typeGradient(given)[j].slice(1)]),
    },
    {
      what: 'gradients only of the type that each token has',
      think: 'The gradient of a type that a token does not have says whether it should have it: give all three.',
      compute: (given) => typeGradient(given).map((row, j) => row.map((x, type) => (type === given.types[j] ? x : 0))),
    },
    {
      what: 'dl up to the query before the next GLOBAL token',
      think: 'The query at the next GLOBAL token still sees token j: the product runs over n < i.',
      compute: (given) => typeGradient(given).map(([dg, dl, dw], j) => {
        const next = given.types.findIndex((type, n) => n > j && type === 0);
        return [dg, next < 0 ? dl : dl - given.dM[next][j], dw];
      }),
    },
    {
      what: 'dw up to the query at j + window - 1',
      think: 'The query at j + window still sees token j.',
      compute: (given) => typeGradient(given).map(([dg, dl, dw], j) =>
        [dg, dl, j + given.window < given.types.length ? dw - given.dM[j + given.window][j] : dw]),
    },
    {
      what: 'dg of GLOBAL tokens as if they ended nothing',
      think: 'The factor of j is gone from the product when you differentiate by g[j]: it does not matter what j is now.',
      compute: (given) => typeGradient(given).map(([dg, ...rest], j) =>
        [given.types[j] === 0 ? later(given.dM, j, j) : dg, ...rest]),
    },
    {
      what: 'dg that pays for LOCAL tokens at all later queries, also behind the next GLOBAL token',
      think: 'Behind the next GLOBAL token those LOCAL tokens are gone anyway: sum i from j + 1 to e(j).',
      compute: (given) => typeGradient(given).map(([, ...rest], j) => {
        let dg = later(given.dM, j, j);
        for (let k = j - 1; k >= 0 && given.types[k] !== 0; k--) {
          if (given.types[k] === L) dg -= later(given.dM, k, j + 1);
        }
        return [dg, ...rest];
      }),
    },
    {
      what: 'dg that pays for WINDOW tokens too',
      think: 'A GLOBAL token ends LOCAL tokens only: nothing else is added to what is open.',
      compute: (given) => typeGradient(given).map(([, ...rest], j) => {
        let dg = later(given.dM, j, j);
        const e = given.types.findIndex((type, n) => n > j && type === 0);
        for (let k = j - 1; k >= 0 && given.types[k] !== 0; k--) {
          if (given.types[k] !== 0) dg -= later(given.dM, k, j + 1) - (e < 0 ? 0 : later(given.dM, k, e + 1));
        }
        return [dg, ...rest];
      }),
    },
    {
      what: 'dg that pays in its own row, i = j, too',
      think: 'The query at j still sees the LOCAL tokens that j ends: sum i from j + 1.',
      compute: (given) => typeGradient(given).map(([, ...rest], j) => {
        let dg = later(given.dM, j, j);
        const e = given.types.findIndex((type, n) => n > j && type === 0);
        for (let k = j - 1; k >= 0 && given.types[k] !== 0; k--) {
          if (given.types[k] === L) dg -= later(given.dM, k, j) - (e < 0 ? 0 : later(given.dM, k, e + 1));
        }
        return [dg, ...rest];
      }),
    },
    {
      what: 'dg with what it ends added, not subtracted',
      think: 'The derivative of 1 - g is -1: what later queries lose is subtracted.',
      compute: (given) => typeGradient(given).map(([, ...rest], j) => {
        let dg = later(given.dM, j, j);
        const e = given.types.findIndex((type, n) => n > j && type === 0);
        for (let k = j - 1; k >= 0 && given.types[k] !== 0; k--) {
          if (given.types[k] === L) dg += later(given.dM, k, j + 1) - (e < 0 ? 0 : later(given.dM, k, e + 1));
        }
        return [dg, ...rest];
      }),
    },
    {
      what: 'dg that pays for all LOCAL tokens before it, those before the last GLOBAL token too',
      think: 'A GLOBAL token resets what is open: LOCAL tokens before it have ended already.',
      compute: (given) => typeGradient(given).map(([, ...rest], j) => {
        let dg = later(given.dM, j, j);
        const e = given.types.findIndex((type, n) => n > j && type === 0);
        for (let k = j - 1; k >= 0; k--) {
          if (given.types[k] === L) dg -= later(given.dM, k, j + 1) - (e < 0 ? 0 : later(given.dM, k, e + 1));
        }
        return [dg, ...rest];
      }),
    },
    {
      what: 'dl that stops before e(j), the last token too',
      think: 'Both ends count: sum i from j to e(j), inclusive.',
      compute: (given) => typeGradient(given).map(([dg, dl, dw], j) => {
        const next = given.types.findIndex((type, n) => n > j && type === 0);
        return [dg, dl - given.dM[next < 0 ? given.types.length - 1 : next][j], dw];
      }),
    },
  ],
});
