/**
 * A valid call of everything that the package exports, and of the methods of what its functions return.
 * @module
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as library from '../../src/index.ts';
import { encodeSafetensors } from '../../src/formats/safetensors.ts';
import { initialLowRank } from '../../src/model/low-rank.ts';
import { baseFields } from '../../src/model/folder/adapter.ts';
import { initialWeights } from '../../src/model/init.ts';
import { Model } from '../../src/model/model.ts';
import { createHfTokenizer } from '../../src/model/tokenizer/hf-tokenizer.ts';
import * as vectors from '../../src/vectors.ts';
import { type Call, methodsOf, NONE, onEach, unlessStopped } from './hostile.ts';
import { ATTENTION_CALLS } from './hostile-attention.ts';
import { TRACE_CALLS } from './hostile-trace.ts';
import { open, VECTOR_CALLS } from './hostile-vectors.ts';

const { createEngine, parseConfig } = library;
const readBytes = (path: string): Uint8Array => readFileSync(fileURLToPath(new URL(path, import.meta.url)));
const readText = (path: string): string => new TextDecoder().decode(readBytes(path));
const ADAPTER = '../../models/adapters/keep-0.1-w32';

const DENSE = {
  vocab_size: 258, hidden_size: 4, intermediate_size: 4, num_hidden_layers: 1, num_attention_heads: 2,
  max_position_embeddings: 16,
};
const CONFIG = { ...DENSE, nats: { policy: 'nats', window: 2, local_window: 3 } };
const [config, full] = [parseConfig(CONFIG), parseConfig(DENSE)];
const engine = createEngine();
const model = new Model(engine, config, initialWeights(config, 1));
const dense = new Model(engine, full, initialWeights(full, 1));
const tokens = library.tokenizeDocuments(model.tokenizer, ['to be or not to be']);
const training = { ...library.DEFAULT_TRAIN_OPTIONS, steps: 1, batch: 1, context: 4 };
const finetuning = { ...library.DEFAULT_FINETUNE_OPTIONS, steps: 1, batch: 1, context: 4 };
const trainer = () => new library.Trainer(engine, config, training, tokens);
const finetuner = () => new library.Finetuner(dense, { window: 2 }, finetuning, tokens);
const trained = await trainer().state();
const finetuned = await finetuner().state();
const session = model.session();
await session.step([256, 65]);
const snapshot = await session.snapshot();
const documents = [{ prompt: 'ab', answer: 'c', distance: 2 }];
const encoded = encodeSafetensors(
  [...initialWeights(full, 1)].map(([name, { data, shape }]) => [name, { data, shape, dtype: 'F32' }] as const),
);
const learned = {
  baseModel: 'x', base: baseFields(full), window: 2, localWindow: 3, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0, targetKeep: 0,
  kept: 1, keptByLayer: [1], context: 4, steps: 1, seed: 0, packageVersion: '0',
  weights: new Map([...finetuned.weights]),
};
const lowRank = { rank: 1, alpha: 2, weights: initialLowRank(full, 1, 0) };
const hf = await createHfTokenizer(
  JSON.parse(readText('../field/tokenizers/llama-2/tokenizer.json')), { ...full, vocabSize: 32000 },
  JSON.parse(readText('../field/tokenizers/llama-2/tokenizer_config.json')),
);
const store = await library.tokenizeStream(model.tokenizer, [['ab']]);

const construct = (of: unknown) => (...given: never[]) => void Reflect.construct(of as new () => object, given);
/** A signal that stops a call before anything slow is computed. */
const stopped = AbortSignal.abort(new Error('that is enough'));

/** Makes an engine of either kind. */
async function opened(options: never): Promise<void> {
  const made: unknown = await library.createEngine(options);
  (made as { dispose(): void }).dispose();
}

/** Valid calls by the names of exports, and of the methods of classes and of what functions return. */
export const CALLS: Readonly<Record<string, Call>> = {
  createEngine: {
    given: [{ precision: 'float64' }],
    call: opened,
  },
  'createEngine on gpu.js': {
    given: [{ gpu: 'cpu', dawn: [] }],
    call: opened,
  },
  loadModel: {
    given: [{
      config: DENSE, weights: encoded, tokenizer: undefined, tokenizerConfig: {}, generationConfig: {}, chatTemplate: 'x',
    }, {
      engine, bos: true, onProgress: () => undefined, onOtherBase: () => undefined, adapter: undefined,
      configOverrides: { rope_parameters: { rope_theta: 5000 } },
    }],
    call: library.loadModel,
  },
  'loadModel with an adapter': {
    given: [{ config: DENSE, weights: encoded }, { engine, adapter: learned }], call: library.loadModel,
  },
  'loadModel with changes of q and k': {
    given: [{ config: DENSE, weights: encoded }, { engine, adapter: { ...learned, lowRank } }], call: library.loadModel,
  },
  'loadModel of shards': { given: [{ config: DENSE, weights: [encoded] }], call: library.loadModel },
  ...ATTENTION_CALLS,

  formatPolicy: { given: [{ kind: 'streaming', sink: 1, window: 2 }], call: library.formatPolicy },
  parsePolicy: { given: ['window:5'], call: library.parsePolicy },
  parseAdapter: {
    given: [
      JSON.parse(readText(`${ADAPTER}/adapter_config.json`)), readBytes(`${ADAPTER}/adapter_model.safetensors`),
      { config: 'a.json', weights: 'a.safetensors' },
    ],
    call: library.parseAdapter,
  },
  parseConfig: { given: [CONFIG], call: library.parseConfig },
  planMemory: {
    given: [config, {
      policies: [{ kind: 'nats' }], contexts: [16], kept: [0.5], engine: 'gpu', batch: 1, prefillStep: 4, blockSize: 4,
      memory: 1e9, tensor: { bytes: 1e9, name: 'x' }, storedBytes: 2, stores: { weights: ['f32'], cache: ['f32'] },
      cache: 'f32',
    }],
    call: library.planMemory,
  },
  ByteTokenizer: { given: [{ bos: true }], call: construct(library.ByteTokenizer) },
  'ByteTokenizer.encode': {
    given: ['text', { maxTokens: 3, onProgress: () => undefined }], call: onEach(() => new library.ByteTokenizer(), 'encode'),
  },
  'ByteTokenizer.decode': { given: [[65, 66]], call: onEach(() => new library.ByteTokenizer(), 'decode') },
  'ByteTokenizer.byteLength': { given: [65], call: onEach(() => new library.ByteTokenizer(), 'byteLength') },
  'ByteTokenizer.encoder': NONE,
  'ByteTokenizer.decoder': { given: [{ specials: true }], call: onEach(() => new library.ByteTokenizer(), 'decoder') },
  'TextStream.push': { given: ['text'], call: onEach(() => new library.ByteTokenizer().encoder(), 'push') },
  'TextStream.end': NONE,
  'TextDecoder.push': { given: [65], call: onEach(() => new library.ByteTokenizer().decoder(), 'push') },
  'TextDecoder.end': NONE,
  'HfTokenizer.encode': { given: ['text', { maxTokens: 3, onProgress: () => undefined }], call: onEach(() => hf, 'encode') },
  'HfTokenizer.decode': { given: [[65, 66], { specials: true }], call: onEach(() => hf, 'decode') },
  'HfTokenizer.byteLength': { given: [65], call: onEach(() => hf, 'byteLength') },
  'HfTokenizer.encoder': NONE,
  'HfTokenizer.decoder': { given: [{ specials: true }], call: onEach(() => hf, 'decoder') },
  'HfTextStream.push': { given: ['text'], call: onEach(() => hf.encoder(), 'push') },
  'HfTextStream.end': NONE,
  'HfTextDecoder.push': { given: [65], call: onEach(() => hf.decoder(), 'push') },
  'HfTextDecoder.end': NONE,
  withStarts: { given: [{ starts: [256] }, [65]], call: library.withStarts },

  evaluate: {
    given: [model, Int32Array.of(65, 66), {
      policy: { kind: 'full' }, cache: 'f16', context: 4, step: 1, signal: undefined, onProgress: () => undefined, onTypes: () => undefined,
    }],
    call: library.evaluate,
  },
  matchedPolicies: {
    given: [{ lengths: [64], meanLiveShare: 0.5, endShare: 0.5 }, ['window']], call: library.matchedPolicies,
  },
  perplexityDifference: {
    given: [[{ loss: 1, scored: 2 }], [{ loss: 2, scored: 2 }]], call: library.perplexityDifference,
  },
  recallDifference: { given: [[true, false], [false, false]], call: library.recallDifference },
  measureRecall: {
    given: [model, documents, {
      policy: { kind: 'window', window: 3 }, cache: 'f16', step: 2, signal: undefined, onProgress: () => undefined,
    }],
    call: library.measureRecall,
  },
  recallDocuments: {
    given: [{ kind: 'pairs', documents: 1, length: 200, pairs: 2, seed: 0, filler: 'a b. '.repeat(99) }],
    call: library.recallDocuments,
  },
  recallText: { given: [documents], call: library.recallText },
  tokenizeDocuments: { given: [model.tokenizer, ['a', 'b']], call: library.tokenizeDocuments },
  tokenizeStream: {
    given: [model.tokenizer, [['a', 'b']], {
      maxTokens: 4, bare: true, signal: undefined, onRepeatedStarts: () => undefined, onProgress: () => undefined,
    }],
    call: library.tokenizeStream,
  },
  'TokenSource.slice': { given: [0, 2], call: (...given: never[]) => (store.slice as (...given: never[]) => unknown).apply(store, given) },

  Trainer: {
    given: [engine, config, training, tokens, { from: trained, source: undefined }], call: construct(library.Trainer),
  },
  'Trainer.run': { given: [{ onStep: () => undefined, signal: stopped }], call: (o: never) => trainer().run(o).catch(unlessStopped) },
  'Trainer.validate': { given: [tokens, 4], call: (...given: [never, never]) => trainer().validate(...given) },
  'Trainer.next': NONE, 'Trainer.state': NONE, 'Trainer.dispose': NONE,
  Finetuner: {
    given: [
      dense, { window: 2, localWindow: 3, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0 }, finetuning, tokens,
      { from: finetuned, source: undefined },
    ],
    call: construct(library.Finetuner),
  },
  'Finetuner with changes of q and k': {
    given: [dense, { window: 2 }, { ...finetuning, rank: 1, alpha: 2 }, tokens], call: construct(library.Finetuner),
  },
  'Finetuner.run': { given: [{ onStep: () => undefined, signal: stopped }], call: (o: never) => finetuner().run(o).catch(unlessStopped) },
  'Finetuner.validate': { given: [tokens, 4], call: (...given: [never, never]) => finetuner().validate(...given) },
  'Finetuner.next': NONE, 'Finetuner.state': NONE, 'Finetuner.dispose': NONE, 'Finetuner.keptByLayer': NONE,

  ndarray: { given: [new Float64Array(2), [1, 2]], call: library.ndarray },
  gumbelNoise: { given: [0, [1, 2], 3], call: library.gumbelNoise },
  isNamedError: { given: [new Error('a')], call: library.isNamedError },

  'Model.session': {
    given: [{ batch: 1, policy: { kind: 'window', window: 2 }, blockSize: 4, cache: 'f16' }],
    call: (options: never) => void model.session(options),
  },
  'Model.restore': { given: [snapshot], call: (bytes: never) => model.restore(bytes) },
  'Model.generate': {
    given: ['ab', {
      maxNewTokens: 2, temperature: 1, topK: 3, topP: 0.9, minP: 0.1, repetitionPenalty: 1.1, seed: 1, stop: ['q'],
      logprobs: 1, policy: { kind: 'full' }, prefillStep: 2, signal: undefined, onToken: () => undefined, onPrompt: () => undefined,
      onStep: () => undefined,
    }],
    call: (prompt: never, options: never) => model.generate(prompt, options),
  },
  'Model.generate in a session': {
    given: ['ab', { maxNewTokens: 1, session: model.session() }],
    call: (prompt: never, options: never) => model.generate(prompt, options),
  },
  'Model.generateBatch': {
    given: [['ab', 'c'], { maxNewTokens: 2, temperature: 0 }],
    call: (prompts: never, options: never) => model.generateBatch(prompts, options),
  },
  'Model.chat': {
    given: [[{ role: 'user', content: 'a' }], {
      template: '{% for m in messages %}{{ m.content }}{% endfor %}', variables: { x: 1 }, maxNewTokens: 2, temperature: 0,
    }],
    call: (messages: never, options: never) => model.chat(messages, options),
  },
  'Model.hash': NONE, 'Model.dispose': NONE,
  'Session.next': {
    given: [[256, 65], { counts: [2], onTypes: () => undefined }],
    call: (ids: never, options: never) => model.session().next(ids, options),
  },
  'Session.step': {
    given: [[256, 65], { counts: [2], logits: 'last', onTypes: () => undefined }],
    call: (ids: never, options: never) => model.session().step(ids, options),
  },
  'Session.greedy': {
    given: [[65], { steps: 2, ahead: 1 }],
    call: (ids: never, options: never) => model.session().greedy(ids, options),
  },
  'Session.isOf': { given: [model], call: (other: never) => session.isOf(other) },
  'Session.stats': NONE, 'Session.fork': NONE, 'Session.snapshot': NONE, 'Session.dispose': NONE,

  ...TRACE_CALLS(model),
  ...VECTOR_CALLS,
};

/** One object of each kind that has methods but whose class is not exported. */
const GIVEN: Readonly<Record<string, object>> = {
  Model: model, Session: session, TextStream: model.tokenizer.encoder(), TextDecoder: model.tokenizer.decoder(),
  Vectors: await open(), HfTokenizer: hf, HfTextStream: hf.encoder(), HfTextDecoder: hf.decoder(),
};

/** The names that CALLS must have: all exports that can be called, and all methods. */
export function namesOf(exported: Readonly<Record<string, unknown>> = { ...library, ...vectors }): string[] {
  const names: string[] = [];
  for (const [name, value] of Object.entries(exported)) {
    if (typeof value !== 'function' || value.prototype instanceof Error) continue;
    names.push(name);
    if (/^class /.test(Function.prototype.toString.call(value))) {
      names.push(...methodsOf(value.prototype as object).map((method) => `${name}.${method}`));
    }
  }
  for (const [name, value] of Object.entries(GIVEN)) names.push(...methodsOf(value).map((method) => `${name}.${method}`));
  return names;
}
