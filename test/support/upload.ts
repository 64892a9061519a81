/**
 * Turns attention problems into tensors of an engine.
 * @module
 */
import type { AttentionInputs, Tensor } from '../../src/core/engine.ts';
import type { TrainingEngine } from '../../src/core/training-engine.ts';
import type { AttentionProblem } from './arbitraries.ts';

/** The inputs of attention(). */
export function upload(engine: TrainingEngine, p: AttentionProblem): AttentionInputs {
  const { B, G, H, N, d } = p;
  return {
    q: engine.tensor(p.q, [B, H, N, d]),
    k: engine.tensor(p.k, [B, G, N, d]),
    v: engine.tensor(p.v, [B, G, N, d]),
    last: engine.integers(p.last, [B, G, N]),
    scale: p.scale,
  };
}

/** Runs forward, then backward without types, and reads everything back. */
export async function forwardAndBackward(engine: TrainingEngine, p: AttentionProblem): Promise<{
  out: ArrayLike<number>; lse: ArrayLike<number>;
  dq: ArrayLike<number>; dk: ArrayLike<number>; dv: ArrayLike<number>;
}> {
  const inputs = upload(engine, p);
  const { out, lse } = engine.attention(inputs);
  const dOut = engine.tensor(p.dOut, inputs.q.shape);
  const { dq, dk, dv } = engine.attentionBackward({ ...inputs, out, lse, dOut });
  const read = (x: Tensor): Promise<ArrayLike<number>> => engine.read(x);
  return { out: await read(out), lse: await read(lse), dq: await read(dq), dk: await read(dk), dv: await read(dv) };
}
