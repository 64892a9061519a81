import { straightThrough } from '../algorithm.ts';
import { numbers, randomTable, type Step, step } from '../step.ts';

/** y of every token. */
const softmaxes = ({ scores, noise, tau }: { scores: number[][]; noise: number[][]; tau: number }): number[][] =>
  scores.map((row, t) => {
    const z = row.map((s, c) => (s + noise[t][c]) / tau);
    const e = z.map((x) => Math.exp(x - Math.max(...z)));
    return e.map((x) => x / (e[0] + e[1] + e[2]));
  });

export const straightThroughStep: Step = step({
  name: 'straight-through',
  title: 'Choosing types, and learning from the choice',
  chapter: '06-search',
  task: 'Given scores and noise ([N][3] each), the temperature tau, and dTypes, the gradient with respect to the one-hot types, ' +
    'return { types, dScores }: the types are the largest of softmax((scores + noise) / tau), the lowest index if tied, and ' +
    'the gradient passes through the choice as if the types were that softmax.',
  parameters: { scores: 'number[][]', noise: 'number[][]', tau: 'number', dTypes: 'number[][]' },
  returns: '{ types: number[]; dScores: number[][] }',
  hints: [
    'y = softmax((scores + noise) / tau), and the type is the index of the largest y.',
    'The gradient of a softmax: dScores[c] = y[c] (dTypes[c] - sum over b of y[b] dTypes[b]) / tau.',
  ],
  cases: () => [1, 2, 5, 4, 3, 2].map((N, n) => {
    const random = numbers(20 + n);
    const table = () => randomTable(random, N, 3);
    const tied = n === 3;
    return {
      scores: table().map(([x, y, z]) => (tied ? [x, x, x - 1] : [x, y, z].map((s) => (n === 5 ? s + 800 : s)))),
      noise: tied ? table().map(() => [0, 0, 0]) : table(),
      tau: [1, 0.5, 2, 0.1, 1, 1][n], dTypes: table(),
    };
  }),
  solve: (given) => straightThrough(given),
  mistakes: [
    {
      what: 'types that ignore the noise',
      think: 'The noise is added to the scores before the softmax.',
      compute: (given) => straightThrough({ ...given, noise: given.noise.map((row) => row.map(() => 0)) }),
    },
    {
      what: 'dScores without the division by tau',
      think: 'y depends on scores / tau, so the chain rule brings 1 / tau.',
      compute: (given) => {
        const { types, dScores } = straightThrough(given);
        return { types, dScores: dScores.map((row) => row.map((x) => x * given.tau)) };
      },
    },
    {
      what: 'noise that is not divided by tau',
      think: 'Scores and noise are added first: (scores + noise) / tau.',
      compute: (given) => straightThrough({ ...given, noise: given.noise.map((row) => row.map((x) => x * given.tau)) }),
    },
    {
      what: 'dTypes itself as the gradient of the scores',
      think: 'Straight through means that the gradient of the one-hot types is that of y; from y to the scores the softmax ' +
        'has its own gradient.',
      compute: (given) => ({ types: straightThrough(given).types, dScores: given.dTypes }),
    },
    {
      what: 'dScores without the mean of dTypes under y',
      think: 'The three y sum to 1: subtract the sum over b of y[b] dTypes[b] from each dTypes[c].',
      compute: (given) => {
        const dScores = softmaxes(given).map((row, t) =>
          row.map((p, c) => p * given.dTypes[t][c] / given.tau));
        return { types: straightThrough(given).types, dScores };
      },
    },
    {
      what: 'types in which the highest index wins a tie',
      think: 'Ties go to the lowest index.',
      compute: (given) => ({
        types: softmaxes(given).map((row) => row.lastIndexOf(Math.max(...row))),
        dScores: straightThrough(given).dScores,
      }),
    },
    {
      what: 'dScores without the factor y',
      think: 'The gradient of a softmax: dScores[c] = y[c] (dTypes[c] - sum over b of y[b] dTypes[b]) / tau.',
      compute: (given) => ({
        types: straightThrough(given).types,
        dScores: softmaxes(given).map((row, t) => row.map((_, c) =>
          (given.dTypes[t][c] - row.reduce((sum, p, b) => sum + p * given.dTypes[t][b], 0)) / given.tau)),
      }),
    },
  ],
});
