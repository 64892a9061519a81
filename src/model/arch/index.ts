/**
 * Every architecture that is read: a new one is a file beside this and a line here.
 * @module
 */
import type { Architecture } from './architecture.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { qwen2 } from './qwen2.ts';
import { qwen3 } from './qwen3.ts';

/** By `model_type` of config.json. */
export const ARCHITECTURES: Readonly<Record<ModelType, Architecture>> = { llama, mistral, qwen2, qwen3 };

/** `model_type` of config.json. */
export type ModelType = 'llama' | 'mistral' | 'qwen2' | 'qwen3';

/** What sets a model's architecture apart; Llama where nothing is said. */
export function architectureOf({ modelType = 'llama' }: { readonly modelType?: ModelType | undefined }): Architecture {
  return ARCHITECTURES[modelType];
}
