/**
 * The kernel with keys expanded to the query heads, so that a mistake can be in some query heads of a group.
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import type { OracleCase, Tensors } from '../../../src/oracle/types.ts';
import type { Hooks } from '../hooks.ts';
import { run } from '../kernel.ts';
import { f } from './parts.ts';

const OF_KV = ['k', 'v', 'types', 'scores', 'noise'];
const SUMMED = ['dk', 'dv', 'dm_rows', 'dw', 'dl', 'dg', 'dscores'];
const OF_ONE = ['types', 'last', 'mask', 'cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_bytes'];

/** Outputs of the case with a KV head for each query head; a hook's Head is then b H + h. Shapes say G, data hold H. */
export function expanded(each: OracleCase, hooks: Hooks): Tensors {
  const { queryHeads: H, kvHeads: G, price } = each.parameters;
  const R = H / G;
  const inputs = Object.fromEntries(Object.entries(each.inputs).map(([name, tensor]): [string, NamedTensor] => {
    if (!OF_KV.includes(name)) return [name, tensor];
    const [B, , ...rest] = tensor.shape;
    const each1 = rest.reduce((a, b) => a * b, 1);
    const of = (n: number): number => tensor.data[Math.floor(n / (each1 * R)) * each1 + n % each1];
    const [length, shape] = [B * H * each1, [B, H, ...rest]];
    return [name, tensor.dtype === 'F64'
      ? { dtype: 'F64', shape, data: Float64Array.from({ length }, (_, n) => of(n)) }
      : { dtype: 'I32', shape, data: Int32Array.from({ length }, (_, n) => of(n)) }];
  }));
  // The price is added once per KV head, and the gradient of scores is linear in it.
  return run({ ...each, inputs, parameters: { ...each.parameters, kvHeads: H, price: price / R } }, hooks);
}

/**
 * Adds up what belongs to a group.
 *
 * @param heads The query heads of the sums of KV head g, by output.
 */
export function folded(
  each: OracleCase, raw: Tensors, heads?: (name: string, g: number) => readonly number[],
): Tensors {
  const { queryHeads: H, kvHeads: G } = each.parameters;
  const R = H / G;
  const right = (g: number): number[] => Array.from({ length: R }, (_, r) => g * R + r);
  return Object.fromEntries(Object.entries(raw).map(([name, tensor]): [string, NamedTensor] => {
    const [summed, one] = [SUMMED.includes(name), OF_ONE.includes(name)];
    if (!summed && !one) return [name, tensor];
    const { shape } = tensor;
    const axis = name === 'cache_live' || name === 'cache_bytes' ? 2 : 1;
    const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    const length = shape.reduce((a, b) => a * b, 1);
    const of = (n: number): number => {
      const [outer, g, rest] = [Math.floor(n / (inner * G)), Math.floor(n / inner) % G, n % inner];
      const at = (h: number): number => tensor.data[(outer * H + h) * inner + rest];
      return one ? at(g * R) : (heads?.(name, g) ?? right(g)).reduce((sum, h) => f(sum + at(h)), 0);
    };
    return [name, one
      ? { dtype: 'I32', shape, data: Int32Array.from({ length }, (_, n) => of(n)) }
      : { dtype: 'F32', shape, data: Float64Array.from({ length }, (_, n) => of(n)) }];
  }));
}
