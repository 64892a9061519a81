/**
 * The control of learned types: the same types, at other places. What they keep is as much as before, but not what the
 * model chose.
 * @module
 */
import { expectInt32, of, optional, record } from '../core/arguments.ts';
import type { Engine } from '../core/engine.ts';
import { ValueError } from '../core/errors.ts';
import { expectKnown } from '../core/known-options.ts';
import { generator, Stream } from '../core/random.ts';
import { expectWhole } from '../core/shape.ts';
import { expectModel, Model } from '../model/model.ts';
import { evaluate, type EvaluateOptions, type Evaluation } from './evaluate.ts';
import { singleLayerForms } from './single-layers.ts';

/** What the control is called in tables. */
export const SHUFFLED = 'shuffled';

/**
 * Measures a text twice: with the model's learned types, and with these permuted over the positions of each context,
 * within each layer and KV head. The first token keeps its type, which is GLOBAL. If types are worth anything, the
 * second is worse.
 *
 * @param model A model with learned types of single tokens.
 * @param options.seed Chooses the permutations. Default: 0.
 * @returns Both evaluations. The policy of the second is called 'shuffled'.
 * @throws {ValueError} If the model has no learned types, or one for several tokens each.
 * @example
 * ```ts
 * import { evaluateShuffled, loadModel } from 'neural-attention-search';
 * const model = await loadModel('models/nats');
 * const tokens = model.tokenizer.encode('We the people of the United States');
 * const { learned, shuffled } = await evaluateShuffled(model, tokens);
 * console.log(learned.policy, shuffled.policy); // nats shuffled
 * model.dispose();
 * ```
 */
export async function evaluateShuffled(
  model: Model, text: Int32Array,
  options: Pick<EvaluateOptions, 'cache' | 'context' | 'step' | 'signal' | 'onProgress'> & { readonly seed?: number } = {},
): Promise<{ learned: Evaluation; shuffled: Evaluation }> {
  expectModel('model', model);
  expectInt32('text', text);
  expectKnown('evaluateShuffled()', options, ['cache', 'context', 'step', 'signal', 'onProgress', 'seed']);
  record({ onProgress: optional(of('function')) })('options', options);
  const { seed = 0, onProgress, ...how } = options;
  expectWhole('seed', seed, 0);
  const { layers, kvHeads: G, nats } = model.config;
  if (nats.policy !== 'nats') {
    throw new ValueError('the model has no learned types to shuffle: pass an adapter, or a model with types of its own');
  }
  if (nats.chunk !== 1) {
    throw new ValueError(`the model has one type for ${nats.chunk} tokens: shuffling is for types of single tokens`);
  }
  const policy = { kind: 'nats' } as const;
  const half = (from: number) => onProgress && {
    onProgress: (done: number, total: number) => onProgress(from * total + done, 2 * total),
  };
  // The types of each layer and head, context after context.
  const heads = Array.from({ length: layers * G }, (): number[][] => []);
  const learned = await evaluate(model, text, {
    ...how, policy, ...half(0),
    onTypes: (layer, _, types, at) => {
      const T = types.length / G;
      for (let g = 0; g < G; g++) {
        const contexts = heads[layer * G + g];
        if (at === 0) contexts.push([]);
        contexts.at(-1)!.push(...types.subarray(g * T, (g + 1) * T));
      }
    },
  });
  const permuted = heads.map((contexts, head) => contexts.flatMap((types, c) => shuffledTail(types, seed, head, c)));
  const other = new Model(giving(model.engine, permuted, layers, G), model.config, model.weights, model.tokenizer);
  // The other model only borrows the weights, so it is not disposed of.
  const shuffled = await evaluate(other, text, { ...how, policy, ...half(1) });
  return { learned, shuffled: { ...shuffled, policy: SHUFFLED } };
}

/** All but the first, in random order (Fisher and Yates). */
function shuffledTail(types: readonly number[], seed: number, head: number, context: number): number[] {
  const random = generator(seed, [Stream.BATCH, head, context]);
  const list = [...types];
  for (let n = list.length - 1; n > 1; n--) {
    const to = 1 + random.below(n);
    [list[n], list[to]] = [list[to], list[n]];
  }
  return list;
}

/** `engine`, which gives tokens these types [layers*G][...], whatever their scores are. */
function giving(engine: Engine, types: readonly (readonly number[])[], layers: number, G: number): Engine {
  const given = new Array<number>(layers).fill(0);
  let next = 0;
  const tokenTypes: Engine['tokenTypes'] = (scores, options) => {
    const chosen = engine.tokenTypes(scores, options);
    const layer = next++ % layers;
    const { shape } = chosen.types;
    const T = shape.at(-1)!;
    const from = given[layer];
    given[layer] += T;
    const list = Int32Array.from({ length: G * T }, (_, n) => types[layer * G + Math.floor(n / T)][from + (n % T)]);
    chosen.types.dispose();
    return { ...chosen, types: engine.integers(list, shape) };
  };
  const forms = singleLayerForms(engine);
  return new Proxy(engine, {
    get: (target, name) => {
      if (name === 'tokenTypes') return tokenTypes;
      if (name === 'forms') return forms;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) as unknown : value;
    },
  });
}
