/**
 * A valid call of everything that `neural-attention-search/vectors` exports.
 * @module
 */
import { createEngine, StoppedError } from '../../src/index.ts';
import * as vectors from '../../src/vectors.ts';
import { type Call, unlessStopped } from './hostile.ts';

const engine = createEngine();
const oracle = await vectors.makeCase({
  name: 'mine', why: 'x', queryHeads: 2, kvHeads: 1, tokens: 3, headDim: 2, window: 1, types: { pattern: ['GLW'] },
});
const how = { suite: 'mine', seed: 0, fileFormat: 'safetensors', dtype: 'f64' } as const;
const { entry, bytes: packed } = await vectors.packCase(oracle, how);
const manifest = { format: 'natsearch-vectors', version: 1, ...how, complete: true, cases: [entry] } as const;
const manifestBytes = new TextEncoder().encode(vectors.formatManifest(manifest));
/** Opens a folder of vectors in memory. */
export const open = (): Promise<vectors.Vectors> =>
  vectors.openVectors((file) => Promise.resolve(file === entry.file ? packed : manifestBytes));
/** An engine on which nothing slow is computed, since its attention throws. */
const short = Object.defineProperty(createEngine(), 'attention', {
  value: () => {
    throw new StoppedError('that is enough');
  },
});

/** Valid calls by the names of exports, and of the methods of what openVectors() returns. */
export const VECTOR_CALLS: Readonly<Record<string, Call>> = {
  makeCase: {
    given: [{
      name: 'mine', why: 'x', batch: 1, queryHeads: 2, kvHeads: 1, tokens: 3, headDim: 2, window: 1, chunk: 1, scale: 1,
      rule: 'exact', temperature: 1, price: 0, logits: 'flat', poison: { with: 'nan', positions: [1] }, steps: [3],
      types: { pattern: ['GLW'] },
    }, { seed: 0, engine }],
    call: vectors.makeCase,
  },
  caseOf: {
    given: [{ name: 'mine', why: 'x', parameters: oracle.parameters, inputs: oracle.inputs }, { engine }],
    call: vectors.caseOf,
  },
  smallSuite: { given: [{ seed: 0, engine: short }], call: (o: never) => vectors.smallSuite(o).catch(unlessStopped) },
  verifyCase: {
    given: [oracle, oracle.expected, { dtype: 'f32', tensors: ['forward'] }], call: vectors.verifyCase,
  },
  packCase: { given: [oracle, { fileFormat: 'npz', dtype: 'bf16' }], call: vectors.packCase },
  formatManifest: { given: [manifest], call: vectors.formatManifest },
  readManifest: { given: [vectors.formatManifest(manifest), 'manifest.json'], call: vectors.readManifest },
  openVectors: {
    given: [(file: string) => Promise.resolve(file === entry.file ? packed : manifestBytes)], call: vectors.openVectors,
  },
  'Vectors.read': { given: [entry], call: async (which: never) => (await open()).read(which) },
  verdictsOf: { given: [[vectors.verifyCase(oracle, oracle.expected)]], call: vectors.verdictsOf as never },
};
