/**
 * What the operations of every engine expect of their arguments, in the order of the contract (engine.ts).
 * @module
 */
import {
  type Expected, finite, guard, list, numbers, of, optional, record, shape, tensor, wholeFrom,
} from './arguments.ts';

type Methods = Readonly<Record<string, Readonly<Record<string, Expected>>>>;

/** Of an engine. */
function operations(): Methods {
  const [float, integer] = [tensor('float'), tensor('integer')];
  const any: Expected = () => undefined;
  const size = wholeFrom(1, 2 ** 31 - 1);
  const lifetimes = { window: finite, chunk: finite, bound: optional(finite) };
  const attention = { q: float, k: float, v: float, last: integer, scale: finite };
  const chosen = { temperature: finite, forceGlobal: optional(integer) };
  return {
    tensor: { data: numbers(), shape },
    integers: { data: numbers(true), shape },
    zeros: { shape },
    read: { tensor: float },
    readIntegers: { tensor: integer },
    add: { a: float, b: float },
    accumulate: { sum: float, x: float },
    embedding: { weight: float, ids: integer },
    embeddingBackward: { dOut: float, ids: integer, vocabulary: size },
    pickRows: { x: float, rows: integer },
    linear: { x: float, weight: float },
    linearBackwardInput: { dOut: float, weight: float },
    linearBackwardWeight: { dOut: float, x: float },
    rmsNorm: { x: float, weight: float, epsilon: finite },
    rmsNormBackward: { dOut: float, x: float, weight: float, epsilon: finite },
    swiglu: { gate: float, up: float },
    swigluBackward: { dOut: float, gate: float, up: float },
    splitHeads: { x: float, heads: size },
    mergeHeads: { x: float },
    rope: { x: float, cos: float, sin: float, inverse: optional(of('boolean')) },
    crossEntropy: { logits: float, targets: integer },
    crossEntropyBackward: { logits: float, targets: integer, weight: finite },
    sumOfSquares: { tensors: list(float) },
    adamW: {
      parameter: float, gradient: float, m: float, v: float,
      options: record({
        learningRate: finite, beta1: finite, beta2: finite, epsilon: finite, weightDecay: finite,
        clip: optional(record({ squaredNorm: float, maxNorm: finite })),
      }),
    },
    poolChunks: { x: float, chunk: any, pooling: any },
    createChunkPool: { batch: size, width: size, chunk: any, pooling: any },
    tokenTypes: { scores: float, options: record({ ...chosen, noise: optional(float) }) },
    tokenTypesBackward: { dTypes: float, probabilities: float, options: record(chosen) },
    lifetime: { types: integer, length: any, options: record(lifetimes) },
    keptShare: { last: integer },
    addMemoryPrice: { dTypes: float, types: integer, length: any, options: record({ ...lifetimes, weight: finite }) },
    attention: { inputs: record(attention) },
    attentionBackward: {
      inputs: record({
        ...attention, out: float, lse: float, dOut: float, types: optional(record({ types: integer, ...lifetimes })),
      }),
    },
    createCache: { options: record(lifetimes) },
  };
}

const counts: Expected = (name, value) => optional(list(wholeFrom(0)))(name, value);

/** Of a cache. */
const cache = (): Methods => ({
  append: { k: tensor('float'), v: tensor('float'), types: tensor('integer'), counts },
  attend: { q: tensor('float'), scale: finite },
  positions: { b: wholeFrom(0), g: wholeFrom(0) },
  restore: { snapshot: record() },
});

/** Of a chunk pool. */
const pool = (): Methods => ({ push: { x: tensor('float'), counts }, restore: { snapshot: record() } });

/** Lets an engine, a cache or a pool check its arguments before anything else: to be called where it is made. */
export const guardEngine = (engine: object): void => guard(engine, operations(), ['read', 'readIntegers']);
export const guardCache = (made: object): void => guard(made, cache(), ['positions']);
export const guardPool = (made: object): void => guard(made, pool());
