/**
 * Checkpoints of fine-tuning: one state file from which it resumes bit for bit, and the adapter made from it.
 * @module
 */
import { FileFormatError } from '../core/errors.ts';
import { expectFinite } from '../core/finite.ts';
import { type AdapterSettings, baseFields, writeAdapter } from '../model/folder/adapter.ts';
import { makeFolder, writeFileAtomic } from '../files/files.ts';
import type { NDArray } from '../core/tensor.ts';
import type { ModelConfig } from '../model/config/config.ts';
import { scorerNames } from '../model/config/names.ts';
import type { ConfigOverrides } from '../model/config/config-overrides.ts';
import type { Plan } from './checkpoint.ts';
import type { FinetuneState, Finetuner } from './finetune.ts';
import { checkPrice, type FinetuneOptions, lowRankOf, type Price } from './finetune-options.ts';
import { encodeState, readState } from './state-file.ts';

/** The state file in an output folder: what is trained, and AdamW's moments, in float64. */
export const FINETUNE_STATE_FILE = 'finetune-state.safetensors';

/** What the state file says about its run. */
export interface FinetuneRecord {
  /** The name of the base, for people to read. */
  readonly baseModel: string;
  /** The SHA-256 of its weights, as by weightsHash(); states of older versions have none. */
  readonly baseWeights?: string;
  /** The fields of the base's config.json that were overridden. */
  readonly configOverrides?: ConfigOverrides;
  /** The config of the base, with the options of the search. */
  readonly config: ModelConfig;
  readonly options: FinetuneOptions;
  /** A fingerprint of the training tokens. */
  readonly textHash: string;
  readonly packageVersion: string;
  readonly plans?: readonly Plan[];
}

/**
 * Writes the state, then the adapter (float32) beside it. Each file appears by renaming.
 *
 * @returns The settings written to the adapter.
 * @throws {NumericError} If a number of either would be NaN or infinite. Nothing is written then.
 */
export async function saveFinetune(
  folder: string, finetuner: Finetuner, run: FinetuneRecord,
): Promise<AdapterSettings> {
  const state = await finetuner.state();
  expectFinite(state.weights, 'F32', `the adapter after step ${state.step}`, 'it is not saved, and what was saved before is kept; lower the learning rate');
  const bytes = await encodeState(state, { price: JSON.stringify(state.price), run: JSON.stringify(run) });
  await makeFolder(folder);
  await writeFileAtomic(`${folder}/${FINETUNE_STATE_FILE}`, bytes);
  const keptByLayer = await finetuner.keptByLayer();
  const { window, localWindow, chunk, pooling, temperature } = run.config.nats;
  const { context, seed, keep } = run.options;
  const settings: AdapterSettings = {
    window, ...(localWindow !== undefined && { localWindow }), chunk, pooling, temperature,
    lambda: state.price.lambda, targetKeep: keep,
    kept: keptByLayer.reduce((a, b) => a + b, 0) / keptByLayer.length, keptByLayer,
    context, steps: state.step, seed, packageVersion: run.packageVersion,
  };
  const { baseModel, baseWeights, configOverrides, config } = run;
  const scorers = new Set(scorerNames(config));
  const lowRank = lowRankOf(run.options);
  await writeAdapter(folder, {
    baseModel, base: baseFields(config), ...(baseWeights !== undefined && { baseWeights }),
    ...(configOverrides !== undefined && { configOverrides }), ...settings,
    weights: partOf(state.weights, (name) => scorers.has(name)),
    ...(lowRank && { lowRank: { ...lowRank, weights: partOf(state.weights, (name) => !scorers.has(name)) } }),
  });
  return settings;
}

function partOf(weights: ReadonlyMap<string, NDArray>, belongs: (name: string) => boolean): Map<string, NDArray> {
  return new Map([...weights].filter(([name]) => belongs(name)));
}

/**
 * Reads the state file of `folder`.
 *
 * @returns The state, its run, and whether the file had a checksum; those of older versions have none.
 * @throws {FileFormatError} If a bit of the file has changed, or it is not a state.
 * @throws {NumericError} If a number in it is NaN or infinite.
 */
export async function loadFinetune(
  folder: string,
): Promise<{ state: FinetuneState; run: FinetuneRecord; sealed: boolean }> {
  const path = `${folder}/${FINETUNE_STATE_FILE}`;
  const { metadata, sealed, ...state } = await readState(path, 'fine-tuning');
  try {
    const price = JSON.parse(metadata['price'] ?? '') as Price;
    checkPrice(price);
    const run = JSON.parse(metadata['run'] ?? '') as FinetuneRecord;
    return { state: { ...state, price }, run, sealed };
  } catch (error) {
    throw new FileFormatError(`${path} is not a state of fine-tuning (${(error as Error).message}): start again without --resume`);
  }
}
