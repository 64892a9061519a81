/**
 * Model folders in Hugging Face's layout: config.json beside model.safetensors, or beside shards and their index.
 * @module
 */
import { ConfigError, FileFormatError, StorageError } from '../../core/errors.ts';
import { expectFinite } from '../../core/finite.ts';
import { checkWeights, expectedWeights, type ModelConfig, serializeConfig } from '../config/config.ts';
import { type ConfigOverrides, parseOverridden } from '../config/config-overrides.ts';
import { ignoredFields } from '../config/known-fields.ts';
import { type ChatTemplate, chatTemplateOf } from '../generate/chat-template.ts';
import { type GenerationDefaults, parseGenerationConfig } from '../config/generation-config.ts';
import type { NDArray } from '../../core/tensor.ts';
import { fileExists, listFolder, makeFolder, readFileBytes, readText, writeFileAtomic, writeFilesAtomic } from '../../files/files.ts';
import { otherWeights } from '../../formats/foreign-files.ts';
import { readJson } from '../../files/json-file.ts';
import { readTensors, type TensorPlace } from '../../files/safetensors-file.ts';
import { encodeSafetensors } from '../../formats/safetensors.ts';
import { findWeights, WEIGHTS } from './weight-files.ts';

const CONFIG = 'config.json';
/** The files that writeModelFolder() writes. */
export const MODEL_FILES: readonly string[] = [CONFIG, WEIGHTS];
const TOKENIZER = 'tokenizer.json';
const TOKENIZER_CONFIG = 'tokenizer_config.json';
/** The files that copyTokenizer() copies, if they are there. */
export const TOKENIZER_FILES: readonly string[] = [TOKENIZER, TOKENIZER_CONFIG];
const GENERATION = 'generation_config.json';
const CHAT_TEMPLATE = 'chat_template.jinja';

/** A folder whose files agree with each other, and whose weights have not been read yet. */
export interface ModelFolder {
  readonly path: string;
  readonly config: ModelConfig;
  /** Where the weights that the config requires are stored, by name, in the order of the files. */
  readonly places: ReadonlyMap<string, TensorPlace>;
  /** Unknown fields of config.json, which have no effect. */
  readonly ignored: readonly string[];
  /** What else in the folder is not read, and why, in whole sentences. */
  readonly notes: readonly string[];
  /** The parsed tokenizer.json; undefined if there is none. */
  readonly tokenizer: unknown;
  /** The parsed tokenizer_config.json; undefined if there is none. */
  readonly tokenizerConfig: unknown;
  /** What generation_config.json says; undefined if there is none. */
  readonly generation: GenerationDefaults | undefined;
  /** From chat_template.jinja or tokenizer_config.json; undefined if neither has one. */
  readonly chatTemplate: ChatTemplate | undefined;
}

/**
 * Reads everything in a model folder except the weights, and checks that config and headers agree.
 *
 * @param options.overrides Fields of config.json to read with other values.
 * @param options.adapted Turns the folder's config into the one to use.
 * @param options.more Weights from elsewhere, which that config requires in addition to the folder's.
 * @throws {StorageError} If the folder or a file in it is missing.
 * @throws {FileFormatError} If a file is truncated or is not what it should be.
 * @throws {ConfigError} If the config is incomplete or contradicts the weights.
 */
export async function openModelFolder(
  folder: string,
  options: {
    overrides?: readonly ConfigOverrides[];
    adapted?: (config: ModelConfig) => ModelConfig;
    more?: ReadonlyMap<string, NDArray>;
  } = {},
): Promise<ModelFolder> {
  if (!(await fileExists(folder))) throw new StorageError(`there is no model folder ${folder}: check the path`);
  if (!(await fileExists(`${folder}/${CONFIG}`))) {
    const instead = otherWeights(await listFolder(folder)) ?? 'name a folder with config.json and model.safetensors';
    throw new StorageError(`${folder} has no ${CONFIG}: ${instead}`);
  }
  const json = await readJson(`${folder}/${CONFIG}`);
  const own = parseConfigIn(folder, json, options.overrides ?? []);
  const config = options.adapted?.(own) ?? own;
  const { places, notes } = await findWeights(folder, config, options.more).catch((error: unknown) => {
    throw inFolder(folder, error);
  });
  const tokenizer = await readIfThere(`${folder}/${TOKENIZER}`);
  const tokenizerConfig = await readIfThere(`${folder}/${TOKENIZER_CONFIG}`);
  const isObject = typeof tokenizerConfig === 'object' && tokenizerConfig !== null && !Array.isArray(tokenizerConfig);
  if (tokenizerConfig !== undefined && !isObject) {
    throw new FileFormatError(`${folder}/${TOKENIZER_CONFIG} is not an object: copy it again`);
  }
  const jinja = `${folder}/${CHAT_TEMPLATE}`;
  const template = await fileExists(jinja) ? await readText(jinja) : undefined;
  const generation = await readIfThere(`${folder}/${GENERATION}`);
  try {
    return {
      path: folder, config, places, ignored: ignoredFields(json), notes, tokenizer, tokenizerConfig,
      generation: generation === undefined ? undefined : parseGenerationConfig(generation, config.vocabSize),
      chatTemplate: chatTemplateOf(tokenizerConfig, template),
    };
  } catch (error) {
    throw inFolder(folder, error);
  }
}

async function readIfThere(path: string): Promise<unknown> {
  return await fileExists(path) ? readJson(path) : undefined;
}

function parseConfigIn(folder: string, json: unknown, overrides: readonly ConfigOverrides[]): ModelConfig {
  try {
    return parseOverridden(json, overrides);
  } catch (error) {
    throw inFolder(folder, error);
  }
}

/** An error that begins with the name of a file, with the folder in front of the name. */
export function inFolder(folder: string, error: unknown): unknown {
  const files = /^(config|tokenizer|tokenizer_config|generation_config)\.json\b/;
  const byName = error instanceof ConfigError && files.test(error.message);
  return byName ? new ConfigError(`${folder}/${error.message}`) : error;
}

/**
 * Reads a model folder, including its weights.
 *
 * @throws The same errors as openModelFolder().
 */
export async function readModelFolder(folder: string): Promise<{ config: ModelConfig; weights: Map<string, NDArray> }> {
  const { config, places } = await openModelFolder(folder);
  const weights = new Map<string, NDArray>();
  for await (const [name, tensor] of readTensors(places)) weights.set(name, tensor);
  return { config, weights };
}

/**
 * Writes config.json and model.safetensors, which are renamed into place once both are on the disk.
 *
 * @param options.dtype F32 (default), F16 or F64.
 * @throws {ConfigError} If the weights contradict the config. Nothing is written then.
 * @throws {NumericError} If a weight is NaN or infinite, or becomes so in `dtype`. Nothing is written then.
 * @throws {StorageError} If a file cannot be written.
 */
export async function writeModelFolder(
  folder: string,
  config: ModelConfig,
  weights: ReadonlyMap<string, NDArray>,
  options: { dtype?: 'F64' | 'F32' | 'F16'; metadata?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const { dtype = 'F32', metadata } = options;
  checkWeights(config, weights);
  if (weights.size === 0) throw new ConfigError('there are no weights to write');
  expectFinite(weights, dtype, 'the model', 'it is not written; either the training that made it diverged, or the dtype is too narrow');
  await makeFolder(folder);
  const shapes = expectedWeights(config); // a bias may come as a table [1,M]
  const tensors = [...weights].map(([name, { data, shape }]) => {
    return [name, { data, shape: shapes.get(name) ?? shape, dtype }] as const;
  });
  await writeFilesAtomic([
    [`${folder}/${WEIGHTS}`, encodeSafetensors(tensors, { format: 'pt', ...metadata })], // Hugging Face requires a format
    [`${folder}/${CONFIG}`, serializeConfig(config)],
  ]);
}

/** Copies the files of a model's tokenizer into another folder, byte for byte. */
export async function copyTokenizer(from: string, to: string): Promise<void> {
  for (const name of TOKENIZER_FILES) {
    if (await fileExists(`${from}/${name}`)) await writeFileAtomic(`${to}/${name}`, await readFileBytes(`${from}/${name}`));
  }
}
