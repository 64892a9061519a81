import { attention, dot, mask, maskGradient, weights } from '../algorithm.ts';
import { attendedCases } from '../attended.ts';
import { type Step, step } from '../step.ts';

export const maskGradientStep: Step = step({
  name: 'mask-gradient',
  title: 'What a hidden key would have been worth',
  chapter: '04-gradients',
  task: 'Read the mask as numbers that multiply exp(score). Given what attention-backward was given, return dM[i][j], the ' +
    'gradient of the loss with respect to M[i][j], for all j <= i, hidden keys too, by the rule `exact`; 0 for j > i.',
  parameters: { q: 'number[][]', k: 'number[][]', v: 'number[][]', last: 'number[]', dOut: 'number[][]' },
  returns: 'number[][]',
  hints: [
    'out[i] = sum M E v / sum M E. Differentiate that quotient by M[i][j].',
    'dM[i][j] = exp(S[i][j] - lse[i]) (dOut[i].v[j] - dOut[i].out[i]).',
    'lse[i] is over the keys that query i sees, so for hidden keys exp(S - lse) may be larger than 1.',
  ],
  cases: () => attendedCases().map(({ q, k, v, last, dOut }) => ({ q, k, v, last, dOut })),
  solve: (given) => maskGradient(given),
  mistakes: [
    {
      what: 'a gradient that is 0 at hidden keys',
      think: 'The gradient asks what would change if the key were seen a little: it is there where M is 0, too.',
      compute: (given) => maskGradient(given).map((row, i) => row.map((x, j) => x * mask(given.last)[i][j])),
    },
    {
      what: 'the rule `bounded`, whose log-sum-exp is over all keys before the query',
      think: 'That is a rule too, and the default for training. Here lse is over the keys that the query sees.',
      compute: (given) => {
        const seen = maskGradient(given);
        const scale = 1 / Math.sqrt(given.q[0].length);
        const M = mask(given.last);
        const e = given.q.map((q, i) => given.k.map((k, j) =>
          (j <= i ? Math.exp(scale * q.reduce((sum, x, c) => sum + x * k[c], 0)) : 0)));
        return seen.map((row, i) => {
          const part = e[i].reduce((sum, x, j) => sum + x * M[i][j], 0) / e[i].reduce((a, b) => a + b, 0);
          return row.map((x) => x * part);
        });
      },
    },
    {
      what: 'a gradient without the term dOut.out',
      think: 'M is in the denominator too: subtract dOut[i].out[i].',
      compute: (given) => {
        const { q, k, v, dOut, last } = given;
        const M = mask(last);
        return q.map((qi, i) => {
          const e = k.map((kj) => Math.exp(dot(qi, kj) / Math.sqrt(qi.length)));
          const total = dot(e, M[i]);
          return e.map((x, j) => (j <= i ? x / total * dot(dOut[i], v[j]) : 0));
        });
      },
    },
    {
      what: 'a gradient that is not 0 for keys after the query',
      think: 'A query never sees what comes after it, whatever the mask: 0 for j > i.',
      compute: (given) => {
        const { S, lse } = weights(given);
        const out = attention(given);
        return S.map((row, i) => row.map((s, j) =>
          Math.exp(s - lse[i]) * (dot(given.dOut[i], given.v[j]) - dot(given.dOut[i], out[i]))));
      },
    },
    {
      what: 'a gradient without the factor exp(S - lse)',
      think: 'A little more of M[i][j] adds that much of exp(score) to the sums: a key with a low score hardly counts.',
      compute: (given) => {
        const out = attention(given);
        return given.q.map((_, i) => given.k.map((__, j) =>
          (j <= i ? dot(given.dOut[i], given.v[j]) - dot(given.dOut[i], out[i]) : 0)));
      },
    },
  ],
});
