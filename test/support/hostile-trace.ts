/**
 * Valid calls of what records caches over time, and of the control of shuffled types.
 * @module
 */
import * as library from '../../src/index.ts';
import type { Call } from './hostile.ts';

const lifetimes = { policy: 'nats', lifetimes: { window: 2, localWindow: 3, chunk: 1 }, reach: 8 };
const head = {
  types: Uint8Array.of(0, 1), last: Int32Array.of(2147483647, 2147483647), scores: new Float32Array(6),
  received: new Float32Array(2), users: new Int32Array(6), userWeights: new Float32Array(6), used: new Int32Array(12),
  usedWeights: new Float32Array(12),
};
const traced = {
  ...lifetimes, budget: { by: 'h2o', base: 2, perToken: 0 }, entryBytes: 8, loss: new Float32Array(2),
  predicted: new Int32Array(2), heads: [[head]],
};
const trace = {
  model: 'm', engine: 'e', tokens: Int32Array.of(65, 66), pieces: ['A', 'B'], texts: { 65: 'A', 66: 'B' }, layers: [0],
  kvHeads: 1, policies: [traced], marks: [{ name: 'A', begin: 0, end: 1 }],
};

/** @param model One that learned types. */
export const TRACE_CALLS = (model: library.Model): Readonly<Record<string, Call>> => ({
  recordTrace: {
    given: [model, Int32Array.of(65, 66), {
      policies: [{ kind: 'full' }], layers: [0], marks: [{ name: 'a', begin: 0, end: 1 }], name: 'm', signal: undefined,
      onProgress: () => undefined,
    }],
    call: library.recordTrace,
  },
  encodeTrace: { given: [trace], call: library.encodeTrace },
  'encodeTrace of a policy': { given: [{ ...trace, policies: [{ ...traced, heads: [[{ ...head }]] }] }], call: library.encodeTrace },
  'encodeTrace of a head': {
    given: [head], call: (each: never) => library.encodeTrace({ ...trace, policies: [{ ...traced, heads: [[each]] }] }),
  },
  decodeTrace: { given: [new Uint8Array(3)], call: notATrace },
  endingOf: { given: [lifetimes, { types: head.types, last: head.last }, 1], call: library.endingOf },
  evaluateShuffled: {
    given: [model, Int32Array.of(65, 66), {
      cache: 'f16', context: 4, step: 1, signal: undefined, onProgress: () => undefined, seed: 0,
    }],
    call: library.evaluateShuffled,
  },
});

/** These bytes are no trace, and are refused as such. */
async function notATrace(bytes: never): Promise<void> {
  await library.decodeTrace(bytes).catch((error: unknown) => {
    if (!(error instanceof library.FileFormatError)) throw error;
  });
}
