import { straightThrough } from '../algorithm.ts';
import { numbers, randomTable, type Step, step } from '../step.ts';

export const straightThroughStep: Step = step({
  name: 'straight-through',
  title: 'Choosing types, and learning from the choice',
  section: '6-search-choosing-types-while-training',
  task: 'Given scores and noise ([N][3] each), the temperature tau, and dTypes, the gradient with respect to the one-hot types, ' +
    'return { types, dScores }: the types are the largest of softmax((scores + noise) / tau), the lowest index if tied, and ' +
    'the gradient passes through the choice as if the types were that softmax.',
  parameters: { scores: 'number[][]', noise: 'number[][]', tau: 'number', dTypes: 'number[][]' },
  returns: '{ types: number[]; dScores: number[][] }',
  hints: [
    'y = softmax((scores + noise) / tau), and the type is the index of the largest y.',
    'The gradient of a softmax: dScores[c] = y[c] (dTypes[c] - sum over b of y[b] dTypes[b]) / tau.',
  ],
  cases: () => [1, 2, 5, 4, 3].map((N, n) => {
    const random = numbers(20 + n);
    const table = () => randomTable(random, N, 3);
    const tied = n === 3;
    return {
      scores: tied ? table().map(([x]) => [x, x, x - 1]) : table(),
      noise: tied ? table().map(() => [0, 0, 0]) : table(),
      tau: [1, 0.5, 2, 0.1, 1][n], dTypes: table(),
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
  ],
});
