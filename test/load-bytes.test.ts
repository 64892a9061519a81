/** Models and adapters from memory, in every form that bytes and JSON may have; and bases with other weights. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, DeviceError, isNamedError, ValueError } from '../src/core/errors.ts';
import { type Adapter, baseFields, parseAdapter, readAdapter, writeAdapter } from '../src/model/folder/adapter.ts';
import { readModelFolder, writeModelFolder } from '../src/model/folder/model-folder.ts';
import { encodeSafetensors, writeSafetensors } from '../src/formats/safetensors.ts';
import { BLOCK, tensorDigest, weightsHash } from '../src/formats/weights-hash.ts';
import type { Engine } from '../src/core/engine.ts';
import type { WeightDtype } from '../src/core/tensor.ts';
import { createEngine } from '../src/engines.ts';
import { loadModel, type ModelBytes } from '../src/load.ts';
import { parseConfig, serializeConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { scorerNames } from '../src/model/config/names.ts';

const config = parseConfig({
  vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 2, num_attention_heads: 2,
  max_position_embeddings: 16, tie_word_embeddings: false,
});
const json: unknown = JSON.parse(serializeConfig(config));
const weights = initialWeights(config, 1);
const file = (tensors: [string, { data: Float64Array | Float32Array; shape: readonly number[] }][]): Uint8Array =>
  encodeSafetensors(tensors.map(([name, each]) => [name, { ...each, dtype: 'F32' }] as const));
const bytes = file([...weights]);

/** The bytes in a buffer of their own. */
const buffer = (of: Uint8Array): ArrayBuffer => of.slice().buffer as ArrayBuffer;

function shared(of: Uint8Array): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(of.length);
  new Uint8Array(memory).set(of);
  return memory;
}

/** A view that is in the middle of its buffer. */
function within(of: Uint8Array): Uint8Array {
  const memory = new Uint8Array(of.length + 11);
  memory.set(of, 5);
  return memory.subarray(5, 5 + of.length);
}

const FORMS: readonly (readonly [string, (of: Uint8Array) => ModelBytes['weights']])[] = [
  ['a Uint8Array', (of) => of],
  ['an ArrayBuffer, as fetch() gives', buffer],
  ['a SharedArrayBuffer', shared],
  ['a Buffer of Node', (of) => Buffer.from(of)],
  ['a view amid a buffer', within],
  ['a view on shared memory', (of) => new Uint8Array(shared(of))],
  ['a DataView', (of) => new DataView(buffer(of))],
  ['a Uint8ClampedArray', (of) => new Uint8ClampedArray(buffer(of))],
  ['an ArrayBuffer of another realm', (of) => {
    const memory = runInNewContext('new ArrayBuffer(n)', { n: of.length }) as ArrayBuffer;
    new Uint8Array(memory).set(of);
    return memory;
  }],
  ['a list of one ArrayBuffer', (of) => [buffer(of)]],
];

const firstLogits = async (source: ModelBytes): Promise<number[]> => {
  const model = await loadModel(source);
  return [...await model.session().step([256, 65], { logits: 'last' })].slice(0, 8);
};

describe('loadModel()', () => {
  it.each(FORMS)('takes weights as %s', async (_, form) => {
    const expected = await firstLogits({ config: json, weights: bytes });
    expect(await firstLogits({ config: json, weights: form(bytes) })).toEqual(expected);
  });

  it.each(['F32', 'F16', 'BF16'] as const)('passes %s to the engine as the file stores it, and frees all if it fails', async (dtype) => {
    const stored = writeSafetensors([...weights].map(([name, { data, shape }]) => {
      return [name, { data: Float64Array.from(data), shape, dtype }] as const;
    }));
    const engine = createEngine();
    const seen: string[] = [];
    let failing = false;
    let alive = 0;
    const watching = new Proxy(engine, {
      get(target, key): unknown {
        if (key === 'tensor') return () => expect.unreachable('a weight was widened');
        if (key !== 'weight') return Reflect.get(target, key, target) as unknown;
        return (bytes: Uint8Array, as: WeightDtype, shape: readonly number[]) => {
          seen.push(as);
          if (failing && seen.length === 5) throw new DeviceError('the memory is full');
          const tensor = target.weight(bytes, as, shape);
          alive++;
          return Object.assign(tensor, { dispose: () => alive-- });
        };
      },
    });
    const model = await loadModel({ config: json, weights: stored }, { engine: watching });
    expect(seen).toEqual(new Array(weights.size).fill(dtype.toLowerCase()));
    expect(alive).toBe(weights.size);
    model.dispose();
    seen.length = 0;
    failing = true;
    await expect(loadModel({ config: json, weights: stored }, { engine: watching })).rejects.toThrow(DeviceError);
    expect(alive).toBe(0);
  });

  it('takes shards as ArrayBuffers', async () => {
    const [first, second] = [[...weights].slice(0, 5), [...weights].slice(5)];
    const shards = [buffer(file(first)), buffer(file(second))];
    const expected = await firstLogits({ config: json, weights: bytes });
    expect(await firstLogits({ config: json, weights: shards })).toEqual(expected);
  });

  it('says that a buffer was transferred, that something is not an engine, and which field was meant', async () => {
    const [sent, view] = [buffer(bytes), bytes.slice()];
    structuredClone([sent, view.buffer], { transfer: [sent, view.buffer] });
    for (const gone of [sent, view]) {
      const words = /^weights is an (ArrayBuffer|Uint8Array) whose bytes were transferred elsewhere: pass a copy/;
      await expect(loadModel({ config: json, weights: gone })).rejects.toThrow(words);
    }
    for (const engine of [{}, Promise.resolve(createEngine())]) {
      const loading = loadModel({ config: json, weights: bytes }, { engine: engine as unknown as Engine });
      const words = /^engine has no tensor\(\): pass what createEngine\(\) returned, awaited if that is a promise$/;
      await expect(loading).rejects.toThrow(words);
    }
    const misspelt = { config: json, wieghts: bytes } as unknown as ModelBytes;
    const words = /^the source of a model has no field "wieghts": did you mean weights\? its fields are chatTemplate, /;
    await expect(loadModel(misspelt)).rejects.toThrow(words);
    await expect(loadModel('no-such-folder')).rejects.toThrow(/^there is no model folder no-such-folder: check the path$/);
  });

  it('takes the config parsed, as text, and as bytes in any form', async () => {
    const text = JSON.stringify(json);
    const encoded = new TextEncoder().encode(text);
    for (const given of [text, encoded, buffer(encoded), shared(encoded), Buffer.from(encoded)]) {
      expect((await loadModel({ config: given, weights: bytes })).config).toEqual(config);
    }
  });

  it.each([
    ['nothing', undefined, /source is undefined/], ['null', null, /source is null/], ['a number', 7, /source is 7/],
    ['a list', [], /source is an Array/], ['no weights', { config: json }, /weights is undefined: pass the file's bytes/],
    ['null for weights', { config: json, weights: null }, /weights is null/],
    ['text for weights', { config: json, weights: 'model.safetensors' }, /weights is a string/],
    ['a promise of weights', { config: json, weights: Promise.resolve(bytes) }, /weights is a Promise, await it first/],
    ['a Response', { config: json, weights: new Response('') }, /weights is a Response: pass the file's bytes/],
    ['plain numbers', { config: json, weights: [...bytes.subarray(0, 9)] }, /weights\[0\] is \d+/],
    ['a shard that is missing', { config: json, weights: [bytes, undefined] }, /weights\[1\] is undefined/],
    ['no shards', { config: json, weights: [] }, /weights are missing/],
    ['a config that is no JSON', { config: '{"vocab', weights: bytes }, /config\.json is not valid JSON/],
    ['a config that is no text', { config: Uint8Array.of(255, 254), weights: bytes }, /config\.json is not valid UTF-8/],
    ['no config', { weights: bytes }, /config\.json is missing: it must be a JSON object/],
    ['a tokenizer that is no JSON', { config: json, weights: bytes, tokenizer: '{' }, /tokenizer\.json is not valid JSON/],
    ['a number for a tokenizer', { config: json, weights: bytes, tokenizer: 5 }, /tokenizer\.json/],
    ['an address on the web', new URL('https://example.org/model'), /cannot read https:/],
  ])('refuses %s by a named error', async (_, source, message) => {
    const error: unknown = await loadModel(source as unknown as ModelBytes).catch((each: unknown) => each);
    expect(isNamedError(error), String(error)).toBe(true);
    expect((error as Error).message).toMatch(message);
  });

  it.each([null, 5, 'fast'])('refuses %j for options', async (options) => {
    await expect(loadModel({ config: json, weights: bytes }, options as unknown as object)).rejects.toThrow(ValueError);
  });
});

describe('an adapter', () => {
  let root: string;
  beforeAll(() => void (root = mkdtempSync(join(tmpdir(), 'natsearch-base-'))));
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  const other = initialWeights(config, 2);
  async function adapterFor(base: typeof weights): Promise<Adapter> {
    const digests = new Map<string, string>();
    for (const [name, { data }] of base) digests.set(name, await tensorDigest(data));
    const scorer = { data: new Float64Array(48).fill(0.5), shape: [6, 8] };
    const scorers = scorerNames(config).map((name) => [name, scorer] as const);
    return {
      baseModel: 'base', base: baseFields(config), baseWeights: await weightsHash(digests), weights: new Map(scorers),
      window: 2, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0, targetKeep: 0, kept: 0.5, keptByLayer: [0.5, 0.5],
      context: 16, steps: 1, seed: 0, packageVersion: '0',
    };
  }

  it('is refused, or causes a warning, on another base of the same shape, from a folder or from memory', async () => {
    const [own, another] = [join(root, 'own'), join(root, 'other')];
    await writeModelFolder(own, config, weights);
    await writeModelFolder(another, config, other);
    const adapter = await adapterFor(weights);
    await writeAdapter(join(root, 'adapter'), adapter);
    const read = await readAdapter(join(root, 'adapter'));
    expect(read.baseWeights).toBe(adapter.baseWeights);
    const inMemory = [{ config: json, weights: bytes }, { config: json, weights: file([...other]) }] as const;
    for (const [right, wrong] of [[own, another], inMemory] as const) {
      expect((await loadModel(right, { adapter: read })).policy.kind).toBe('nats');
      await expect(loadModel(wrong, { adapter: read })).rejects.toThrow(ConfigError);
      await expect(loadModel(wrong, { adapter: read })).rejects.toThrow(/other weights of the same shapes/);
      const warnings: string[] = [];
      await loadModel(wrong, { adapter: read, onOtherBase: (warning) => void warnings.push(warning) });
      expect(warnings).toEqual([expect.stringMatching(/"base" with other weights/)]);
      // Adapters of older versions do not have the hash of their base's weights.
      const { baseWeights: _, ...older } = read;
      expect((await loadModel(wrong, { adapter: older })).policy.kind).toBe('nats');
    }
  });

  it('is read from an ArrayBuffer, and from JSON as text or bytes', async () => {
    const folder = join(root, 'adapter');
    await writeAdapter(folder, await adapterFor(weights));
    const text = readFileSync(join(folder, 'adapter_config.json'), 'utf8');
    const scorers = new Uint8Array(readFileSync(join(folder, 'adapter_model.safetensors')));
    const whole = await readAdapter(folder);
    for (const form of [buffer, shared, within]) expect(await parseAdapter(text, form(scorers))).toEqual(whole);
    expect(await parseAdapter(Buffer.from(text), Buffer.from(scorers))).toEqual(whole);
    await expect(parseAdapter(text, undefined as unknown as Uint8Array)).rejects.toThrow(ValueError);
    await expect(parseAdapter(undefined, scorers)).rejects.toThrow(/not a JSON object/);
    await expect(parseAdapter(text.replace(/"base_weights_sha256": "\w/, '"base_weights_sha256": "x'), scorers))
      .rejects.toThrow(/not a SHA-256/);
  });
});

describe('the hash of weights', () => {
  it('is SHA-256 over the names and blocks of float32, whatever holds the numbers', async () => {
    const data = Float32Array.from({ length: BLOCK + 3 }, (_, n) => Math.sin(n));
    const digest = (of: Uint8Array): Buffer => createHash('sha256').update(of).digest();
    const parts = [data.subarray(0, BLOCK), data.subarray(BLOCK)];
    const blocks = parts.map((block) => digest(new Uint8Array(block.slice().buffer)));
    const whole = digest(Buffer.concat(blocks)).toString('hex');
    const onShared = new Float32Array(new SharedArrayBuffer(4 * data.length));
    onShared.set(data);
    for (const same of [data, Float64Array.from(data), onShared]) expect(await tensorDigest(same)).toBe(whole);
    const hash = digest(new TextEncoder().encode(`${whole} a\n${whole} b\n`)).toString('hex');
    expect(await weightsHash(new Map([['b', whole], ['a', whole]]))).toBe(hash);
    data[5] += 0.001;
    expect(await tensorDigest(data)).not.toBe(whole);
  });

  it('is the same for a folder in any dtype that holds the numbers, with or without shards', async () => {
    const { readTensors } = await import('../src/files/safetensors-file.ts');
    const { openModelFolder } = await import('../src/model/folder/model-folder.ts');
    const root = mkdtempSync(join(tmpdir(), 'natsearch-hash-'));
    try {
      await writeModelFolder(join(root, 'half'), config, weights, { dtype: 'F16' });
      const { weights: halves } = await readModelFolder(join(root, 'half'));
      await writeModelFolder(join(root, 'single'), config, halves);
      await writeModelFolder(join(root, 'double'), config, halves, { dtype: 'F64' });
      const hashes = new Set<string>();
      for (const name of ['half', 'single', 'double']) {
        for (const shared of [false, true]) {
          const digests = new Map<string, string>();
          const { places } = await openModelFolder(join(root, name));
          for await (const [each] of readTensors(places, { shared, digests })) expect(digests.has(each)).toBe(true);
          hashes.add(await weightsHash(digests));
        }
      }
      expect(hashes.size).toBe(1);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});
