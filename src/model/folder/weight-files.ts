/**
 * Finds the weights of a model folder, in model.safetensors or in the shards of an index.
 * @module
 */
import { ConfigError, FileFormatError, StorageError } from '../../core/errors.ts';
import { checkWeights, isSuperfluous, type ModelConfig } from '../config/config.ts';
import { HEAD } from '../config/names.ts';
import { dropOthers, prefixed, tieHead } from './weight-names.ts';
import type { NDArray } from '../../core/tensor.ts';
import { fileExists, listFolder } from '../../files/files.ts';
import { otherWeights } from '../../formats/foreign-files.ts';
import { readJson } from '../../files/json-file.ts';
import { sameNumbers, type TensorPlace, tensorPlaces } from '../../files/safetensors-file.ts';
import { shown } from '../../formats/safetensors-header.ts';

/** The file that holds all weights. */
export const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/**
 * Finds the weights that the config requires. Tensors that no model needs are left out.
 *
 * @param more Weights from elsewhere, which need not be in the folder.
 * @returns Where they are stored, and notes on what in the folder is not read.
 * @throws {StorageError} If there are no weights that can be read; the message says what is there instead.
 * @throws {FileFormatError} If a file is truncated or not what it should be.
 * @throws {ConfigError} If the config contradicts them.
 */
export async function findWeights(
  folder: string, config: ModelConfig, more: ReadonlyMap<string, NDArray> = new Map(),
): Promise<{ places: Map<string, TensorPlace>; notes: string[] }> {
  const names = await listFolder(folder);
  const [single, index] = [WEIGHTS, INDEX].map((name) => names.includes(name));
  if (!single && !index) {
    throw new StorageError(`${folder} has neither ${WEIGHTS} nor ${INDEX}: ${otherWeights(names) ?? 'copy the weights beside config.json'}`);
  }
  const why = `${INDEX} is not read, since ${WEIGHTS} takes precedence, as in transformers: remove ${WEIGHTS} if the shards are the model`;
  try {
    const found = prefixed(single ? await placesIn(folder, WEIGHTS, config) : await findShards(folder, config));
    for (const name of more.keys()) found.delete(name);
    const others = dropOthers(found);
    await tieHead(config, found, sameNumbers);
    checkWeights(config, new Map<string, NDArray | TensorPlace>([...found, ...more]));
    const notes = single && index ? [`${folder}: ${why}`] : [];
    if (others.length > 0) notes.push(`${folder}: ${others.length} tensors that do not belong to the decoder, such as '${shown(others[0])}', are not read`);
    return { places: found, notes };
  } catch (error) {
    if (!(single && index)) throw error;
    if (error instanceof ConfigError) throw new ConfigError(`${error.message}; ${why}`);
    throw error instanceof FileFormatError ? new FileFormatError(`${error.message}; ${why}`) : error;
  }
}

/** The tensors of one file that some model might need. */
async function placesIn(folder: string, name: string, config: ModelConfig): Promise<Map<string, TensorPlace>> {
  const path = `${folder}/${name}`;
  if (await fileExists(`${path}.aria2`)) throw new StorageError(`${path} is an unfinished download, as ${name}.aria2 beside it shows: resume it`);
  return tensorPlaces(path, (tensor) => tensor !== HEAD && isSuperfluous(tensor, config));
}

/** Every shard that the index names, and from each the tensors that the index places there. */
async function findShards(folder: string, config: ModelConfig): Promise<Map<string, TensorPlace>> {
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
  const found = new Map<string, TensorPlace>();
  for (const [shard, names] of wanted) {
    const file = `${folder}/${shard}`;
    if (!(await fileExists(file))) {
      const half = (await listFolder(folder)).find((each) => each.startsWith(`${shard}.`));
      const remedy = half === undefined ? 'copy it beside the index' : `${shown(half)} is an unfinished download of it, resume it`;
      throw new StorageError(`${path} names the shard ${shard}, which is missing: ${remedy}`);
    }
    const tensors = await placesIn(folder, shard, config);
    for (const name of names) {
      if (tensors.has(name) || isSuperfluous(name, config)) continue; // an index may name a tied head
      throw new FileFormatError(`${file} lacks '${shown(name)}', which the index places there: copy shard and index again`);
    }
    for (const [name, place] of tensors) {
      if (!names.has(name) && !isSuperfluous(name, config)) {
        const what = `${file} holds '${shown(name)}', which the index does not place there`;
        throw new FileFormatError(`${what}: copy shard and index again`);
      }
      found.set(name, place);
    }
  }
  return found;
}
