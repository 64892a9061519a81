/**
 * Outputs whose axes are in another order than that of the truths.
 * @module
 */
import type { NamedTensor } from '../formats/named-tensor.ts';
import type { OracleCase, Tensors } from '../oracle/types.ts';

/** The outputs that have heads and tokens as separate axes. */
const TURNED = ['out', 'lse', 'dq', 'dk', 'dv', 'cache_out'];

/**
 * The outputs with heads before tokens: [B,N,H,d] becomes [B,H,N,d], and lse [B,N,H] becomes [B,H,N]. An lse that is
 * [B,H,N] already, as many kernels write it, is left as it is.
 */
export function inOrder(outputs: Tensors, layout: 'bhnd' | 'bnhd', { expected }: OracleCase): Tensors {
  if (layout === 'bhnd') return outputs;
  return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => {
    const wanted = expected[name]?.shape;
    if (!wanted || !TURNED.includes(name) || tensor.shape.length !== wanted.length) return [name, tensor];
    if (name === 'lse' && String(tensor.shape) === String(wanted) && wanted[1] !== wanted[2]) return [name, tensor];
    return [name, turned(tensor)];
  }));
}

/** Swaps the second and the third axis. */
function turned(tensor: NamedTensor): NamedTensor {
  const [B, N, H, ...rest] = tensor.shape;
  const d = rest.reduce((a, b) => a * b, 1);
  const data = tensor.data.slice();
  for (let b = 0; b < B; b++) {
    for (let n = 0; n < N; n++) {
      for (let h = 0; h < H; h++) {
        const from = ((b * N + n) * H + h) * d;
        const to = ((b * H + h) * N + n) * d;
        for (let c = 0; c < d; c++) data[to + c] = tensor.data[from + c];
      }
    }
  }
  return { ...tensor, shape: [B, H, N, ...rest], data } as NamedTensor;
}
