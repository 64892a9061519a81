import { lifetime, mask } from '../algorithm.ts';
import { type Step, step, typeCases } from '../step.ts';

export const maskStep: Step = step({
  name: 'mask',
  title: 'What each query sees',
  chapter: '02-lifetimes',
  task: 'Given the lifetimes of all tokens, return the mask: M[i][j] is 1 if query i sees key j, and 0 if not.',
  parameters: { last: 'number[]' },
  returns: 'number[][]',
  hints: [
    'A query sees a key if the key is not in the future, and has not died before the query.',
    'Both ends count: j <= i and i <= last[j].',
  ],
  cases: () => typeCases().map(({ types, window }) => ({ last: lifetime(types, window) })),
  solve: ({ last }) => mask(last),
  mistakes: [
    {
      what: 'the transpose of the mask',
      think: 'The first index is the query, the second the key.',
      compute: ({ last }) => last.map((end, j) => last.map((_, i) => (j <= i && i <= end ? 1 : 0))),
    },
    {
      what: 'a mask in which no query sees its own token',
      think: 'Query i sees key i: j <= i.',
      compute: ({ last }) => mask(last).map((row, i) => row.map((m, j) => (i === j ? 0 : m))),
    },
    {
      what: 'a mask in which the query at last[j] does not see key j any more',
      think: 'Both ends count: i <= last[j].',
      compute: ({ last }) => last.map((_, i) => last.map((end, j) => (j <= i && i < end ? 1 : 0))),
    },
    {
      what: 'a mask in which queries see keys after them',
      think: 'A language model reads from left to right: j <= i.',
      compute: ({ last }) => last.map((_, i) => last.map((end) => (i <= end ? 1 : 0))),
    },
    {
      what: 'the causal mask, in which nothing ever dies',
      think: 'Query i sees key j only until last[j].',
      compute: ({ last }) => last.map((_, i) => last.map((_, j) => (j <= i ? 1 : 0))),
    },
  ],
});
