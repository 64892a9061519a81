/**
 * What a kernel's author may submit: the names of outputs, groups of names, and the arithmetic that they claim.
 * @module
 */
import { ValueError } from '../../core/errors.ts';
import {
  type ClaimedDtype, type Divergence, OUTPUT_ORDER, type OutputName, type TensorReport, type Tensors,
} from '../types.ts';

/** The groups of outputs that types.ts lists. */
export const OUTPUT_GROUPS: Readonly<Record<string, readonly OutputName[]>> = {
  search: ['types'],
  life: ['last', 'mask'],
  forward: ['out', 'lse'],
  backward: ['dv', 'dq', 'dk'],
  types: ['types', 'dm_rows', 'dw', 'dl', 'dg', 'dscores'],
  cache: ['cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes'],
};

/**
 * The outputs that names and names of groups stand for, in the order of the algorithm.
 *
 * @throws {ValueError} If a name is neither an output nor a group.
 */
export function outputNames(names: readonly string[]): readonly OutputName[] {
  const wanted = new Set<string>();
  for (const name of names) {
    const group = Object.hasOwn(OUTPUT_GROUPS, name) ? OUTPUT_GROUPS[name] : undefined;
    if (!group && !(OUTPUT_ORDER as readonly string[]).includes(name)) {
      const known = [...Object.keys(OUTPUT_GROUPS), ...OUTPUT_ORDER.filter((each) => each !== 'types')];
      throw new ValueError(`there is no output '${name}': the names are ${known.join(', ')}`);
    }
    for (const each of group ?? [name]) wanted.add(each);
  }
  return OUTPUT_ORDER.filter((name) => wanted.has(name));
}

/** The claim of outputs that come without one: the dtype of `out` if it has 16 bits, else f32. */
export function claimOf(outputs: Tensors): ClaimedDtype {
  const dtype = outputs.out?.dtype;
  return dtype === 'F16' ? 'f16' : dtype === 'BF16' ? 'bf16' : 'f32';
}

/** What an axis of an output counts. */
export type Axis = 'batch' | 'head' | 'kvHead' | 'query' | 'key' | 'step' | 'other';
const QUERIES = ['batch', 'head', 'query', 'other'] as const;
const KEYS = ['batch', 'kvHead', 'key', 'other'] as const;
/** What each axis of an output counts. */
export const AXES: Readonly<Record<OutputName, readonly Axis[]>> = {
  types: KEYS, last: KEYS, mask: ['batch', 'kvHead', 'query', 'key'], out: QUERIES, lse: QUERIES,
  dv: KEYS, dq: QUERIES, dk: KEYS, dm_rows: ['batch', 'kvHead', 'query'], dw: KEYS, dl: KEYS, dg: KEYS, dscores: KEYS,
  cache_closed_by: KEYS, cache_evicted_at: KEYS, cache_live: ['step', 'batch', 'kvHead', 'key'], cache_out: QUERIES,
  cache_bytes: ['step', 'batch', 'kvHead'],
};

/** The first failing element of the first failing output, if any. `key` is a chunk where the output has chunks. */
export function divergenceOf(
  expected: Tensors, outputs: Tensors, reports: readonly TensorReport[],
): Divergence | undefined {
  const report = reports.find(({ status, first }) => status === 'fail' && first !== undefined);
  if (!report) return undefined;
  const { name, first: at } = report;
  const truth = expected[name];
  let rest = at!;
  const index = truth.shape.toReversed().map((size) => {
    const n = rest % size;
    rest = (rest - n) / size;
    return n;
  }).reverse();
  const named = index.map((n, axis) => [AXES[name as OutputName][axis], n] as const)
    .filter(([axis]) => axis !== 'other');
  return {
    tensor: name, index, ...Object.fromEntries(named), expected: truth.data[at!], actual: outputs[name].data[at!],
  };
}
