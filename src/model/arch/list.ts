/**
 * Every architecture that is read, by `model_type` of config.json: a new one is a file beside this and a line here.
 * @module
 */
export { llama } from './llama.ts';
export { mistral } from './mistral.ts';
export { qwen2 } from './qwen2.ts';
export { qwen3 } from './qwen3.ts';
