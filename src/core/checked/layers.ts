/**
 * The form of all layers of a decoder, checked. What does not change from token to token is checked once.
 * @module
 */
import { finite, numbers } from '../arguments.ts';
import { expectElements, type Shaped, type Tensor } from '../tensor.ts';
import { checkIds } from '../checks.ts';
import { ShapeError, ValueError } from '../errors.ts';
import type { DecoderLayer, Forms, LayersInputs, Projection } from '../forms.ts';
import type { CacheKernels } from '../kernels.ts';
import { checkTypeValues, expectRank, expectShape } from '../shape.ts';
import { linearSizes, querySizes, sameSizes } from '../sizes.ts';
import { CheckedCache, noteTokens, rawOf } from './cache.ts';
import { formParts } from './form-parts.ts';
import type { Handles } from './handles.ts';

/** The layers of a call as arrays, with every tensor among them, and the array that it had. */
interface Known<A> {
  readonly layers: readonly DecoderLayer<A>[];
  readonly tensors: readonly Tensor[];
  readonly arrays: readonly A[];
  /** By the options of a cache, which were found to fit. */
  readonly fits: WeakSet<object>;
}

/** The form on tensors, made from the form on arrays. */
export function checkedLayers<A extends Shaped>(
  on: Handles<A>, raw: NonNullable<Forms<A, CacheKernels<A>>['layers']>,
): NonNullable<Forms['layers']> {
  const known = new WeakMap<readonly DecoderLayer[], Known<A>>();

  /** The arrays of layers whose inputs have D columns and rotate `half` pairs. */
  function looked(layers: readonly DecoderLayer[], D: number, half: number): Known<A> {
    const [tensors, arrays]: [Tensor[], A[]] = [[], []];
    const float = (name: string, x: Tensor): A => {
      const array = on.float(name, x);
      tensors.push(x);
      arrays.push(array);
      return array;
    };
    const [row, table] = [{ shape: [1, 1, D] }, { shape: [1, 1, half] }];
    const rotary = [table, table] as const;
    const { normed, projection, feedForward: fed } = formParts(float);
    const made = layers.map(({ attention, output, feedForward, scorer }): DecoderLayer<A> => {
      const { norm, q, k, v } = attention;
      const all = {
        norm: normed(norm, row), q: projection(q, row, rotary), k: projection(k, row, rotary), v: projection(v, row),
      };
      const out = float('weight', output);
      const { M } = linearSizes({ shape: [1, 1, all.q.weight.shape[0]] }, out);
      sameSizes('x', row, { shape: [1, 1, M] }, 'it is added to the projection of what was attended');
      const scores = scorer && float('scorer', scorer);
      if (scores) expectShape('scorer', scores, [3 * k.heads, D], 'it has a row for each type of each KV head');
      return { attention: all, output: out, feedForward: fed(feedForward, row), ...(scores && { scorer: scores }) };
    });
    return { layers: made, tensors, arrays, fits: new WeakSet() };
  }

  function lookUp(layers: readonly DecoderLayer[], D: number, half: number): Known<A> {
    const found = known.get(layers);
    // Each may have been disposed of meanwhile.
    if (found?.tensors.every((tensor, n) => on.float('weight', tensor) === found.arrays[n])) return found;
    const made = looked(layers, D, half);
    known.set(layers, made);
    return made;
  }

  return (inputs) => {
    const { cos, sin, types, scale } = inputs;
    const [ids, embedding] = [on.integer('ids', inputs.ids), on.float('embedding', inputs.embedding)];
    expectRank('embedding', embedding, 'V,D');
    const [B, D] = [ids.shape[0], embedding.shape[1]];
    expectShape('ids', ids, [B, 1], 'it holds one token of each sequence');
    on.values(ids, (values) => checkIds(values, embedding.shape[0]));
    finite('scale', scale);
    const half = cos.length / B;
    for (const [name, table] of [['cos', cos], ['sin', sin]] as const) {
      numbers()(name, table);
      expectElements(name, table, [B, half]);
    }
    const { layers, fits } = lookUp(inputs.layers, D, half);
    if (inputs.caches.length !== layers.length) throw new ShapeError(`${inputs.caches.length} caches for ${layers.length} layers: pass one for each`);
    const caches: CheckedCache<A>[] = [];
    for (const [n, cache] of inputs.caches.entries()) {
      if (!(cache instanceof CheckedCache)) throw new ShapeError(`cache ${n} is no cache of an engine: pass what createCache() returned`);
      const { options } = cache;
      // Caches under a budget take scores, and longer chunks wait for their last token.
      if ('mass' in options || options.chunk !== 1) return undefined;
      if (!fits.has(cache)) {
        const { q, k, v } = layers[n].attention;
        const shape = ({ heads, weight }: Projection<A>): Shaped => ({ shape: [B, heads, 1, weight.shape[0] / heads] });
        querySizes(shape(q), options);
        for (const each of [k, v]) expectShape('k', shape(each), [options.batch, options.kvHeads, 1, options.headDim], 'the cache was made with this batch, KV heads and head size');
        fits.add(cache);
      }
      caches.push(cache as CheckedCache<A>);
    }
    const { batch, kvHeads } = caches[0]?.options ?? { batch: B, kvHeads: 0 };
    if (types === undefined) {
      const without = layers.findIndex(({ scorer }) => !scorer);
      if (without >= 0) throw new ValueError(`layer ${without} has no scorer to choose types: pass types`);
    } else {
      expectElements('types', types, [batch, kvHeads]);
      checkTypeValues(types);
    }
    const given: LayersInputs<A, CacheKernels<A>> = {
      ids, embedding, layers, caches: caches.map((cache) => rawOf(cache, on)), cos, sin, types, scale,
    };
    const made = on.run('layers', () => raw(given));
    if (!made) return undefined;
    for (const cache of caches) noteTokens(cache);
    return {
      x: on.realOf(made.x),
      stages: () => made.stages().map(({ hidden, q, k, v, attended }) => ({
        hidden: on.realOf(hidden), q: on.realOf(q), k: on.realOf(k), v: on.realOf(v), attended: on.realOf(attended),
      })),
      ...(made.types && { types: () => made.types!().map((types) => on.wholeOf(types)) }),
    };
  };
}
