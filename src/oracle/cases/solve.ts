/**
 * Computes the truths of a case from its inputs, in float64.
 * @module
 */
import type { Tensor } from '../../core/engine.ts';
import type { TrainingEngine } from '../../core/training-engine.ts';
import type { FloatTensor, IntegerTensor, NamedTensor } from '../../formats/named-tensor.ts';
import { chunkCount, chunkEnd, chunkOf, TokenType } from '../../core/lifetime.ts';
import { sizeOf } from '../../core/tensor.ts';
import { attentionTruths } from './attention-truths.ts';
import { exp } from '../../core/elementary.ts';
import { bytesPerEntry, type CaseParameters, MOST_MASK_TOKENS, type Tensors } from '../types.ts';

const float = (data: ArrayLike<number>, shape: readonly number[]): FloatTensor =>
  ({ dtype: 'F64', shape, data: Float64Array.from(data) });
const whole = (data: ArrayLike<number>, shape: readonly number[], dtype: 'I32' | 'U8' = 'I32'): IntegerTensor =>
  ({ dtype, shape, data: Int32Array.from(data) });

/**
 * Every output of OUTPUT_ORDER that the inputs determine, in that order.
 *
 * @param engine A float64 engine. It computes types and lifetimes, which are whole numbers, and gradients of the price
 * and of scores, which take only sums and products. The exponentials are the oracle's own, so that the bits do not
 * depend on a platform's mathematical library.
 */
export async function solve(engine: TrainingEngine, parameters: CaseParameters, inputs: Tensors): Promise<Tensors> {
  const { tokens: N, window, chunk, temperature, price, steps } = parameters;
  const made: { dispose(): void }[] = [];
  const keep = <T extends { dispose(): void }>(each: T): T => (made.push(each), each);
  const up = ({ data, shape }: NamedTensor): Tensor =>
    keep(data instanceof Int32Array ? engine.integers(data, shape) : engine.tensor(data, shape));
  const expected: Record<string, NamedTensor> = {};
  try {
    const { scores, noise, forced } = inputs;
    const forcing = forced && { forceGlobal: up(forced) };
    const noisy = noise && { noise: up(noise) };
    const chosen = scores && engine.tokenTypes(up(scores), { temperature, ...noisy, ...forcing });
    if (chosen) [chosen.types, chosen.probabilities].forEach(keep);
    const types = chosen?.types ?? up(inputs.types);
    const typeValues = await engine.readIntegers(types);
    if (chosen) expected.types = whole(typeValues, types.shape);
    const last = keep(engine.lifetime(types, N, { window, chunk }));
    const lastValues = await engine.readIntegers(last);
    expected.last = whole(lastValues, last.shape);
    if (N <= MOST_MASK_TOKENS) expected.mask = maskOf(lastValues, last.shape);
    const truths = attentionTruths(parameters, inputs, typeValues, lastValues);
    Object.assign(expected, truths);
    if (scores && inputs.dout) {
      const triples = ['dg', 'dl', 'dw'].map((name) => expected[name].data);
      const dTypes = up(float(Array.from(scores.data, (_, n) => triples[n % 3][Math.floor(n / 3)]), scores.shape));
      const priced = keep(engine.addMemoryPrice(dTypes, types, N, { window, chunk, weight: price }));
      const probabilities = up(softmax(scores, noise, temperature));
      const dScores = keep(engine.tokenTypesBackward(priced, probabilities, { temperature, ...forcing }));
      expected.dscores = float(await engine.read(dScores), dScores.shape);
    }
    if (steps.length > 0) Object.assign(expected, trace(parameters, typeValues, lastValues, truths.out!));
    return expected;
  } finally {
    for (const each of made) each.dispose();
  }
}

/** The probabilities of §6. */
function softmax(scores: NamedTensor, noise: NamedTensor | undefined, temperature: number): FloatTensor {
  const y = Float64Array.from(scores.data, (x, n) => x + (noise?.data[n] ?? 0));
  for (let t = 0; t < y.length; t += 3) {
    const max = Math.max(y[t], y[t + 1], y[t + 2]);
    const E = [0, 1, 2].map((c) => exp((y[t + c] - max) / temperature));
    for (let c = 0; c < 3; c++) y[t + c] = E[c] / (E[0] + E[1] + E[2]);
  }
  return float(y, scores.shape);
}

function maskOf(last: Int32Array, [B, G, N]: readonly number[]): IntegerTensor {
  const shape = [B, G, N, N];
  const mask = new Int32Array(sizeOf(shape));
  for (let head = 0; head < B * G; head++) {
    for (let i = 0; i < N; i++) {
      for (let j = 0; j <= i; j++) if (i <= last[head * N + j]) mask[(head * N + i) * N + j] = 1;
    }
  }
  return whole(mask, shape, 'U8');
}

/**
 * §8, derived from the lifetimes. By its law, the cache holds after each step exactly the positions that the next query
 * may still see, and its outputs are those of full masked attention. Until the GLOBAL that closes a LOCAL token has
 * come, the token's last() lies in the future, so nothing is dropped early.
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
      if (local && last[at] < N) closedBy[at] = last[at];
    }
    let next = 0;
    for (let r = 0; r < R; r++) {
      next += steps[r];
      let held = 0;
      for (let j = 0; j < next; j++) {
        if (last[head * N + j] >= next) {
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
