/**
 * The composition root: the only file that knows which engines exist.
 * @module
 */
import { ReferenceEngine } from '../reference/index.ts';
import type { Engine } from './engine.ts';

/**
 * Creates an engine.
 *
 * @param options.precision `float64` (default) or `float32`, in which every result is stored rounded.
 * @returns The engine; `dispose()` it when done.
 * @example
 * ```ts
 * import { createEngine } from 'neural-attention-search';
 * const engine = createEngine();
 * const sum = engine.add(engine.tensor([1, 2], [2]), engine.tensor([3, 4], [2]));
 * console.log([...(await engine.read(sum))]); // [4,6]
 * engine.dispose();
 * ```
 */
export function createEngine(options: { precision?: 'float64' | 'float32' } = {}): Engine {
  return new ReferenceEngine(options.precision);
}

export { attention, type AttentionArguments, attentionBackward, type AttentionBackwardArguments, maskGradient } from '../reference/attention.ts';
export { KVCache, type StepInputs } from '../reference/cache.ts';
export { lifetime } from '../reference/lifetime.ts';
export { attentionMask, relaxedMask } from '../reference/mask.ts';
export { addMemoryPrice, keptShare } from '../reference/price.ts';
export { selectTokenTypes, tokenTypesBackward } from '../reference/search.ts';
