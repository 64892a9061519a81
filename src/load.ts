/**
 * Loading a model: a folder, or bytes that came from anywhere.
 * @module
 */
import type { Engine } from './engine.ts';
import { createEngine } from './engines.ts';
import { FileFormatError, ValueError } from './errors.ts';
import { decodeSafetensors } from './io/safetensors.ts';
import { type ModelConfig, parseConfig } from './model/config.ts';
import { Model } from './model/model.ts';
import type { NDArray } from './tensor.ts';

/** A model that is in memory already: the parsed config.json, and one safetensors file or all shards of one. */
export interface ModelBytes {
  readonly config: unknown;
  readonly weights: Uint8Array | readonly Uint8Array[];
}

/**
 * Loads a model.
 *
 * @param source A folder in Hugging Face layout (config.json, model.safetensors or its shards and their index)
 *   as a path or file: URL; or the parsed config and the bytes, for browsers.
 * @param options.engine Where to compute (default: `createEngine()`). It stays yours to dispose.
 * @returns The model; `dispose()` it when done.
 * @throws {StorageError} If a file cannot be read.
 * @throws {FileFormatError} If a file is truncated or not what its header says.
 * @throws {ConfigError} If the config is incomplete or contradicts the weights.
 * @example
 * ```ts
 * import { loadModel } from 'neural-attention-search';
 * const model = await loadModel('models/nats');
 * console.log(model.policy.kind); // nats
 * model.dispose();
 * ```
 */
export async function loadModel(source: string | URL | ModelBytes, options: { engine?: Engine } = {}): Promise<Model> {
  const { config, weights } = typeof source === 'string' || source instanceof URL
    ? await readFolder(source)
    : { config: parseConfig(source.config), weights: decodeShards(source.weights) };
  return new Model(options.engine ?? createEngine(), config, weights);
}

/** Files are reached only here and on demand, so that browsers can import this module. */
async function readFolder(source: string | URL): Promise<{ config: ModelConfig; weights: Map<string, NDArray> }> {
  const { readModelFolder } = await import('./io/model-folder.ts');
  return readModelFolder(typeof source === 'string' ? source : folderOf(source));
}

function folderOf(url: URL): string {
  if (url.protocol !== 'file:') {
    throw new ValueError(`cannot read ${url.href} as a folder: fetch its files and pass { config, weights }`);
  }
  return decodeURIComponent(url.pathname).replace(/^\/(?=[A-Za-z]:)/, ''); // file:///C:/models
}

function decodeShards(weights: Uint8Array | readonly Uint8Array[]): Map<string, NDArray> {
  const all = new Map<string, NDArray>();
  for (const bytes of weights instanceof Uint8Array ? [weights] : weights) {
    for (const [name, tensor] of decodeSafetensors(bytes).tensors) {
      if (all.has(name)) throw new FileFormatError(`two shards hold ${name}: pass each shard once`);
      all.set(name, tensor);
    }
  }
  return all;
}
