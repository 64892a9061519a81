/**
 * Qwen2 and Qwen2.5 (Yang et al., 2024): Llama with biases for queries, keys and values.
 * @module
 */
import type { Fields } from '../config/config-fields.ts';
import { type Architecture, expectLayerTypes } from './architecture.ts';

/** It has biases whatever `attention_bias` says, and a window on all layers or on none. */
export const qwen2: Architecture = {
  className: 'Qwen2ForCausalLM',
  projectionBias: true,
  headNorm: false,
  absent: { kvHeads: 32, maxPositions: 32_768, bos: null, eos: null },
  window: qwenWindow,
  write: writeQwenWindow,
};

/**
 * The sliding window of Qwen. `sliding_window` applies only if `use_sliding_window` is true, and then to the layers
 * from `max_window_layers` on, unless `layer_types` lists them.
 */
export function qwenWindow(fields: Fields, layers: number): number | undefined {
  const used = fields.boolean('use_sliding_window', false) && !fields.isNull('sliding_window');
  if (!used) {
    expectLayerTypes(fields, layers, 'full_attention', 'without use_sliding_window');
    return undefined;
  }
  const window = fields.whole('sliding_window', 1, 4096);
  const listed = fields.strings('layer_types');
  if (listed === undefined) {
    const first = fields.whole('max_window_layers', 0, 28);
    if (first >= layers) return undefined;
    fields.refuse('max_window_layers', () => first > 0,
      `with use_sliding_window it must be 0, or at least the number of layers, ${layers}: a window on only some layers is not supported`);
    if (first > 0) fields.refuse('use_sliding_window', () => true, 'max_window_layers is missing: a window on only some layers is not supported');
    return window;
  }
  if (listed.length === layers && listed.every((kind) => kind === 'full_attention')) return undefined;
  expectLayerTypes(fields, layers, 'sliding_attention', 'a window on only some layers is not supported, so with use_sliding_window');
  return window;
}

/** The fields of config.json for a window. */
export function writeQwenWindow(slidingWindow: number | undefined): object {
  if (slidingWindow === undefined) return { use_sliding_window: false };
  return { use_sliding_window: true, sliding_window: slidingWindow, max_window_layers: 0 };
}
