/**
 * Llama (Touvron et al., 2023), and models published in its form: TinyLlama, SmolLM2, Yi, DeepSeek-Coder.
 * @module
 */
import { type Architecture, expectLayerTypes } from './architecture.ts';

const MAX_POSITIONS = 2048;

/** It has no biases and no window. */
export const llama: Architecture = {
  className: 'LlamaForCausalLM',
  projectionBias: false,
  headNorm: false,
  absent: { maxPositions: MAX_POSITIONS, bos: 1, eos: 2 },
  window(fields, layers) {
    for (const name of ['attention_bias', 'mlp_bias']) {
      fields.refuse(name, (x) => x !== null && x !== false, 'projections with bias are not supported for Llama');
    }
    // transformers ignores windows for Llama. One as long as the context has no effect, and any other is a mistake.
    const context = fields.whole('max_position_embeddings', 1, MAX_POSITIONS);
    fields.refuse('sliding_window', (x) => x !== null && !(typeof x === 'number' && x >= context),
      'Llama has no window, so the model_type may be wrong');
    expectLayerTypes(fields, layers, 'full_attention', 'for Llama');
    return undefined;
  },
  write: () => ({ attention_bias: false, mlp_bias: false }),
};
