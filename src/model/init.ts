/**
 * The initial weights of training.
 * @module
 */
import { generator, Stream } from '../core/random.ts';
import { type NDArray, ndarray, sizeOf, zeros } from '../core/tensor.ts';
import { expectedWeights, type ModelConfig } from './config/config.ts';

/**
 * Matrices are Normal(0, 0.02), and those that write to the residual stream are scaled by 1/sqrt(2 layers), as in
 * GPT-2. Norms are 1, biases 0, and token-type scorers 0, so that the search begins without preferring a type.
 */
export function initialWeights(config: ModelConfig, seed: number): Map<string, NDArray> {
  const weights = new Map<string, NDArray>();
  let index = 0;
  for (const [name, shape] of expectedWeights(config)) {
    const data = zeros(Float64Array, sizeOf(shape));
    const random = generator(seed, [Stream.WEIGHTS, index++]);
    if (name.endsWith('.bias')) data.fill(0);
    else if (shape.length === 1) data.fill(1);
    else if (!name.endsWith('proj_layer.weight')) {
      const residual = name.endsWith('o_proj.weight') || name.endsWith('down_proj.weight');
      const deviation = 0.02 / (residual ? Math.sqrt(2 * config.layers) : 1);
      for (let n = 0; n < data.length; n++) data[n] = deviation * random.normal();
    }
    weights.set(name, ndarray(data, shape));
  }
  return weights;
}
