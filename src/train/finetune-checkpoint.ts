/**
 * Checkpoints of fine-tuning: one state file to resume from bit for bit, and the adapter made from it.
 * @module
 */
import { FileFormatError } from '../errors.ts';
import { type AdapterSettings, baseFields, writeAdapter } from '../io/adapter.ts';
import { makeFolder, readFileBytes, writeFileAtomic } from '../io/files.ts';
import { decodeSafetensors, encodeSafetensors } from '../io/safetensors.ts';
import type { ModelConfig } from '../model/config.ts';
import type { NDArray } from '../tensor.ts';
import type { FinetuneState, Finetuner } from './finetune.ts';
import type { FinetuneOptions, Price } from './finetune-options.ts';

/** The state file within an output folder: scorers and AdamW's moments in float64. */
export const FINETUNE_STATE_FILE = 'finetune-state.safetensors';

/** What the state file says about its run. */
export interface FinetuneRecord {
  /** Of the base, for people. */
  readonly baseModel: string;
  /** The base's, with the types that are searched. */
  readonly config: ModelConfig;
  readonly options: FinetuneOptions;
  /** A fingerprint of the training tokens. */
  readonly textHash: string;
  readonly packageVersion: string;
}

const PARTS = ['weights', 'm', 'v'] as const;

/**
 * Writes the state, then the adapter (float32) beside it; each file appears by rename.
 *
 * @returns What the adapter says of itself.
 */
export async function saveFinetune(
  folder: string, finetuner: Finetuner, run: FinetuneRecord,
): Promise<AdapterSettings> {
  const state = await finetuner.state();
  await makeFolder(folder);
  const tensors = PARTS.flatMap((part) => [...state[part]].map(([name, { data, shape }]) => {
    return [`${part}/${name}`, { data, shape, dtype: 'F64' as const }] as const;
  }));
  await writeFileAtomic(`${folder}/${FINETUNE_STATE_FILE}`, encodeSafetensors(tensors, {
    step: String(state.step), price: JSON.stringify(state.price), run: JSON.stringify(run),
  }));
  const keptByLayer = await finetuner.keptByLayer();
  const { window, chunk, pooling, temperature } = run.config.nats;
  const { context, seed, keep } = run.options;
  const settings: AdapterSettings = {
    window, chunk, pooling, temperature, lambda: state.price.lambda, targetKeep: keep,
    kept: keptByLayer.reduce((a, b) => a + b, 0) / keptByLayer.length, keptByLayer,
    context, steps: state.step, seed, packageVersion: run.packageVersion,
  };
  const { baseModel, config } = run;
  await writeAdapter(folder, { baseModel, base: baseFields(config), ...settings, weights: state.weights });
  return settings;
}

/** Reads the state file of `folder`. */
export async function loadFinetune(folder: string): Promise<{ state: FinetuneState; run: FinetuneRecord }> {
  const path = `${folder}/${FINETUNE_STATE_FILE}`;
  const { tensors, metadata } = decodeSafetensors(await readFileBytes(path), path);
  const part = (wanted: string) => new Map<string, NDArray>([...tensors].flatMap(([name, { data, shape }]) => {
    return name.startsWith(`${wanted}/`) ? [[name.slice(wanted.length + 1), { data, shape }] as const] : [];
  }));
  try {
    const step = Number(metadata['step']);
    if (!Number.isInteger(step) || step < 0) throw new SyntaxError('no step');
    const price = JSON.parse(metadata['price'] ?? '') as Price;
    const run = JSON.parse(metadata['run'] ?? '') as FinetuneRecord;
    return { state: { step, price, weights: part('weights'), m: part('m'), v: part('v') }, run };
  } catch (error) {
    throw new FileFormatError(`${path} is not a state of fine-tuning (${(error as Error).message}): start again without --resume`);
  }
}
