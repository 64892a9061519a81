/**
 * Checks of a config that may not come from parseConfig().
 * @module
 */
import {
  type Expected, finite, list, numberFrom, of, oneOf, optional, positive, record, wholeFrom,
} from '../../core/arguments.ts';
import { expectFields } from '../../core/known-options.ts';
import { ARCHITECTURES } from '../arch/index.ts';
import type { NatsConfig } from './config.ts';
import { MIN_ROPE_THETA } from './rope-config.ts';

/** More layers, or numbers in a row, than any model has. It keeps a wrong number from causing an endless wait. */
const [MAX_LAYERS, MAX_SIZE] = [10_000, 2 ** 31 - 1];

/**
 * Refuses anything but a ModelConfig, and other fields of its `nats`. Whether its numbers fit together is checked with
 * the weights.
 */
export const expectConfig: Expected = (name, config) => {
  const size = wholeFrom(1, MAX_SIZE);
  const token = wholeFrom(-1, MAX_SIZE);
  record({
    modelType: optional(oneOf(...Object.keys(ARCHITECTURES))), vocabSize: size, hiddenSize: size,
    intermediateSize: size, layers: wholeFrom(1, MAX_LAYERS), heads: size, kvHeads: size, headDim: size,
    maxPositions: size, rmsNormEpsilon: positive, ropeTheta: numberFrom(MIN_ROPE_THETA), slidingWindow: optional(size),
    ropeScaling: optional(record({ kind: optional(oneOf('linear', 'yarn')), factor: numberFrom(1) })), tieWordEmbeddings: of('boolean'), bosTokenId: token, eosTokenId: token,
    eosTokenIds: optional(list(token)),
    nats: expectNats,
  })(name, config);
};

/** Refuses anything but a NatsConfig, misspelt fields by their own names. */
const expectNats: Expected = (name, nats) => {
  const fields: Readonly<Record<keyof NatsConfig, Expected>> = {
    policy: of('string'), window: wholeFrom(0, MAX_SIZE), localWindow: optional(wholeFrom(0, MAX_SIZE)),
    chunk: wholeFrom(1, MAX_SIZE), pooling: oneOf('mean', 'max'), lambda: finite, temperature: positive,
    recency: optional(list(list(numberFrom(0)))),
  };
  expectFields(name, name, nats, fields, 'field');
};
