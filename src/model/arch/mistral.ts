/**
 * Mistral (Jiang et al., 2023): Llama with a sliding window, which v0.2 and later do without.
 * @module
 */
import { type Architecture, expectLayerTypes } from './architecture.ts';

/** It has a window of 4,096 tokens if config.json does not mention it, and none if config.json says null. */
export const mistral: Architecture = {
  className: 'MistralForCausalLM',
  projectionBias: false,
  headNorm: false,
  absent: { kvHeads: 8, maxPositions: 131_072, bos: 1, eos: 2 },
  window(fields, layers) {
    const absent = fields.lacks('sliding_window');
    const window = absent ? 4096 : fields.has('sliding_window') ? fields.whole('sliding_window', 1) : undefined;
    expectLayerTypes(fields, layers, window === undefined ? 'full_attention' : 'sliding_attention',
      `with sliding_window ${window ?? null}`);
    return window;
  },
  write: (slidingWindow) => ({ sliding_window: slidingWindow ?? null }),
};
