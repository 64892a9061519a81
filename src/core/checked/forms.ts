/**
 * The forms of an engine, checked like the operations for which they stand.
 * @module
 */
import { type Expected, finite, optional, wholeFrom } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import type { Forms, Norm } from '../forms.ts';
import { expectPositive, expectShape } from '../shape.ts';
import type { CacheKernels } from '../kernels.ts';
import { headSizes, linearSizes, sameSizes } from '../sizes.ts';
import type { Shaped, Tensor } from '../tensor.ts';
import { formParts } from './form-parts.ts';
import type { Handles } from './handles.ts';
import { checkedLayers } from './layers.ts';

const expectShare: Expected = (name, value) => {
  finite(name, value);
  if ((value as number) < 0 || (value as number) > 1) throw new ValueError(`${name} is ${value as number}: it must be from 0 to 1`);
};

/** Forms on tensors, made from forms on arrays. Those that the engine lacks stay absent. */
export function checkedForms<A extends Shaped>(
  on: Handles<A>, raw: Partial<Forms<A, CacheKernels<A>>>,
): Partial<Forms> {
  const { project, output, feedForward, layers, logits, nextToken, drawnToken } = raw;
  const float = (name: string, x: Tensor): A => on.float(name, x);
  const { normed, projection, feedForward: fed } = formParts(float);
  const headed = (x: Tensor, norm: Norm, head: Tensor): [x: A, norm: Norm<A>, head: A] => {
    const [a, w] = [float('x', x), float('head', head)];
    linearSizes(a, w);
    return [a, normed(norm, a), w];
  };
  return {
    ...(project && {
      project(inputs) {
        const [x, cos, sin] = [float('x', inputs.x), float('cos', inputs.cos), float('sin', inputs.sin)];
        const norm = normed(inputs.norm, x);
        const rotary = [cos, sin] as const;
        const [q, k, v] = [projection(inputs.q, x, rotary), projection(inputs.k, x, rotary), projection(inputs.v, x)];
        const made = on.run('project', () => project({ x, norm, q, k, v, cos, sin }));
        return { hidden: on.realOf(made.hidden), q: on.realOf(made.q), k: on.realOf(made.k), v: on.realOf(made.v) };
      },
    }),
    ...(output && {
      output(x, attended, weight) {
        const [a, y, w] = [float('x', x), float('attended', attended), float('weight', weight)];
        const { B, heads, N, d } = headSizes(y);
        const { M } = linearSizes({ shape: [B, N, heads * d] }, w);
        sameSizes('x', a, { shape: [B, N, M] }, 'it is added to the projection of what was attended');
        return on.real('output', () => output(a, y, w));
      },
    }),
    ...(feedForward && {
      feedForward(inputs) {
        const x = float('x', inputs.x);
        const parts = fed(inputs, x);
        return on.real('feedForward', () => feedForward({ x, ...parts }));
      },
    }),
    ...(layers && { layers: checkedLayers(on, layers) }),
    ...(logits && {
      logits(...inputs) {
        const checked = headed(...inputs);
        return on.real('logits', () => logits(...checked));
      },
    }),
    ...(nextToken && {
      nextToken(...inputs) {
        const checked = headed(...inputs);
        return on.wholeOf(on.run('nextToken', () => nextToken(...checked)));
      },
    }),
    ...(drawnToken && {
      drawnToken(x, norm, head, { noise, temperature, topK, topP, minP }) {
        const checked = headed(x, norm, head);
        const drawn = on.integer('noise', noise);
        expectShape('noise', drawn, x.shape.slice(0, -1), 'it must have a number for each row of logits');
        on.values(drawn, (values) => wholeFrom(0, 2 ** 31 - 1)('the least number of the noise', Math.min(0, ...values)));
        expectPositive('temperature', temperature);
        optional(wholeFrom(1))('topK', topK);
        optional(expectShare)('topP', topP);
        optional(expectShare)('minP', minP);
        const drawing = { noise: drawn, temperature, topK, topP, minP };
        return on.wholeOf(on.run('drawnToken', () => drawnToken(...checked, drawing)));
      },
    }),
  };
}
