import { attention, attentionBackward, dot, weights } from '../algorithm.ts';
import { attendedCases } from '../attended.ts';
import { type Step, step } from '../step.ts';

export const attentionBackwardStep: Step = step({
  name: 'attention-backward',
  title: 'Gradients of attention',
  chapter: '04-gradients',
  task: 'Given q, k, v, the lifetimes and dOut, the gradient of a loss with respect to the output ([N][d] each), return the ' +
    'gradients { dq, dk, dv }: one object with three fields.',
  parameters: { q: 'number[][]', k: 'number[][]', v: 'number[][]', last: 'number[]', dOut: 'number[][]' },
  returns: '{ dq: number[][]; dk: number[][]; dv: number[][] }',
  hints: [
    'dv is the easiest: out is linear in v, so dv[j] = sum over i of A[i][j] dOut[i].',
    'The gradient of a softmax: dS[i][j] = A[i][j] (dOut[i].v[j] - dOut[i].out[i]).',
    'S = q.k / sqrt(d), so dq[i] = sum over j of dS[i][j] k[j] / sqrt(d), and dk[j] = sum over i of dS[i][j] q[i] / sqrt(d).',
  ],
  cases: () => attendedCases().map(({ q, k, v, last, dOut }) => ({ q, k, v, last, dOut })),
  solve: (given) => attentionBackward(given),
  mistakes: [
    {
      what: 'dq and dk without the factor 1 / sqrt(d)',
      think: 'The scores have that factor, so their gradient reaches q and k with it.',
      compute: (given) => {
        const { dq, dk, dv } = attentionBackward(given);
        const root = Math.sqrt(given.q[0].length);
        const times = (x: number[][]) => x.map((row) => row.map((y) => root * y));
        return { dq: times(dq), dk: times(dk), dv };
      },
    },
    {
      what: 'dS without the term dOut.out, as if the weights did not sum to 1',
      think: 'A larger score takes weight away from all others: subtract dOut[i].out[i].',
      compute: (given) => {
        const { q, k, v, dOut } = given;
        const scale = 1 / Math.sqrt(q[0].length);
        const dS = weights(given).A.map((row, i) => row.map((a, j) => scale * a * dot(dOut[i], v[j])));
        return {
          dq: q.map((row, i) => row.map((_, c) => dS[i].reduce((sum, s, j) => sum + s * k[j][c], 0))),
          dk: k.map((row, j) => row.map((_, c) => dS.reduce((sum, s, i) => sum + s[j] * q[i][c], 0))),
          dv: attentionBackward(given).dv,
        };
      },
    },
    {
      what: 'dq and dk exchanged',
      think: 'dq sums over keys, dk over queries.',
      compute: (given) => {
        const { dq, dk, dv } = attentionBackward(given);
        return { dq: dk, dk: dq, dv };
      },
    },
    {
      what: 'the gradients of dense attention, in which queries see every key before them',
      think: 'What a query does not see has weight 0, and takes no part in any gradient.',
      compute: (given) => attentionBackward({ ...given, last: given.last.map(() => Infinity) }),
    },
    {
      what: 'dv by the weights that the query j gives, not by those that key j gets',
      think: 'dv[j] sums over the queries i: A[i][j] dOut[i].',
      compute: (given) => {
        const { A } = weights(given);
        const dv = A.map((row) =>
          given.dOut[0].map((_, c) => row.reduce((sum, a, i) => sum + a * given.dOut[i][c], 0)));
        return { ...attentionBackward(given), dv };
      },
    },
    {
      what: 'dS without the weights A',
      think: 'dS[i][j] = A[i][j] (dOut[i].v[j] - dOut[i].out[i]): a key with a small weight has a small gradient.',
      compute: (given) => {
        const { q, k, v, dOut } = given;
        const out = attention(given);
        const scale = 1 / Math.sqrt(q[0].length);
        const dS = weights(given).A.map((row, i) => row.map((a, j) =>
          (a === 0 ? 0 : scale * (dot(dOut[i], v[j]) - dot(dOut[i], out[i])))));
        return {
          dq: q.map((row, i) => row.map((_, c) => dS[i].reduce((sum, s, j) => sum + s * k[j][c], 0))),
          dk: k.map((row, j) => row.map((_, c) => dS.reduce((sum, s, i) => sum + s[j] * q[i][c], 0))),
          dv: attentionBackward(given).dv,
        };
      },
    },
    {
      what: 'dq without the factor 1 / sqrt(d)',
      think: 'The scores have that factor, so their gradient reaches q and k with it.',
      compute: (given) => {
        const all = attentionBackward(given);
        return { ...all, dq: all.dq.map((row) => row.map((y) => Math.sqrt(row.length) * y)) };
      },
    },
    {
      what: 'dk without the factor 1 / sqrt(d)',
      think: 'The scores have that factor, so their gradient reaches q and k with it.',
      compute: (given) => {
        const all = attentionBackward(given);
        return { ...all, dk: all.dk.map((row) => row.map((y) => Math.sqrt(row.length) * y)) };
      },
    },
  ],
});
