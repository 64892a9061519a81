/**
 * Qwen3 (Yang et al., 2025): Llama with normalised queries and keys, and a head size independent of the hidden size.
 * @module
 */
import type { Architecture } from './architecture.ts';
import { qwenWindow, writeQwenWindow } from './qwen2.ts';

/** Each layer has one norm for all query heads and one for all key heads, but no biases. */
export const qwen3: Architecture = {
  className: 'Qwen3ForCausalLM',
  projectionBias: false,
  headNorm: true,
  absent: { kvHeads: 32, headDim: 128, maxPositions: 32_768, bos: null, eos: null },
  window(fields, layers) {
    fields.refuse('attention_bias', (x) => x !== null && x !== false, 'projections with bias are not supported for Qwen3');
    return qwenWindow(fields, layers);
  },
  write: (slidingWindow) => ({ attention_bias: false, ...writeQwenWindow(slidingWindow) }),
};
