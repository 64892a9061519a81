/**
 * The architectures by name.
 * @module
 */
import type { Architecture } from './architecture.ts';
import * as list from './list.ts';

/** `model_type` of config.json. */
export type ModelType = keyof typeof list;

/** By `model_type`. */
export const ARCHITECTURES: Readonly<Record<ModelType, Architecture>> = list;

/** The architecture of a model; Llama if the config does not say. */
export function architectureOf({ modelType = 'llama' }: { readonly modelType?: ModelType | undefined }): Architecture {
  return ARCHITECTURES[modelType];
}
