/**
 * Every public function refuses what it cannot use by a named error: one argument after the other of a call that works
 * is replaced by what does not belong there.
 */
import { describe, expect, it } from 'vitest';
import { isNamedError } from '../src/core/errors.ts';
import * as library from '../src/index.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model } from '../src/model/model.ts';
import { sizeOf } from '../src/core/tensor.ts';
import * as vectors from '../src/vectors.ts';

const { createEngine, ndarray, parseConfig } = library;

/** What no function of this package takes everywhere. */
const HOSTILE: readonly unknown[] = [
  undefined, null, true, 'text', '', -1, 0.5, NaN, -Infinity, Infinity, 1e15, 1e300, 7n, Symbol('s'), [], [undefined],
  ['a'], {}, { data: 1, shape: 2 }, { data: null, shape: null }, { length: -1 }, new Map(), new Date(NaN), () => 1,
  new Float64Array(3), new Int32Array(3), new BigInt64Array(4), new DataView(new ArrayBuffer(8)), new ArrayBuffer(3),
  { data: new Int32Array(2), shape: [2] }, { data: new Float64Array(1), shape: [1, 1, 2, 2] },
  { data: new Float64Array(2), shape: [1, 1, -1, -2] }, { data: [1, 2, 3, 4], shape: [1, 1, 2, 2] },
  { shape: [1, 1, 2, 2], kind: 'float', dispose: () => undefined }, Promise.resolve(1),
];

type Path = readonly (string | number)[];

/** Places within arguments: each of them, and what their objects and arrays hold, two levels deep. */
function pathsOf(value: unknown, depth: number): Path[] {
  if (depth === 0 || typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return [[]];
  const plain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  if (!plain) return [[]];
  const inner = Object.entries(value).flatMap(([key, each]) => pathsOf(each, depth - 1).map((path) => [key, ...path]));
  return [[], ...inner];
}

/** A copy of `value` with `hostile` at `path`. */
function replaced(value: unknown, [key, ...rest]: Path, hostile: unknown): unknown {
  if (key === undefined) return hostile;
  const copy = (Array.isArray(value) ? [...value as unknown[]] : { ...value as object }) as Record<string, unknown>;
  copy[key] = replaced(copy[key], rest, hostile);
  return copy;
}

interface Call {
  readonly name: string;
  /** Arguments of a call that works. */
  readonly given: readonly unknown[];
  readonly call: (...given: never[]) => unknown;
}

const awaited = async (result: unknown): Promise<void> => {
  const settled: unknown = await result;
  if (typeof settled === 'object' && settled !== null && Symbol.asyncIterator in settled) {
    let n = 0;
    for await (const _ of settled as AsyncIterable<unknown>) if (++n > 2) break;
  }
};

/** What came out that is no named error. */
async function faultsOf({ name, given, call }: Call): Promise<string[]> {
  await awaited(call(...given as never[]));
  const faults: string[] = [];
  const places = pathsOf(given, 3).filter((path) => path.length > 0);
  for (const path of places) {
    for (const hostile of HOSTILE) {
      const args = replaced(given, path, hostile) as never[];
      try {
        await awaited(call(...args));
      } catch (error) {
        const { name: kind, message, stack } = error as Error;
        const at = stack?.split('\n').find((line) => /src\/|reference\/|gpu\//.test(line))?.trim() ?? '';
        const place = `${name}: ${path.join('.')} = ${describeValue(hostile)}`;
        if (!isNamedError(error)) faults.push(`${place}: ${kind}: ${message} ${at}`);
      }
    }
  }
  return faults;
}

function describeValue(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return `${Object.prototype.toString.call(value)} ${Object.keys(value).join()}`;
}

const float = (shape: number[]) => ndarray(new Float64Array(sizeOf(shape)).fill(0.5), shape);
const whole = (shape: number[], fill = 0) => ndarray(new Int32Array(sizeOf(shape)).fill(fill), shape);

const q = float([1, 2, 2, 2]);
const k = float([1, 1, 2, 2]);
const types = whole([1, 1, 2]);
const last = whole([1, 1, 2], 1);
const { out, lse } = library.attention({ q, k, v: k, last });
const backward = {
  q, k, v: k, last, out, lse, dOut: q, types, window: 1, chunk: 1, bound: 5, rule: 'exact', scale: 0.5,
};
const scores = float([1, 1, 2, 3]);
const DENSE = {
  vocab_size: 258, hidden_size: 4, intermediate_size: 4, num_hidden_layers: 1, num_attention_heads: 2,
  max_position_embeddings: 16,
};
const CONFIG = { ...DENSE, nats: { policy: 'nats', window: 2 } };
const [config, full] = [parseConfig(CONFIG), parseConfig(DENSE)];
const engine = createEngine();
const model = new Model(engine, config, initialWeights(config, 1));
const dense = new Model(engine, full, initialWeights(full, 1));
const tokens = library.tokenizeDocuments(model.tokenizer, ['to be or not to be']);
const training = { ...library.DEFAULT_TRAIN_OPTIONS, steps: 1, batch: 1, context: 4 };
const finetuning = { ...library.DEFAULT_FINETUNE_OPTIONS, steps: 1, batch: 1, context: 4 };
const oracle = await vectors.makeCase({
  name: 'mine', why: 'x', queryHeads: 2, kvHeads: 1, tokens: 3, headDim: 2, window: 1, types: { pattern: ['GLW'] },
});
const how = { suite: 'mine', seed: 0, fileFormat: 'safetensors', dtype: 'f64' } as const;
const { entry, bytes: packed } = await vectors.packCase(oracle, how);
const manifest = { format: 'natsearch-vectors', version: 1, ...how, complete: true, cases: [entry] } as const;
const manifestBytes = new TextEncoder().encode(vectors.formatManifest(manifest));
const documents = [{ prompt: 'ab', answer: 'c', distance: 2 }];

/** Calls that work, by the names of the exports. */
const CALLS: readonly Call[] = [
  { name: 'attention', given: [{ q, k, v: k, last, scale: 1 }], call: library.attention },
  { name: 'attentionBackward', given: [backward], call: library.attentionBackward },
  { name: 'maskGradient', given: [backward], call: library.maskGradient },
  { name: 'lifetime', given: [types, { window: 1, chunk: 1, bound: 3, length: 2 }], call: library.lifetime },
  { name: 'attentionMask', given: [last], call: library.attentionMask },
  { name: 'relaxedMask', given: [scores, { window: 1, chunk: 1, length: 2 }], call: library.relaxedMask },
  { name: 'keptShare', given: [last], call: library.keptShare },
  {
    name: 'addMemoryPrice', call: library.addMemoryPrice,
    given: [{ dTypes: scores, types, length: 2, window: 1, chunk: 1, bound: 4, weight: 1 }],
  },
  {
    name: 'selectTokenTypes', call: library.selectTokenTypes,
    given: [{ scores, noise: scores, temperature: 1, forceGlobal: whole([1, 2]) }],
  },
  {
    name: 'tokenTypesBackward', call: library.tokenTypesBackward,
    given: [{ dTypes: scores, probabilities: scores, temperature: 1, forceGlobal: whole([1, 2]) }],
  },
  {
    name: 'KVCache', given: [{ batch: 1, kvHeads: 1, headDim: 2, window: 1, chunk: 1, blockSize: 4, bound: 5 }],
    call: (options: never) => new library.KVCache(options).stats(),
  },
  {
    name: 'KVCache.step', given: [{ q, k, v: k, types, counts: [2], scale: 1 }],
    call: (inputs: never) => new library.KVCache({ batch: 1, kvHeads: 1, headDim: 2, window: 1 }).step(inputs),
  },
  {
    name: 'KVCache.append', given: [{ k, v: k, types, counts: [2] }],
    call: (inputs: never) => new library.KVCache({ batch: 1, kvHeads: 1, headDim: 2, window: 1 }).append(inputs),
  },
  {
    name: 'KVCache.attend', given: [{ q, scale: 1 }],
    call: (inputs: never) => {
      const cache = new library.KVCache({ batch: 1, kvHeads: 1, headDim: 2, window: 1 });
      cache.append({ k, v: k, types });
      return cache.attend(inputs);
    },
  },
  {
    name: 'KVCache.positions', given: [0, 0],
    call: (b: never, g: never) => new library.KVCache({ batch: 1, kvHeads: 1, headDim: 2, window: 1 }).positions(b, g),
  },
  { name: 'ndarray', given: [new Float64Array(2), [1, 2]], call: library.ndarray },
  { name: 'gumbelNoise', given: [0, [1, 2], 3], call: library.gumbelNoise },
  { name: 'parsePolicy', given: ['window:5'], call: library.parsePolicy },
  { name: 'formatPolicy', given: [{ kind: 'streaming', sink: 1, window: 2 }], call: library.formatPolicy },
  { name: 'parseConfig', given: [CONFIG], call: library.parseConfig },
  { name: 'matchedPolicies', given: [{ length: 64, meanLiveShare: 0.5, endShare: 0.5 }, 2], call: library.matchedPolicies },
  {
    name: 'recallDocuments', call: library.recallDocuments,
    given: [{ kind: 'pairs', documents: 1, length: 200, pairs: 2, seed: 0, filler: 'a b. '.repeat(99) }],
  },
  { name: 'recallText', given: [documents], call: library.recallText },
  { name: 'tokenizeDocuments', given: [model.tokenizer, ['a', 'b']], call: library.tokenizeDocuments },
  {
    name: 'evaluate', given: [model, Int32Array.of(65, 66), { policy: { kind: 'full' }, context: 4, step: 1 }],
    call: library.evaluate,
  },
  {
    name: 'measureRecall', given: [model, documents, { policy: { kind: 'window', window: 3 }, step: 2 }],
    call: library.measureRecall,
  },
  { name: 'createEngine', given: [{ precision: 'float64' }], call: (o: never) => void library.createEngine(o) },
  { name: 'isNamedError', given: [new Error('a')], call: library.isNamedError },
  {
    name: 'Trainer', given: [engine, config, training, tokens, {}],
    call: (...given: never[]) => void Reflect.construct(library.Trainer, given),
  },
  {
    name: 'Finetuner',
    given: [dense, { window: 2, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0 }, finetuning, tokens, {}],
    call: (...given: never[]) => void Reflect.construct(library.Finetuner, given),
  },
  { name: 'ByteTokenizer.encode', given: ['text'], call: (text: never) => new library.ByteTokenizer().encode(text) },
  { name: 'ByteTokenizer.decode', given: [[65, 66]], call: (ids: never) => new library.ByteTokenizer().decode(ids) },
  {
    name: 'Model.session', given: [{ batch: 1, policy: { kind: 'window', window: 2 }, blockSize: 4 }],
    call: (options: never) => void model.session(options),
  },
  {
    name: 'Session.step', given: [[256, 65], { counts: [2], logits: 'last' }],
    call: (ids: never, options: never) => model.session().step(ids, options),
  },
  {
    name: 'Model.generate', given: ['ab', { maxNewTokens: 2, temperature: 0, seed: 1 }],
    call: (prompt: never, options: never) => model.generate(prompt, options),
  },
  {
    name: 'Model.generateBatch', given: [['ab', 'c'], { maxNewTokens: 2, temperature: 0 }],
    call: (prompts: never, options: never) => model.generateBatch(prompts, options),
  },
  {
    name: 'makeCase', call: vectors.makeCase,
    given: [{
      name: 'mine', why: 'x', batch: 1, queryHeads: 2, kvHeads: 1, tokens: 3, headDim: 2, window: 1, chunk: 1, scale: 1,
      rule: 'exact', temperature: 1, price: 0, logits: 'flat', poison: { with: 'nan', positions: [1] }, steps: [3],
      types: { pattern: ['GLW'] },
    }, { seed: 0 }],
  },
  {
    name: 'caseOf', call: vectors.caseOf,
    given: [{ name: 'mine', why: 'x', parameters: oracle.parameters, inputs: oracle.inputs }, {}],
  },
  {
    name: 'verifyCase', given: [oracle, oracle.expected, { dtype: 'f32', tensors: ['forward'] }],
    call: vectors.verifyCase,
  },
  { name: 'packCase', given: [oracle, { fileFormat: 'npz', dtype: 'bf16' }], call: vectors.packCase },
  { name: 'formatManifest', given: [manifest], call: vectors.formatManifest },
  { name: 'readManifest', given: [vectors.formatManifest(manifest), 'manifest.json'], call: vectors.readManifest },
  {
    name: 'openVectors', call: vectors.openVectors,
    given: [(file: string) => Promise.resolve(file === entry.file ? packed : manifestBytes)],
  },
  { name: 'verdictsOf', given: [[vectors.verifyCase(oracle, oracle.expected)]], call: vectors.verdictsOf as never },
];

describe('a public function refuses by a named error, or takes,', () => {
  it.each(CALLS.map((call) => [call.name, call] as const))('anything in any place of the arguments of %s', async (_, call) => {
    expect(await faultsOf(call)).toEqual([]);
  });

  it('anything for any argument, whatever is exported', async () => {
    const exported = Object.entries({ ...library, ...vectors }).filter(([name]) => name !== 'smallSuite');
    const faults: string[] = [];
    for (const [name, value] of exported) {
      if (typeof value !== 'function' || /Error$/.test(name)) continue;
      const isClass = /^class /.test(Function.prototype.toString.call(value));
      for (const hostile of HOSTILE) {
        for (const given of [[hostile], [hostile, hostile], [model, hostile], new Array<unknown>(5).fill(hostile)]) {
          try {
            const made: unknown = isClass ? Reflect.construct(value, given) : Reflect.apply(value, undefined, given);
            await awaited(made);
          } catch (error) {
            if (!isNamedError(error)) faults.push(`${name}(${given.map(describeValue).join(', ')}): ${String(error)}`);
          }
        }
      }
    }
    expect(faults).toEqual([]);
  });
});

describe('an operation of an engine refuses by a named error, or takes,', () => {
  const four = (...shape: number[]) => engine.tensor([1, 2, 3, 4], shape);
  const [x, w, heads] = [four(1, 2, 2), four(2, 2), four(1, 1, 2, 2)];
  const [ids, ends] = [engine.integers([0, 1], [1, 2]), engine.integers([1, 1], [1, 1, 2])];
  const kinds = engine.integers([0, 0], [1, 1, 2]);
  const [triples, one] = [engine.tensor(new Float64Array(6), [1, 1, 2, 3]), engine.tensor([1, 2], [2])];
  const forward = engine.attention({ q: heads, k: heads, v: heads, last: ends, scale: 1 });
  const half = engine.tensor([1, 1], [1, 2, 1]);
  const lifetimes = { window: 1, chunk: 1, bound: 3 };
  const clip = { squaredNorm: engine.tensor([1], [1]), maxNorm: 1 };
  const adam = { learningRate: 1, beta1: 0, beta2: 0, epsilon: 1, weightDecay: 0, step: 1, clip };
  const operations: Record<string, readonly unknown[]> = {
    tensor: [[1, 2], [2]], integers: [[1, 2], [2]], zeros: [[2]], read: [x], readIntegers: [ids],
    add: [x, x], accumulate: [engine.tensor([1, 2], [2]), one], embedding: [w, ids], embeddingBackward: [x, ids, 2],
    pickRows: [x, ids], linear: [x, w], linearBackwardInput: [x, w], linearBackwardWeight: [x, x],
    rmsNorm: [x, one, 1e-5], rmsNormBackward: [x, x, one, 1e-5], swiglu: [x, x], swigluBackward: [x, x, x],
    splitHeads: [x, 2], mergeHeads: [heads],
    rope: [heads, half, half, true], crossEntropy: [x, ids], crossEntropyBackward: [x, ids, 1], sumOfSquares: [[x, w]],
    adamW: [one, one, one, one, adam], poolChunks: [x, 2, 'mean'], createChunkPool: [1, 2, 2, 'max'],
    tokenTypes: [triples, { noise: triples, temperature: 1, forceGlobal: ids }],
    tokenTypesBackward: [triples, triples, { temperature: 1, forceGlobal: ids }],
    lifetime: [kinds, 2, lifetimes], keptShare: [ends],
    addMemoryPrice: [triples, kinds, 2, { ...lifetimes, weight: 1 }],
    attention: [{ q: heads, k: heads, v: heads, last: ends, scale: 1 }],
    attentionBackward: [{
      q: heads, k: heads, v: heads, last: ends, scale: 1, ...forward, dOut: heads,
      types: { types: kinds, rule: 'exact', ...lifetimes },
    }],
    createCache: [{ batch: 1, kvHeads: 1, headDim: 2, blockSize: 2, ...lifetimes }],
  };

  it.each(Object.keys(operations))('anything in any place of the arguments of %s', async (name) => {
    const methods = engine as unknown as Record<string, (...given: unknown[]) => unknown>;
    const call = (...given: unknown[]): unknown => methods[name](...given);
    expect(await faultsOf({ name, given: operations[name], call: call as never })).toEqual([]);
  });
});
