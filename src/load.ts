/**
 * Loads a model from a folder, or from bytes in memory.
 * @module
 */
import { of, optional, record } from './core/arguments.ts';
import type { Engine, Tensor } from './core/engine.ts';
import { expectEngine } from './core/expect-engine.ts';
import { openCpuEngine } from './engines.ts';
import { ConfigError, FileFormatError, ValueError } from './core/errors.ts';
import type { Adapter } from './model/folder/adapter.ts';
import { type Bytes, bytesOf, jsonOf } from './formats/bytes.ts';
import type { ModelFolder } from './model/folder/model-folder.ts';
import { storedAs, type StoredBytes, storedWeights } from './formats/safetensors.ts';
import { tensorDigest, weightsHash } from './formats/weights-hash.ts';
import { chatTemplateOf } from './model/generate/chat-template.ts';
import { checkWeights, isSuperfluous, type ModelConfig } from './model/config/config.ts';
import { type ConfigOverrides, expectJson, listed, parseOverridden } from './model/config/config-overrides.ts';
import { uploadWeight } from './model/decoder.ts';
import { parseGenerationConfig } from './model/config/generation-config.ts';
import { expectKnown } from './core/known-options.ts';
import { defaultTokenizer, Model } from './model/model.ts';
import { type Tokenizer, withoutStarts } from './model/tokenizer/tokenizer.ts';
import { dropOthers, prefixed, tieHead } from './model/folder/weight-names.ts';
import type { Merge } from './model/low-rank.ts';
import { littleEndian, widen } from './core/stored.ts';
import type { Shaped } from './core/tensor.ts';

/**
 * The files of a model that are already in memory: config.json, one safetensors file or all of its shards, and
 * tokenizer.json and tokenizer_config.json if there are any. JSON may be parsed, text or bytes. Bytes may be an
 * ArrayBuffer, as fetch() returns, or any view.
 */
export interface ModelBytes {
  readonly config: unknown;
  readonly weights: Bytes | readonly Bytes[];
  readonly tokenizer?: unknown;
  readonly tokenizerConfig?: unknown;
  /** The parsed generation_config.json. */
  readonly generationConfig?: unknown;
  /** The text of chat_template.jinja, if the template is not in tokenizer_config.json. */
  readonly chatTemplate?: string;
}

const SOURCE = [
  'config', 'weights', 'tokenizer', 'tokenizerConfig', 'generationConfig', 'chatTemplate',
] as const satisfies readonly (keyof ModelBytes)[];

/** Options of loadModel(). */
export interface LoadOptions {
  /**
   * Computes. You still have to dispose of it yourself. Default: `createEngine({ engine: 'wasm' })`, or the reference
   * where there is no WebAssembly with SIMD.
   */
  readonly engine?: Engine;
  /**
   * Learned token types for a base that has none: the folder that `natsearch finetune` wrote, or its contents. Changes
   * of q and k that it brings along are merged into these weights of the model, in float32.
   */
  readonly adapter?: string | URL | Adapter;
  /**
   * Fields of config.json to read with other values, such as `rope_parameters` for longer texts. An adapter that was
   * learned with some brings them along; these are applied after its own.
   */
  readonly configOverrides?: ConfigOverrides;
  /** Whether texts get the tokens that the tokenizer puts before them; see `Tokenizer.starts`. Default: true. */
  readonly bos?: boolean;
  /** Called while the weights of a folder are read, with the bytes done and the bytes in all. */
  readonly onProgress?: (done: number, total: number) => void;
  /**
   * Called if the adapter was learned for other weights of the same shapes, so that its types fit only as far as the
   * weights are alike. Default: loadModel() throws a ConfigError.
   */
  readonly onOtherBase?: (warning: string) => void;
}

/**
 * Loads a model: Llama, Mistral, Qwen2 or Qwen3 as published on Hugging Face, or one that natsearch trained. The
 * weights of a folder go to the engine one after another, so that only one tensor at a time is in memory twice.
 *
 * @param source The path or file: URL of a folder in Hugging Face's layout (config.json, model.safetensors or its
 *   shards and their index, and tokenizer.json); or, for browsers, the contents of its files.
 * @returns The model. Call its `dispose()` when done.
 * @throws {StorageError} If a file cannot be read.
 * @throws {FileFormatError} If a file is truncated or contradicts its header.
 * @throws {ConfigError} If the config is incomplete, needs something that is not supported, or contradicts the weights,
 *   the tokenizer or the adapter, or if the adapter was learned for other weights.
 * @example
 * ```ts
 * import { loadModel } from 'neural-attention-search';
 * const model = await loadModel('models/nats');
 * console.log(model.policy.kind); // nats
 * model.dispose();
 * ```
 */
export async function loadModel(source: string | URL | ModelBytes, options: LoadOptions = {}): Promise<Model> {
  expectKnown('loadModel()', options, ['engine', 'adapter', 'configOverrides', 'bos', 'onProgress', 'onOtherBase']);
  record({
    engine: optional(expectEngine), bos: optional(of('boolean')), onProgress: optional(of('function')),
    onOtherBase: optional(of('function')), configOverrides: optional(expectJson),
  })('options', options);
  const adapter = await adapterOf(options.adapter);
  const adapted = adapter && await adaptation(adapter);
  const overrides = listed(adapter?.configOverrides, options.configOverrides);
  if (typeof source === 'string' || source instanceof URL) {
    return loadFolder(folderOf(source), options, overrides, adapter, adapted);
  }
  record()('source', source);
  expectKnown('the source of a model', source, SOURCE, 'field');
  const own = parseOverridden(jsonOf(source.config, 'config.json'), overrides);
  const config = adapted?.(own) ?? own;
  const tokenizerConfig = jsonOf(source.tokenizerConfig, 'tokenizer_config.json');
  const files = { tokenizer: jsonOf(source.tokenizer, 'tokenizer.json'), tokenizerConfig };
  const tokenizer = await tokenizerOf(files, config, options.bos);
  const all = prefixed(decodeShards(source.weights));
  dropOthers(all);
  await tieHead(config, all, sameBytes);
  const base = new Map([...all].filter(([name]) => !isSuperfluous(name, config) && !adapter?.weights.has(name)));
  checkWeights(config, new Map<string, Shaped>([...base, ...(adapter?.weights ?? [])]));
  if (adapter?.baseWeights !== undefined) {
    const digests = new Map<string, string>();
    for (const [name, { bytes, dtype }] of base) digests.set(name, await tensorDigest(widen(bytes, storedAs(dtype))));
    await checkBase(adapter, digests, options);
  }
  const generation = jsonOf(source.generationConfig, 'generation_config.json');
  const extras = {
    generation: generation === undefined ? undefined : parseGenerationConfig(generation, config.vocabSize),
    chatTemplate: chatTemplateOf(tokenizerConfig, source.chatTemplate),
  };
  const engine = options.engine ?? await openCpuEngine();
  const merges = await mergesFor(config, adapter);
  return owning(async (weights) => {
    for (const [name, stored] of base) weights.set(name, uploadStored(engine, stored, merges?.get(name)));
    for (const [name, array] of adapter?.weights ?? []) weights.set(name, uploadWeight(engine, array));
    return new Model(engine, config, weights, tokenizer, extras);
  });
}

/** How the adapter changes weights of the base, by their names; undefined if it has only scorers. */
async function mergesFor(config: ModelConfig, adapter: Adapter | undefined): Promise<Map<string, Merge> | undefined> {
  if (!adapter?.lowRank) return undefined;
  const { mergesOf } = await import('./model/low-rank.ts');
  return mergesOf(config, adapter.lowRank);
}

/** Uploads a weight as it is stored, or a changed one as float32 (float64 if it is stored as that). */
function uploadStored(engine: Engine, { bytes, dtype, shape }: StoredBytes, merge?: Merge): Tensor {
  const stored = storedAs(dtype);
  if (!merge) return engine.weight(bytes, stored, shape);
  const data = merge(widen(bytes, stored));
  return engine.weight(littleEndian(data), data instanceof Float64Array ? 'f64' : 'f32', shape);
}

/** Makes a model from weights on an engine, which are freed if that fails. */
async function owning(make: (weights: Map<string, Tensor>) => Promise<Model>): Promise<Model> {
  const weights = new Map<string, Tensor>();
  try {
    return await make(weights);
  } catch (error) {
    for (const tensor of weights.values()) tensor.dispose();
    throw error;
  }
}

/** Loads a folder. The code for files is imported only here and on demand, so that browsers can import this module. */
async function loadFolder(
  path: string, options: LoadOptions, overrides: readonly ConfigOverrides[], adapter?: Adapter,
  adapted?: (config: ModelConfig) => ModelConfig,
): Promise<Model> {
  const { engine = await openCpuEngine(), onProgress, bos } = options;
  const { openModelFolder } = await import('./model/folder/model-folder.ts');
  const { readStored } = await import('./files/safetensors-file.ts');
  const more = adapter?.weights;
  const folder = await openModelFolder(path, {
    overrides, ...(adapted && { adapted }), ...(more && { more }),
  });
  const merges = await mergesFor(folder.config, adapter);
  const tokenizer = await folderTokenizer(folder, bos); // refused before the weights are read, which takes long
  const digests = adapter?.baseWeights === undefined ? undefined : new Map<string, string>();
  const how = { ...(onProgress && { onProgress }), ...(digests && { digests }) };
  return owning(async (weights) => {
    for await (const [name, stored] of readStored(folder.places, how)) {
      weights.set(name, uploadStored(engine, stored, merges?.get(name)));
    }
    if (adapter && digests) await checkBase(adapter, digests, options);
    for (const [name, array] of more ?? []) weights.set(name, uploadWeight(engine, array));
    return new Model(engine, folder.config, weights, tokenizer, folder);
  });
}

/** Warns about, or refuses, weights of the base other than those that the adapter was learned for. */
async function checkBase(
  adapter: Adapter, digests: ReadonlyMap<string, string>, { onOtherBase }: LoadOptions,
): Promise<void> {
  const { otherWeights } = await import('./model/folder/adapter.ts');
  const warning = otherWeights(adapter, await weightsHash(digests));
  if (warning === undefined) return;
  if (!onOtherBase) throw new ConfigError(`${warning}: use the model that it was fine-tuned on, or pass onOtherBase to get a warning instead`);
  onOtherBase(warning);
}

/**
 * The tokenizer that a folder's tokenizer.json and tokenizer_config.json describe, or else that of bytes if the
 * vocabulary is of bytes, or else undefined.
 *
 * @param bos Whether it may put tokens before texts. Default: true.
 */
export async function folderTokenizer(
  { path, config, ...files }: Pick<ModelFolder, 'path' | 'config' | 'tokenizer' | 'tokenizerConfig'>, bos?: boolean,
): Promise<Tokenizer | undefined> {
  const { inFolder } = await import('./model/folder/model-folder.ts');
  return tokenizerOf(files, config, bos).catch((error: unknown) => {
    throw inFolder(path, error);
  });
}

async function tokenizerOf(
  { tokenizer: json, tokenizerConfig }: Pick<ModelBytes, 'tokenizer' | 'tokenizerConfig'>, config: ModelConfig, bos = true,
): Promise<Tokenizer | undefined> {
  const made = json === undefined ? defaultTokenizer(config)
    : await (await import('./model/tokenizer/hf-tokenizer.ts')).createHfTokenizer(json, config, tokenizerConfig);
  return made && !bos ? withoutStarts(made) : made;
}

async function adapterOf(adapter: LoadOptions['adapter']): Promise<Adapter | undefined> {
  if (adapter === undefined) return undefined;
  if (typeof adapter !== 'string' && !(adapter instanceof URL)) {
    const { expectAdapter } = await import('./model/folder/adapter.ts');
    expectAdapter('adapter', adapter);
    return adapter;
  }
  const { readAdapter } = await import('./model/folder/adapter.ts');
  return readAdapter(folderOf(adapter));
}

/** A function that adds the adapter's types to the config of a base, and refuses a base that is not the adapter's. */
async function adaptation(adapter: Adapter): Promise<(config: ModelConfig) => ModelConfig> {
  const { adaptedConfig, checkAdapter } = await import('./model/folder/adapter.ts');
  return (config) => {
    checkAdapter(adapter, config);
    return adaptedConfig(adapter, config);
  };
}

function folderOf(source: string | URL): string {
  if (typeof source === 'string') return source;
  if (source.protocol !== 'file:') {
    throw new ValueError(`cannot read ${source.href} as a folder: fetch its files and pass { config, weights }`);
  }
  return decodeURIComponent(source.pathname).replace(/^\/(?=[A-Za-z]:)/, ''); // file:///C:/models
}

function sameBytes(a: StoredBytes, b: StoredBytes): boolean {
  return a.dtype === b.dtype && String(a.shape) === String(b.shape) && a.bytes.every((x, n) => x === b.bytes[n]);
}

function decodeShards(weights: Bytes | readonly Bytes[]): Map<string, StoredBytes> {
  const all = new Map<string, StoredBytes>();
  const shards: readonly Bytes[] = Array.isArray(weights) ? weights : [weights];
  for (const [n, shard] of shards.entries()) {
    const bytes = bytesOf(shard, Array.isArray(weights) ? `weights[${n}]` : 'weights');
    for (const [name, tensor] of storedWeights(bytes)) {
      if (all.has(name)) throw new FileFormatError(`two shards hold ${name}: pass each shard once`);
      all.set(name, tensor);
    }
  }
  return all;
}
