/**
 * Model folders as Hugging Face lays them out: config.json beside model.safetensors, or beside shards and
 * their index.
 * @module
 */
import { ConfigError, FileFormatError, StorageError } from '../errors.ts';
import { checkWeights, type ModelConfig, parseConfig, serializeConfig } from '../model/config.ts';
import type { NDArray } from '../tensor.ts';
import { fileExists, makeFolder, readFileBytes, readText, writeFilesAtomic } from './files.ts';
import { shown } from './safetensors-header.ts';
import { decodeSafetensors, encodeSafetensors } from './safetensors.ts';

const CONFIG = 'config.json';
const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/**
 * Reads a model folder and checks that config and weights agree.
 *
 * @throws {StorageError} If the folder or a file in it is missing.
 * @throws {FileFormatError} If a file is truncated or is not what it should be.
 * @throws {ConfigError} If the config is incomplete or contradicts the weights.
 */
export async function readModelFolder(folder: string): Promise<{ config: ModelConfig; weights: Map<string, NDArray> }> {
  if (!(await fileExists(folder))) throw new StorageError(`there is no model folder ${folder}: check the path`);
  if (!(await fileExists(`${folder}/${CONFIG}`))) {
    throw new StorageError(`${folder} has no ${CONFIG}: name a folder that holds config.json and model.safetensors`);
  }
  const config = parseConfig(await readJson(`${folder}/${CONFIG}`));
  const weights = await readWeights(folder);
  checkWeights(config, weights);
  return { config, weights };
}

async function readWeights(folder: string): Promise<Map<string, NDArray>> {
  if (await fileExists(`${folder}/${WEIGHTS}`)) {
    const path = `${folder}/${WEIGHTS}`;
    return decodeSafetensors(await readFileBytes(path), path).tensors;
  }
  if (!(await fileExists(`${folder}/${INDEX}`))) {
    throw new StorageError(`${folder} has neither ${WEIGHTS} nor ${INDEX}: copy the weights beside ${CONFIG}`);
  }
  return readShards(folder);
}

/** Every shard that the index names, and from each exactly the tensors that the index places there. */
async function readShards(folder: string): Promise<Map<string, NDArray>> {
  const path = `${folder}/${INDEX}`;
  const places = ((await readJson(path)) as { weight_map?: unknown } | null)?.weight_map;
  if (typeof places !== 'object' || places === null || Array.isArray(places)) {
    throw new FileFormatError(`${path} has no weight_map object: copy the index again`);
  }
  const wanted = new Map<string, Set<string>>();
  for (const [name, shard] of Object.entries(places)) {
    if (typeof shard !== 'string' || !/^[^/\\:]+\.safetensors$/.test(shard)) {
      throw new FileFormatError(`${path} places '${shown(name)}' in '${shown(String(shard))}': a shard is a .safetensors file in the same folder`);
    }
    wanted.set(shard, (wanted.get(shard) ?? new Set()).add(name));
  }
  const weights = new Map<string, NDArray>();
  for (const [shard, names] of wanted) {
    const file = `${folder}/${shard}`;
    if (!(await fileExists(file))) throw new StorageError(`${path} names the shard ${shard}, which is missing: copy it beside the index`);
    const { tensors } = decodeSafetensors(await readFileBytes(file), file);
    for (const name of names) {
      const tensor = tensors.get(name);
      if (!tensor) throw new FileFormatError(`${file} lacks '${shown(name)}', which the index places there: copy shard and index again`);
      weights.set(name, tensor);
    }
    for (const name of tensors.keys()) {
      if (!names.has(name)) throw new FileFormatError(`${file} holds '${shown(name)}', which the index does not place there: copy shard and index again`);
    }
  }
  return weights;
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readText(path));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new FileFormatError(`${path} is not valid JSON (${error.message.replace(/\s+/g, ' ')}): copy it again`);
  }
}

/**
 * Writes config.json and model.safetensors, by rename once both are on the disk.
 *
 * @param options.dtype F32 (default), F16 or F64.
 * @throws {ConfigError} If the weights contradict the config; nothing is written then.
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
  await makeFolder(folder);
  const tensors = [...weights].map(([name, { data, shape }]) => [name, { data, shape, dtype }] as const);
  await writeFilesAtomic([
    [`${folder}/${WEIGHTS}`, encodeSafetensors(tensors, { format: 'pt', ...metadata })], // Hugging Face wants a format
    [`${folder}/${CONFIG}`, serializeConfig(config)],
  ]);
}
