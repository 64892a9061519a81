/**
 * Every public function refuses what it cannot use by a named error: one argument after the other of a call that works
 * is replaced by what does not belong there.
 */
import { describe, expect, it } from 'vitest';
import { isNamedError } from '../src/errors.ts';
import * as library from '../src/index.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model } from '../src/model/model.ts';
import { sizeOf } from '../src/tensor.ts';

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
const CONFIG = {
  vocab_size: 258, hidden_size: 4, intermediate_size: 4, num_hidden_layers: 1, num_attention_heads: 2,
  max_position_embeddings: 16, nats: { policy: 'nats', window: 2 },
};
const config = parseConfig(CONFIG);
const engine = createEngine();
const model = new Model(engine, config, initialWeights(config, 1));
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
];

describe('a public function refuses by a named error, or takes,', () => {
  it.each(CALLS.map((call) => [call.name, call] as const))('anything in any place of the arguments of %s', async (_, call) => {
    expect(await faultsOf(call)).toEqual([]);
  });
});
