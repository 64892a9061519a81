/**
 * The list of supported architectures, by `model_type` of config.json. To add one, add a file here and a line below.
 * @module
 */
export { llama } from './llama.ts';
export { mistral } from './mistral.ts';
export { qwen2 } from './qwen2.ts';
export { qwen3 } from './qwen3.ts';
