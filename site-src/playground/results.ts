/** What follows from a setting, computed by the project's float64 reference. */
import { generator } from '../../src/core/random.ts';
import { chunkCount, chunkEnd, FOREVER, TokenType } from '../../src/core/lifetime.ts';
import { ndarray, type NDArray } from '../../src/core/tensor.ts';
import { attention, attentionBackward, maskGradient } from '../../reference/public/attention.ts';
import { KVCache } from '../../reference/public/cache.ts';
import { lifetime } from '../../reference/public/lifetime.ts';
import { attentionMask } from '../../reference/public/mask.ts';
import { addMemoryPrice, keptShare } from '../../reference/public/price.ts';
import { LETTERS, type Setting } from './setting.ts';

/** The size of the only head, so small that every product can be written out. */
export const HEAD_SIZE = 2;

/** Everything that the page shows. Matrices are row-major. */
export interface Results {
  readonly setting: Setting;
  /** Tokens and chunks. */
  readonly N: number;
  readonly chunks: number;
  /** The types of the chunks, 0 to 2, as they count: an unfinished chunk is GLOBAL. */
  readonly types: Int32Array;
  /** last(j), [N]; FOREVER for ever. */
  readonly last: Int32Array;
  /** M, [N,N]. */
  readonly mask: Uint8Array;
  /** q, k, v and the cotangent of the output, [N,2], with one decimal. */
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly v: Float64Array;
  readonly dOut: Float64Array;
  readonly out: Float64Array;
  readonly lse: Float64Array;
  /** dM, [N,N]. */
  readonly dM: Float64Array;
  /** The gradient of the types, [chunks,3], without and with the price. */
  readonly dTypes: Float64Array;
  readonly priced: Float64Array;
  /** K, the price of one token for one query. */
  readonly weight: number;
  readonly share: number;
  /** The positions that the cache holds after each step. */
  readonly held: readonly Int32Array[];
}

/** Computes everything. */
export function compute(setting: Setting): Results {
  const { window, chunk, seed, rule, lambda } = setting;
  const N = setting.types.length;
  const chunks = chunkCount(N, chunk);
  const types = Int32Array.from({ length: chunks }, (_, c) =>
    (chunkEnd(c, chunk) < N ? LETTERS.indexOf(setting.types[c * chunk]) : TokenType.GLOBAL));
  const random = generator(seed, [40]);
  const numbers = (): NDArray<Float64Array> =>
    ndarray(Float64Array.from({ length: 2 * N }, () => Math.round(12 * random.normal()) / 10), [1, 1, N, HEAD_SIZE]);
  const [q, k, v, dOut] = [numbers(), numbers(), numbers(), numbers()];
  const typed = ndarray(types, [1, 1, chunks]);
  const last = lifetime(typed, { window, chunk, length: N });
  const inputs = { q, k, v, last };
  const { out, lse } = attention(inputs);
  const backward = { ...inputs, out, lse, dOut, rule };
  const dM = maskGradient(backward);
  const { dTypes } = attentionBackward({ ...backward, types: typed, window, chunk });
  const weight = 2 * lambda / (N * N);
  const priced = addMemoryPrice({ dTypes: dTypes!, types: typed, length: N, window, chunk, weight });
  const float = ({ data }: NDArray): Float64Array => Float64Array.from(data);
  return {
    setting, N, chunks, types, last: last.data, mask: attentionMask(last).data,
    q: q.data, k: k.data, v: v.data, dOut: dOut.data,
    out: float(out), lse: float(lse), dM: float(dM), dTypes: float(dTypes!), priced: float(priced), weight,
    share: keptShare(last).data[0], held: heldAfter(setting, types, [q, k, v]),
  };
}

/** Feeds the tokens to the evicting cache one by one, and asks what it holds. */
function heldAfter(
  { window, chunk }: Setting, types: Int32Array, inputs: readonly NDArray<Float64Array>[],
): Int32Array[] {
  const cache = new KVCache({ batch: 1, kvHeads: 1, headDim: HEAD_SIZE, window, chunk, blockSize: 4 });
  const N = inputs[0].shape[2];
  return Array.from({ length: N }, (_, i) => {
    const [q, k, v] = inputs.map(({ data }) => ndarray(data.slice(2 * i, 2 * i + 2), [1, 1, 1, HEAD_SIZE]));
    const type = types[Math.floor(i / chunk)];
    cache.step({ q, k, v, types: ndarray(Int32Array.of(type), [1, 1, 1]) });
    return cache.positions(0, 0);
  });
}

/** The type of a token. */
export const typeOf = ({ types, setting: { chunk } }: Results, j: number): number => types[Math.floor(j / chunk)];

/** e: the last token of the first GLOBAL chunk after chunk c, or undefined if there is none. */
export function closing({ types, setting: { chunk } }: Results, c: number): number | undefined {
  const at = types.findIndex((type, n) => n > c && type === TokenType.GLOBAL);
  return at < 0 ? undefined : chunkEnd(at, chunk);
}

/** How last(j) is written. */
export const shownLast = (last: number): string => (last === FOREVER ? '∞' : String(last));
