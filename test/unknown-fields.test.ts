/**
 * A misspelt field is refused. If it were ignored, its default would apply, and the result would be another one.
 * @module
 */
import { expect, it } from 'vitest';
import * as library from '../src/index.ts';
import { caseOf, makeCase, SUITES, verifyCase } from '../src/vectors.ts';

const { ndarray } = library;
const x = ndarray(new Float64Array(2), [1, 1, 1, 2]);
const one = ndarray(new Int32Array(1), [1, 1, 1]);
const scores = ndarray(new Float64Array(3), [1, 1, 1, 3]);
const layout = { batch: 1, kvHeads: 1, headDim: 2 };
const mass = { score: { by: 'age' }, budget: { base: 2, perToken: 0 }, recent: { share: 1 } };
const config = library.parseConfig({
  vocab_size: 258, hidden_size: 4, intermediate_size: 4, num_hidden_layers: 1, num_attention_heads: 2,
  max_position_embeddings: 16,
});
const engine = library.createEngine();
const tokens = library.tokenizeDocuments(new library.ByteTokenizer(), ['to be or not to be']);
const forward = { q: x, k: x, v: x, last: one };
const { out, lse } = library.attention(forward);
const backward = { ...forward, out, lse, dOut: x };
const [small] = SUITES.small;

/** Calls with `extra` among the fields, and the field that it was meant to be. */
const CALLS: readonly [string, string, (extra: object) => unknown][] = [
  ['attention()', 'scale', (extra) => library.attention({ ...forward, ...extra })],
  ['attentionBackward()', 'reach', (extra) => library.attentionBackward({ ...backward, ...extra })],
  ['attentionBackward()', 'localWindow', (extra) => library.attentionBackward({ ...backward, ...extra })],
  ['maskGradient()', 'rule', (extra) => library.maskGradient({ ...backward, ...extra })],
  ['lifetime()', 'reach', (extra) => library.lifetime(one, { window: 0, ...extra })],
  ['lifetime()', 'localWindow', (extra) => library.lifetime(one, { window: 0, ...extra })],
  ['relaxedMask()', 'localWindow', (extra) => library.relaxedMask(scores, { window: 0, length: 1, ...extra })],
  ['relaxedMask()', 'chunk', (extra) => library.relaxedMask(scores, { window: 0, length: 1, ...extra })],
  ['selectTokenTypes()', 'temperature', (extra) => library.selectTokenTypes({ scores, ...extra })],
  ['tokenTypesBackward()', 'forceGlobal',
    (extra) => library.tokenTypesBackward({ dTypes: scores, probabilities: scores, ...extra })],
  ['addMemoryPrice()', 'reach',
    (extra) => library.addMemoryPrice({ dTypes: scores, types: one, length: 1, window: 0, weight: 1, ...extra })],
  ['addMemoryPrice()', 'localWindow',
    (extra) => library.addMemoryPrice({ dTypes: scores, types: one, length: 1, window: 0, weight: 1, ...extra })],
  ['massAttention()', 'reach', (extra) => library.massAttention({ q: x, k: x, v: x, mass, ...extra } as never)],
  ['KVCache', 'storage', (extra) => new library.KVCache({ ...layout, window: 1, ...extra })],
  ['KVCache', 'localWindow', (extra) => new library.KVCache({ ...layout, window: 1, ...extra })],
  ['step()', 'counts',
    (extra) => new library.KVCache({ ...layout, window: 1 }).step({ q: x, k: x, v: x, types: one, ...extra })],
  ['MassCache', 'reach', (extra) => new library.MassCache({ ...layout, mass, ...extra } as never)],
  ['createCache()', 'reach', (extra) => engine.createCache({ ...layout, window: 1, chunk: 1, blockSize: 1, ...extra })],
  ['createCache()', 'localWindow',
    (extra) => engine.createCache({ ...layout, window: 1, chunk: 1, blockSize: 1, ...extra })],
  ['Trainer', 'clip',
    (extra) => new library.Trainer(engine, config, { ...library.DEFAULT_TRAIN_OPTIONS, context: 4, ...extra }, tokens)],
  ['nats', 'localWindow', (extra) => new library.Trainer(
    engine, { ...config, nats: { ...config.nats, ...extra } }, { ...library.DEFAULT_TRAIN_OPTIONS, context: 4 }, tokens,
  )],
  ['nats', 'window', (extra) => library.planMemory({ ...config, nats: { ...config.nats, ...extra } })],
  ['makeCase()', 'seed', (extra) => makeCase(small!, extra)],
  ['recipe', 'window', (extra) => makeCase({ ...small!, ...extra })],
  ['a case', 'chunk', async (extra) => {
    const given = await makeCase(small!);
    return caseOf({ ...given, parameters: { ...given.parameters, ...extra } });
  }],
  ['verifyCase()', 'tensors', async (extra) => verifyCase(await makeCase(small!), {}, extra)],
];

it.each(CALLS)('%s refuses a misspelt %s and says what was meant', async (name, field, call) => {
  const misspelt = `${field}e`;
  await expect((async () => call({ [misspelt]: 1 }))()).rejects.toMatchObject({
    name: 'ValueError', message: expect.stringContaining(`${name} has no `),
  });
  await expect((async () => call({ [misspelt]: 1 }))()).rejects.toThrow(`"${misspelt}": did you mean ${field}?`);
});

it('a case with a second window is refused: its truths would be those without one', async () => {
  await expect(makeCase({ ...small!, localWindow: 4 } as never)).rejects.toThrow('recipe has no option "localWindow"');
  const made = await makeCase(small!);
  const given = { ...made, parameters: { ...made.parameters, localWindow: 4 } };
  await expect(caseOf(given)).rejects.toThrow('a case has no parameter "localWindow"');
  expect(() => verifyCase(given, made.expected)).toThrow('a case has no parameter "localWindow"');
});
