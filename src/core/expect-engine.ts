/**
 * Distinguishes engines from objects that only look like one.
 * @module
 */
import { type Expected, expectObject } from './arguments.ts';
import type { Engine } from './engine.ts';
import { ValueError } from './errors.ts';

/** The operations of every engine. */
const INFERENCE = [
  'tensor', 'integers', 'zeros', 'read', 'readIntegers', 'dispose', 'add', 'embedding', 'pickRows', 'linear', 'rmsNorm',
  'swiglu', 'splitHeads', 'mergeHeads', 'rope', 'argmax', 'poolChunks', 'createChunkPool', 'tokenTypes', 'lifetime',
  'attention', 'createCache',
] as const satisfies readonly (keyof Engine)[];

/** Refuses anything but an engine. */
export const expectEngine: Expected = (name, value) => {
  expectObject(name, value);
  const missing = INFERENCE.find((method) => typeof (value as Partial<Engine>)[method] !== 'function');
  if (missing) throw new ValueError(`${name} has no ${missing}(): pass what createEngine() returned, awaited if that is a promise`);
};
