/**
 * The truths of a case from its inputs, by an engine: float64 by the reference.
 * @module
 */
import type { Engine, Tensor } from '../engine.ts';
import type { FloatTensor, IntegerTensor, NamedTensor } from '../io/named-tensor.ts';
import { chunkCount, chunkEnd, chunkOf, TokenType } from '../lifetime.ts';
import { sizeOf } from '../tensor.ts';
import { maskGradientRowSums } from './pairs.ts';
import { bytesPerEntry, type CaseParameters, MOST_MASK_TOKENS, type Tensors } from './types.ts';

const float = (data: ArrayLike<number>, shape: readonly number[]): FloatTensor =>
  ({ dtype: 'F64', shape, data: Float64Array.from(data) });
const whole = (data: ArrayLike<number>, shape: readonly number[], dtype: 'I32' | 'U8' = 'I32'): IntegerTensor =>
  ({ dtype, shape, data: Int32Array.from(data) });

/** Everything of OUTPUT_ORDER that the inputs determine, in that order. */
export async function solve(engine: Engine, parameters: CaseParameters, inputs: Tensors): Promise<Tensors> {
  const { tokens: N, window, chunk, scale, rule, temperature, price } = parameters;
  const made: { dispose(): void }[] = [];
  const keep = <T extends { dispose(): void }>(each: T): T => (made.push(each), each);
  const up = (name: string): Tensor => {
    const { data, shape, dtype } = inputs[name] as NamedTensor;
    const integer = dtype === 'I32' || dtype === 'I64' || dtype === 'U8' || dtype === 'BOOL';
    return keep(integer ? engine.integers(data, shape) : engine.tensor(data, shape));
  };
  const expected: Record<string, NamedTensor> = {};
  const give = async (name: string, tensor: Tensor): Promise<Float64Array> => {
    const data = Float64Array.from(await engine.read(tensor));
    expected[name] = float(data, tensor.shape);
    return data;
  };
  try {
    const searched = inputs.scores !== undefined;
    const forceGlobal = inputs.forced && up('forced');
    const chosen = searched ? engine.tokenTypes(up('scores'), {
      temperature, ...(inputs.noise && { noise: up('noise') }), ...(forceGlobal && { forceGlobal }),
    }) : undefined;
    if (chosen) [chosen.types, chosen.probabilities].forEach(keep);
    const types = chosen?.types ?? up('types');
    const typeValues = await engine.readIntegers(types);
    if (chosen) expected.types = whole(typeValues, types.shape);
    const last = keep(engine.lifetime(types, N, { window, chunk }));
    const lastValues = await engine.readIntegers(last);
    expected.last = whole(lastValues, last.shape);
    if (N <= MOST_MASK_TOKENS) expected.mask = maskOf(lastValues, last.shape);
    const attended = { q: up('q'), k: up('k'), v: up('v'), last, scale };
    const { out, lse } = engine.attention(attended);
    [out, lse].forEach(keep);
    await give('out', out);
    await give('lse', lse);
    if (inputs.dout) {
      const backward = { ...attended, out, lse, dOut: up('dout') };
      const { dq, dk, dv, dTypes } = engine.attentionBackward({ ...backward, types: { types, rule, window, chunk } });
      [dq, dk, dv, dTypes!].forEach(keep);
      await give('dv', dv);
      await give('dq', dq);
      await give('dk', dk);
      expected.dm_rows = maskGradientRowSums(parameters, inputs, {
        out: expected.out as FloatTensor, lse: expected.lse as FloatTensor,
      });
      const triples = await engine.read(dTypes!);
      for (const [name, which] of [['dw', 2], ['dl', 1], ['dg', 0]] as const) {
        expected[name] = float(triples.filter((_, n) => n % 3 === which), types.shape);
      }
      if (chosen) {
        const priced = price === 0 ? dTypes! :
          keep(engine.addMemoryPrice(dTypes!, types, N, { window, chunk, weight: price }));
        const options = { temperature, ...(forceGlobal && { forceGlobal }) };
        await give('dscores', keep(engine.tokenTypesBackward(priced, chosen.probabilities, options)));
      }
    }
    if (parameters.steps.length > 0) {
      Object.assign(expected, trace(parameters, typeValues, lastValues, expected.out as FloatTensor));
    }
    return expected;
  } finally {
    for (const each of made) each.dispose();
  }
}

function maskOf(last: Int32Array, [B, G, N]: readonly number[]): IntegerTensor {
  const shape = [B!, G!, N!, N!];
  const mask = new Int32Array(sizeOf(shape));
  for (let head = 0; head < B! * G!; head++) {
    for (let i = 0; i < N!; i++) {
      for (let j = 0; j <= i; j++) if (i <= last[head * N! + j]!) mask[(head * N! + i) * N! + j] = 1;
    }
  }
  return whole(mask, shape, 'U8');
}

/**
 * §8 read off the lifetimes: by its law, a cache that takes `steps` holds after each exactly the positions that the
 * next query may still see, and its outputs are those of full masked attention. While a LOCAL token's closer has not
 * come, its last() is open, so nothing is dropped early.
 */
function trace(
  { batch: B, kvHeads: G, tokens: N, headDim, chunk, steps }: CaseParameters, types: Int32Array, last: Int32Array,
  out: FloatTensor,
): Tensors {
  const chunks = chunkCount(N, chunk);
  const R = steps.length;
  const live = new Int32Array(R * B * G * N);
  const bytes = new Int32Array(R * B * G);
  const closedBy = new Int32Array(B * G * N).fill(-1);
  const evictedAt = new Int32Array(B * G * N).fill(-1);
  for (let head = 0; head < B * G; head++) {
    for (let j = 0; j < N; j++) {
      const at = head * N + j;
      const full = chunkEnd(chunkOf(j, chunk), chunk) < N;
      const local = full && types[head * chunks + chunkOf(j, chunk)] === TokenType.LOCAL;
      if (local && last[at]! < N) closedBy[at] = last[at]!;
    }
    let next = 0;
    for (let r = 0; r < R; r++) {
      next += steps[r]!;
      let held = 0;
      for (let j = 0; j < next; j++) {
        if (last[head * N + j]! >= next) {
          live[(r * B * G + head) * N + j] = 1;
          held++;
        } else if (evictedAt[head * N + j] === -1) evictedAt[head * N + j] = r;
      }
      bytes[r * B * G + head] = held * bytesPerEntry(headDim);
    }
  }
  return {
    cache_closed_by: whole(closedBy, [B, G, N]),
    cache_evicted_at: whole(evictedAt, [B, G, N]),
    cache_live: whole(live, [R, B, G, N], 'U8'),
    cache_out: { ...out, data: out.data.slice() },
    cache_bytes: whole(bytes, [R, B, G]),
  };
}
