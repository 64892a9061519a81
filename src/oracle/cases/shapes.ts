/**
 * The shapes that types.ts lists, by name.
 * @module
 */
import { chunkCount } from '../../core/lifetime.ts';
import type { CaseParameters, OutputName } from '../types.ts';

type Shapes<Name extends string> = Readonly<Record<Name, readonly number[]>>;
/** The name of an input. */
export type InputName = 'q' | 'k' | 'v' | 'dout' | 'scores' | 'noise' | 'forced' | 'types';

/** The shape of every input that a case may have. */
export function inputShapes(parameters: CaseParameters): Shapes<InputName> {
  const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, chunk } = parameters;
  const chunks = chunkCount(N, chunk);
  const [queries, keys, scores] = [[B, H, N, d], [B, G, N, d], [B, G, chunks, 3]];
  return {
    q: queries, k: keys, v: keys, dout: queries, scores, noise: scores, forced: [B, chunks], types: [B, G, chunks],
  };
}

/** The shape of every output that a case may have. */
export function outputShapes(parameters: CaseParameters): Shapes<OutputName> {
  const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, chunk, steps } = parameters;
  const [chunks, R] = [chunkCount(N, chunk), steps.length];
  const [queries, keys, perKey, perChunk] = [[B, H, N, d], [B, G, N, d], [B, G, N], [B, G, chunks]];
  return {
    types: perChunk, last: perKey, mask: [B, G, N, N], out: queries, lse: [B, H, N],
    dv: keys, dq: queries, dk: keys, dm_rows: perKey, dw: perChunk, dl: perChunk, dg: perChunk,
    dscores: [B, G, chunks, 3],
    cache_closed_by: perKey, cache_evicted_at: perKey, cache_live: [R, B, G, N], cache_out: queries,
    cache_bytes: [R, B, G],
  };
}
