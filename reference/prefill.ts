/**
 * §8 for a whole prompt: masked attention over all of its tokens, and the entries that are kept after it.
 * @module
 */
import type { CacheOptions, CacheStep } from '../src/core/cache.ts';
import { endWithin, chunkCount, FOREVER, isEvictable, type TokenType } from '../src/core/lifetime.ts';
import type { AppendSizes } from '../src/core/sizes.ts';
import { type FloatArray, type NDArray, zerosLike } from '../src/core/tensor.ts';
import { attention } from './attention.ts';
import { lifetime, tokenTypesOfHead } from './lifetime.ts';

/** A prompt: q [B,H,T,d], k and v [B,G,T,d]. */
export interface Prompt extends Pick<CacheStep<NDArray>, 'q' | 'k' | 'v' | 'scale'> {
  readonly types: NDArray<Int32Array>;
}

/** What one KV head keeps of a prompt, and what its queries saw. */
interface HeadResult {
  readonly survivors: readonly { readonly position: number; readonly type: TokenType; readonly last: number }[];
  readonly visiblePairs: number;
  readonly peakLive: number;
}

/**
 * Reads the first `count` tokens of KV head `head` = b G + g, and writes its rows of `out`.
 *
 * @param asStored Rounds keys and values as the cache stores them, so that queries see the same as they would in steps.
 */
export function prefillHead(
  { q, k, v, types, scale }: Prompt, head: number, count: number, { T, rows, H }: AppendSizes & { H: number },
  options: CacheOptions, asStored: (x: FloatArray) => FloatArray, out: FloatArray,
): HeadResult {
  const { kvHeads, headDim: d, chunk, reach } = options;
  const share = H / kvHeads;
  const ofHead = (x: FloatArray) => asStored(x.subarray(head * T * d, (head * T + count) * d));
  const shape = [1, 1, count, d];
  // Leave out a chunk that is not full: it closes nothing yet, and its own tokens are kept for now.
  const full = Math.floor(count / chunk) * chunk;
  const own = types.data.subarray(head * rows, head * rows + full / chunk);
  const kinds: NDArray<Int32Array> = { data: own, shape: [1, 1, own.length] };
  const sizes = { B: 1, G: 1, N: full, chunks: chunkCount(full, chunk) };
  const last = new Int32Array(count).fill(FOREVER);
  last.set(lifetime(kinds, { window: options.window, localWindow: options.localWindow, chunk }, sizes).data);
  const seenUntil = last.map((end, j) => endWithin(end, j, reach));

  const group = zerosLike(q.data, share * count * d);
  for (let h = 0; h < share; h++) {
    const start = (head * share + h) * T * d;
    group.set(q.data.subarray(start, start + count * d), h * count * d);
  }
  const { data } = attention({
    q: { data: group, shape: [1, share, count, d] },
    k: { data: ofHead(k.data), shape },
    v: { data: ofHead(v.data), shape },
    last: { data: seenUntil, shape: [1, 1, count] },
    scale,
  }, { B: 1, H: share, G: 1, N: count, d }).out;
  for (let h = 0; h < share; h++) {
    out.set(data.subarray(h * count * d, (h + 1) * count * d), (head * share + h) * T * d);
  }

  const ofToken = tokenTypesOfHead(types.data, head * rows, chunk, count);
  const survivors = Array.from(last, (end, position) => ({ position, type: ofToken[position] as TokenType, last: end }))
    .filter(({ position }) => !isEvictable(seenUntil[position], count));
  return { survivors, ...visible(seenUntil) };
}

/** How many pairs j <= i <= last(j) there are, and the most that one query sees. */
function visible(last: Int32Array): { visiblePairs: number; peakLive: number } {
  const ends = new Int32Array(last.length + 1); // the number of tokens whose lifetime ends just before query i
  let [live, visiblePairs, peakLive] = [0, 0, 0];
  for (let i = 0; i < last.length; i++) {
    live += 1 - ends[i];
    if (last[i] < last.length) ends[last[i] + 1]++;
    visiblePairs += live;
    peakLive = Math.max(peakLive, live);
  }
  return { visiblePairs, peakLive };
}
