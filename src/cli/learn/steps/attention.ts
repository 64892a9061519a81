import { type Attended, attention, dot, mask } from '../algorithm.ts';
import { forwardCases } from '../attended.ts';
import { type Step, step } from '../step.ts';

/** Attention with weights that `of` computes from the scores and the mask of a row. */
function attend({ q, k, v, last }: Attended, of: (s: number[], m: number[], d: number) => number[]): number[][] {
  const M = mask(last);
  return q.map((qi, i) => {
    const a = of(k.map((kj) => dot(qi, kj)), M[i], qi.length);
    return v[0].map((_, c) => a.reduce((sum, x, j) => sum + x * v[j][c], 0));
  });
}

const softmax = (z: readonly number[]): number[] => {
  const most = Math.max(...z);
  const e = z.map((x) => Math.exp(x - most));
  return e.map((x) => x / e.reduce((a, b) => a + b, 0));
};

export const attentionStep: Step = step({
  name: 'attention',
  title: 'Attention over what is alive',
  chapter: '03-attention',
  task: 'Given q, k and v ([N][d] each) and the lifetimes, return the output [N][d]: each query takes the mean of the values ' +
    'it sees, weighted by the softmax of its scores q.k / sqrt(d) over the keys it sees.',
  parameters: { q: 'number[][]', k: 'number[][]', v: 'number[][]', last: 'number[]' },
  returns: 'number[][]',
  hints: [
    'For each query: the scores of the keys it sees, their softmax, the sum of weight times value.',
    'Subtract the largest score before exp(), or large scores overflow. The largest of the keys that the query sees: one ' +
      'that is hidden may be far larger.',
    'The weights of the keys that a query sees sum to 1; the others are 0.',
  ],
  cases: () => forwardCases(),
  solve: (given) => attention(given),
  mistakes: [
    {
      what: 'scores without the factor 1 / sqrt(d)',
      think: 'Divide q.k by the square root of the head size.',
      compute: (given) => attend(given, (s, m) => softmax(s.map((x, j) => (m[j] ? x : -Infinity)))),
    },
    {
      what: 'dense attention, in which queries see every key before them',
      think: 'Use the lifetimes: key j is hidden from queries after last[j].',
      compute: (given) => attend(given, (s, m, d) =>
        softmax(s.map((x, j) => (j <= m.lastIndexOf(1) ? x / Math.sqrt(d) : -Infinity)))),
    },
    {
      what: 'a softmax over all keys, with the weights of hidden keys set to 0 afterwards, so that they do not sum to 1',
      think: 'Hidden keys must not be in the denominator either.',
      compute: (given) => attend(given, (s, m, d) => softmax(s.map((x) => x / Math.sqrt(d))).map((a, j) => a * m[j])),
    },
    {
      what: 'scores of hidden keys multiplied by 0, which still count as exp(0) = 1',
      think: 'Hidden keys need the weight 0, that is, a score of minus infinity.',
      compute: (given) => attend(given, (s, m, d) => softmax(s.map((x, j) => x * m[j] / Math.sqrt(d)))),
    },
    {
      what: 'a softmax that subtracts the largest score of all keys, hidden ones too, so that the visible ones become 0 / 0',
      think: 'Take the largest of the scores that the query sees.',
      compute: ({ q, k, v, last }) => {
        const M = mask(last);
        return q.map((qi, i) => {
          const s = k.map((kj) => dot(qi, kj) / Math.sqrt(qi.length));
          const most = Math.max(...s);
          const e = s.map((x, j) => M[i][j] * Math.exp(x - most));
          const Z = e.reduce((a, b) => a + b, 0);
          return v[0].map((_, c) => e.reduce((sum, x, j) => sum + x / Z * v[j][c], 0));
        });
      },
    },
    {
      what: 'the values summed with the exponentials of the scores, which were not divided by their sum',
      think: 'The weights of a query sum to 1: divide by Z.',
      compute: (given) => attend(given, (s, m, d) => s.map((x, j) => (m[j] ? Math.exp(x / Math.sqrt(d)) : 0))),
    },
    {
      what: 'a softmax over all keys up to the query, with the weights of hidden keys set to 0 afterwards, so that they do not sum to 1',
      think: 'Hidden keys must not be in the denominator either.',
      compute: ({ q, k, v, last }) => {
        const M = mask(last);
        return q.map((qi, i) => {
          const a = softmax(k.slice(0, i + 1).map((kj) => dot(qi, kj) / Math.sqrt(qi.length)));
          return v[0].map((_, c) => a.reduce((sum, x, j) => sum + x * M[i][j] * v[j][c], 0));
        });
      },
    },
    {
      what: 'exp() of scores as they are, which overflows where they are large',
      think: 'Subtract the largest score that the query sees before exp(): it cancels in the quotient.',
      compute: (given) => attend(given, (s, m, d) => {
        const e = s.map((x, j) => (m[j] ? Math.exp(x / Math.sqrt(d)) : 0));
        return e.map((x) => x / e.reduce((a, b) => a + b, 0));
      }),
    },
    {
      what: 'exp() of all scores as they are, which overflows where they are large, and infinity times 0 is NaN',
      think: 'Subtract the largest score that the query sees before exp(), and leave hidden keys out rather than multiply by 0.',
      compute: (given) => attend(given, (s, m, d) => {
        const e = s.map((x, j) => m[j] * Math.exp(x / Math.sqrt(d)));
        return e.map((x) => x / e.reduce((a, b) => a + b, 0));
      }),
    },
    {
      what: 'scores divided by d, not by its square root',
      think: 'The factor is 1 / sqrt(d).',
      compute: (given) => attend(given, (s, m, d) => softmax(s.map((x, j) => (m[j] ? x / d : -Infinity)))),
    },
    {
      what: 'attention in which queries see keys after them',
      think: 'A query sees key j if j <= i and i <= last[j]: both.',
      compute: ({ q, k, v, last }) => q.map((qi, i) => {
        const a = softmax(k.map((kj, j) => (i <= last[j] ? dot(qi, kj) / Math.sqrt(qi.length) : -Infinity)));
        return v[0].map((_, c) => a.reduce((sum, x, j) => sum + x * v[j][c], 0));
      }),
    },
  ],
});
