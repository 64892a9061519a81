/**
 * Prefill by the fast kernels: the lists, then attention, in ranges of tiles as an engine would do it.
 * @module
 */
import { type FastKernel, immortalKeys, LIST_BLOCK, type PrefillSizes, tileKeys } from '../../gpu/wgsl/fast/index.ts';
import type { FastRun } from './fast-run.ts';

/** A call: query t of each head is the token of key starts[head] + t; last [heads,keys] counts in keys. */
export interface Prefill {
  readonly heads: number;
  readonly group: number;
  readonly d: number;
  readonly T: number;
  readonly keys: number;
  readonly starts: readonly number[];
  readonly last: Uint32Array;
  readonly scale: number;
  readonly q: Float32Array | Uint32Array;
  readonly k: Float32Array | Uint32Array;
  readonly v: Float32Array | Uint32Array;
}

/** out [heads*group,T,d] and lse [heads*group,T]; each range has `range` tiles, and each list `room` keys. */
export async function prefillOn(
  run: FastRun, kernel: FastKernel<PrefillSizes>, tile: number, call: Prefill, range: number, room: number,
): Promise<{ out: Float32Array; lse: Float32Array }> {
  const { heads, group, d, T, keys, scale } = call;
  const rows = heads * group * T;
  const arrays = {
    q: run.buffer(call.q), k: run.buffer(call.k), v: run.buffer(call.v), last: run.buffer(call.last),
    starts: run.buffer(Uint32Array.from(call.starts)), ranks: run.buffer(heads * keys),
    reach: run.buffer(heads * Math.ceil(keys / LIST_BLOCK)), lists: run.buffer(heads * keys + heads * range * room),
    records: run.buffer(heads * range * 4), out: run.buffer(rows * d), lse: run.buffer(rows),
  };
  await run.run(immortalKeys(), { heads }, { keys, T }, arrays);
  const all = Math.ceil(T / tile);
  for (let first = 0; first < all; first += range) {
    const tiles = Math.min(range, all - first);
    const params = { T, keys, heads, tiles, first, room, scale };
    await run.run(tileKeys(tile), { heads, tiles }, params, arrays);
    await run.run(kernel, { heads, tiles }, params, arrays);
  }
  return { out: await run.read(arrays.out, rows * d), lse: await run.read(arrays.lse, rows) };
}
