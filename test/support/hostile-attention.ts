/**
 * A valid call of every function that takes arrays, and of the methods of caches.
 * @module
 */
import * as library from '../../src/index.ts';
import { sizeOf } from '../../src/core/tensor.ts';
import { type Call, NONE, onEach } from './hostile.ts';

const { ndarray } = library;

const float = (shape: number[]) => ndarray(new Float64Array(sizeOf(shape)).fill(0.5), shape);
const whole = (shape: number[], fill = 0) => ndarray(new Int32Array(sizeOf(shape)).fill(fill), shape);

const q = float([1, 2, 2, 2]);
const k = float([1, 1, 2, 2]);
const types = whole([1, 1, 2]);
const last = whole([1, 1, 2], 1);
const { out, lse } = library.attention({ q, k, v: k, last });
const backward = {
  q, k, v: k, last, out, lse, dOut: q, types, window: 1, localWindow: 2, chunk: 1, reach: 5, rule: 'exact', scale: 0.5,
};
const scores = float([1, 1, 2, 3]);
const cache = () => new library.KVCache({ batch: 1, kvHeads: 1, headDim: 2, window: 1 });
const filled = () => {
  const made = cache();
  made.append({ k, v: k, types });
  return made;
};
const mass = {
  score: { by: 'attention', heads: 'group' }, budget: { base: 2, perToken: 0 }, recent: { share: 0.5 },
} as const;
const massCache = () => new library.MassCache({ batch: 1, kvHeads: 1, headDim: 2, blockSize: 4, mass });
const massFilled = () => {
  const made = massCache();
  made.append({ k, v: k });
  return made;
};

/** Valid calls by the names of exports, and of the methods of caches. */
export const ATTENTION_CALLS: Readonly<Record<string, Call>> = {
  addMemoryPrice: {
    given: [{ dTypes: scores, types, length: 2, window: 1, localWindow: 2, chunk: 1, reach: 4, weight: 1 }],
    call: library.addMemoryPrice,
  },
  attentionMask: { given: [last], call: library.attentionMask },
  keptShare: { given: [last], call: library.keptShare },
  lifetime: { given: [types, { window: 1, localWindow: 2, chunk: 1, reach: 3, length: 2 }], call: library.lifetime },
  relaxedMask: { given: [scores, { window: 1, localWindow: 2, chunk: 1, length: 2 }], call: library.relaxedMask },
  selectTokenTypes: {
    given: [{ scores, noise: scores, temperature: 1, forceGlobal: whole([1, 2]) }], call: library.selectTokenTypes,
  },
  tokenTypesBackward: {
    given: [{ dTypes: scores, probabilities: scores, temperature: 1, forceGlobal: whole([1, 2]) }],
    call: library.tokenTypesBackward,
  },
  attention: { given: [{ q, k, v: k, last, scale: 1 }], call: library.attention },
  attentionBackward: { given: [backward], call: library.attentionBackward },
  maskGradient: { given: [backward], call: library.maskGradient },

  KVCache: {
    given: [{ batch: 1, kvHeads: 1, headDim: 2, window: 1, localWindow: 2, chunk: 1, blockSize: 4, reach: 5 }],
    call: (options: never) => new library.KVCache(options).stats(),
  },
  'KVCache.step': { given: [{ q, k, v: k, types, counts: [2], scale: 1 }], call: onEach(cache, 'step') },
  'KVCache.append': { given: [{ k, v: k, types, counts: [2] }], call: onEach(cache, 'append') },
  'KVCache.attend': { given: [{ q, scale: 1 }], call: onEach(filled, 'attend') },
  'KVCache.positions': { given: [0, 0], call: onEach(filled, 'positions') },
  'KVCache.restore': { given: [filled().snapshot()], call: onEach(cache, 'restore') },
  'KVCache.evict': NONE, 'KVCache.clear': NONE, 'KVCache.fork': NONE, 'KVCache.snapshot': NONE, 'KVCache.lengths': NONE,
  'KVCache.stats': NONE,

  massAttention: { given: [{ q, k, v: k, mass, reach: 5, scale: 1 }], call: library.massAttention },
  MassCache: {
    given: [{ batch: 1, kvHeads: 1, headDim: 2, blockSize: 4, mass }],
    call: (options: never) => new library.MassCache(options).stats(),
  },
  'MassCache.step': { given: [{ q, k, v: k, counts: [2], scale: 1 }], call: onEach(massCache, 'step') },
  'MassCache.append': { given: [{ k, v: k, counts: [2], typeScores: undefined }], call: onEach(massCache, 'append') },
  'MassCache.attend': { given: [{ q, scale: 1 }], call: onEach(massFilled, 'attend') },
  'MassCache.positions': { given: [0, 0], call: onEach(massFilled, 'positions') },
  'MassCache.restore': { given: [massCache().snapshot()], call: onEach(massCache, 'restore') },
  'MassCache.evict': NONE, 'MassCache.clear': NONE, 'MassCache.fork': NONE, 'MassCache.snapshot': NONE,
  'MassCache.lengths': NONE, 'MassCache.stats': NONE,
};
