/**
 * §8: the evicting cache. Every KV head holds its own number of entries, in blocks of its own. Dead entries are freed,
 * and survivors keep their positions.
 * @module
 */
import {
  type CacheDtype, type CacheOptions, type CacheSnapshot, type CacheStats, entryBytes,
} from '../src/core/cache.ts';
import { exp } from '../src/core/elementary.ts';
import { ValueError } from '../src/core/errors.ts';
import {
  endWithin, chunkEnd, chunkOf, FOREVER, isEvictable, isVisible, localEnd, TokenType, windowEnd,
} from '../src/core/lifetime.ts';
import type { AppendSizes } from '../src/core/sizes.ts';
import { type FloatArray, type NDArray, zeros, zerosLike } from '../src/core/tensor.ts';
import { dtypeOf, HeadEntries, roundedTo, stored } from './cache-entries.ts';
import { axpy, dot } from './matmul.ts';
import { type Prompt, prefillHead } from './prefill.ts';

/**
 * The evicting KV cache of one layer (§8), for B sequences and G KV heads of size d.
 *
 * A step is append, attend, evict. Its outputs equal row i of full masked attention for every split of
 * a sequence into steps, and a key is held exactly while a query may still see it: after a step the
 * positions held are { j : last(j) >= next query }. Memory is a whole number of blocks per head.
 */
export class EvictingCache {
  readonly options: CacheOptions;
  #heads: HeadEntries[] = [];
  #seen: Int32Array;
  #counts: readonly number[] = [];
  #peakLive: Int32Array;
  #visiblePairs: Float64Array;
  /** The dtype of keys and values. Without the option `storage`, it is f64 until the first append. */
  #dtype: CacheDtype;

  constructor(options: CacheOptions, dtype: CacheDtype = options.storage ?? 'f64') {
    this.#dtype = dtype;
    this.options = options;
    const { batch, kvHeads } = options;
    this.#seen = zeros(Int32Array, batch);
    this.#peakLive = zeros(Int32Array, batch * kvHeads);
    this.#visiblePairs = zeros(Float64Array, batch * kvHeads);
    this.clear();
  }

  /** Appends, attends and evicts. Returns out [B,H,T,d], with rows beyond counts[b] 0. */
  step({ q, k, v, types, scale }: Prompt, sizes: AppendSizes & { H: number }): NDArray {
    this.append(k, v, types, sizes);
    const out = this.attend(q, scale, sizes);
    this.evict();
    return out;
  }

  /** The same for a cache that has not seen any token. Only the entries that are kept are ever stored. */
  prefill(step: Prompt, sizes: AppendSizes & { H: number }): NDArray {
    const { k, v } = step;
    const { headDim: d, blockSize, kvHeads } = this.options;
    const out = zerosLike(step.q.data, step.q.data.length);
    this.#dtype = this.options.storage ?? dtypeOf(k.data);
    this.#counts = sizes.counts;
    this.#seen.set(sizes.counts);
    for (let head = 0; head < this.#peakLive.length; head++) {
      const count = sizes.counts[Math.floor(head / kvHeads)];
      const found = prefillHead(step, head, count, sizes, this.options, (x) => roundedTo(this.#dtype, x), out);
      this.#visiblePairs[head] = found.visiblePairs;
      this.#peakLive[head] = found.peakLive;
      const entries = (this.#heads[head] = new HeadEntries(d, blockSize, this.#dtype));
      for (const { position, type, last } of found.survivors) {
        entries.push(k.data, v.data, (head * sizes.T + position) * d, position, type, last);
      }
    }
    return { data: out, shape: step.q.shape };
  }

  /**
   * Step 1: appends k and v [B,G,T,d]. types [B,G,nc] has one type per chunk that the step touches: row r is chunk
   * floor(seen_b / C) + r. The type of a chunk that is not yet full is ignored.
   */
  append(k: NDArray, v: NDArray, types: NDArray<Int32Array>, { T, rows, counts }: AppendSizes): void {
    const { batch, kvHeads, headDim, chunk, blockSize } = this.options;
    this.#counts = counts;
    this.#dtype = this.options.storage ?? dtypeOf(k.data);
    for (let b = 0; b < batch; b++) {
      const seen = this.#seen[b];
      if (seen + this.#counts[b] >= FOREVER) throw new ValueError(`sequence ${b} would reach ${FOREVER} tokens: clear() the cache`);
      for (let g = 0; g < kvHeads; g++) {
        const head = b * kvHeads + g;
        const entries = (this.#heads[head] ??= new HeadEntries(headDim, blockSize, this.#dtype));
        for (let t = 0; t < this.#counts[b]; t++) {
          const position = seen + t;
          const c = chunkOf(position, chunk);
          entries.push(k.data, v.data, (head * T + t) * headDim, position);
          // A chunk's type takes effect when its last token arrives; until then it counts as GLOBAL.
          if (position === chunkEnd(c, chunk)) {
            this.#settle(entries, c, types.data[head * rows + c - chunkOf(seen, chunk)]);
          }
        }
      }
      this.#seen[b] = seen + this.#counts[b];
    }
  }

  /** Sets the lifetimes of the entries of chunk c, which is full. A GLOBAL chunk closes every open LOCAL entry. */
  #settle(entries: HeadEntries, c: number, type: number): void {
    const { chunk, window, localWindow } = this.options;
    const end = chunkEnd(c, chunk);
    if (type === TokenType.GLOBAL && localWindow === undefined) entries.closeLocals(end);
    const local = localEnd(c, chunk, FOREVER, localWindow);
    const last = type === TokenType.GLOBAL ? FOREVER : type === TokenType.LOCAL ? local : windowEnd(c, chunk, window);
    entries.setLifetime(c * chunk, type, last);
  }

  /** Step 2: attention of the newest queries q [B,H,T,d] over all entries, both cached and new. */
  attend(q: NDArray, scale: number, { H, T }: { H: number; T: number }): NDArray {
    const { batch, kvHeads: G, headDim: d } = this.options;
    const out = zerosLike(q.data, q.data.length);
    for (let head = 0; head < batch * G; head++) {
      const b = Math.floor(head / G);
      const count = this.#counts[b] ?? 0;
      for (let t = 0; t < count; t++) {
        const i = this.#seen[b] - count + t;
        let visible = 0;
        for (let h = 0; h < H / G; h++) {
          const row = (b * H + (head % G) * (H / G) + h) * T + t;
          visible = attendRow(q.data, row * d, this.#heads[head], i, scale, out, d, this.options.reach);
        }
        this.#visiblePairs[head] = this.#visiblePairs[head] + visible;
        this.#peakLive[head] = Math.max(this.#peakLive[head], visible);
      }
    }
    return { data: out, shape: q.shape };
  }

  /** Step 3: frees every entry that the next query cannot see, and blocks that become empty. */
  evict(): void {
    this.#heads.forEach((entries, head) => {
      const next = this.#seen[Math.floor(head / this.options.kvHeads)];
      entries.keepIf((last, position) => !isEvictable(endWithin(last, position, this.options.reach), next));
    });
  }

  /** Removes all entries and frees all blocks. */
  clear(): void {
    this.#heads = [];
    this.#counts = [];
    this.#seen.fill(0);
    this.#peakLive.fill(0);
    this.#visiblePairs.fill(0);
  }

  /** An independent copy, which continues to the same bits. */
  fork(): EvictingCache {
    const copy = new EvictingCache(this.options, this.#dtype);
    copy.restore(this.snapshot());
    copy.#counts = this.#counts;
    return copy;
  }

  /** The contents as plain arrays; see CacheSnapshot. */
  snapshot(): CacheSnapshot {
    const { headDim: d, localWindow, reach } = this.options;
    const { seen, live, peakLive, visiblePairs } = this.stats();
    const E = live.reduce((sum, n) => sum + n, 0);
    const numbers = this.#dtype === 'f64' ? Float64Array : Float32Array;
    const [keys, values] = [new numbers(E * d), new numbers(E * d)];
    const [positions, last, open] = [new Int32Array(E), new Int32Array(E), new Uint8Array(E)];
    let at = 0;
    for (const block of this.#heads.flatMap((entries) => entries.blocks)) {
      keys.set(stored(block.k).subarray(0, block.used * d), at * d);
      values.set(stored(block.v).subarray(0, block.used * d), at * d);
      for (let slot = 0; slot < block.used; slot++, at++) {
        positions[at] = block.position[slot];
        last[at] = endWithin(block.last[slot], block.position[slot], reach);
        const closes = localWindow === undefined && block.type[slot] === TokenType.LOCAL;
        open[at] = closes && block.last[slot] === FOREVER ? 1 : 0;
      }
    }
    return { seen, live, keys, values, positions, last, open, peakLive, visiblePairs };
  }

  /** Replaces the contents by those of the snapshot. */
  restore(snapshot: CacheSnapshot): void {
    const { headDim: d, blockSize } = this.options;
    const { keys, values, positions, last, open, live } = snapshot;
    this.clear();
    this.#dtype = this.options.storage ?? dtypeOf(keys);
    this.#seen.set(snapshot.seen);
    this.#peakLive.set(snapshot.peakLive);
    this.#visiblePairs.set(snapshot.visiblePairs);
    let at = 0;
    live.forEach((count, head) => {
      const entries = (this.#heads[head] = new HeadEntries(d, blockSize, this.#dtype));
      // Other engines may hold entries in another order.
      const ascending = Array.from({ length: count }, (_, n) => at + n).sort((x, y) => positions[x] - positions[y]);
      for (const n of ascending) {
        const local = open[n] === 1;
        // A closed entry has its lifetime, so its type no longer matters.
        const type = local ? TokenType.LOCAL : TokenType.GLOBAL;
        entries.push(keys, values, n * d, positions[n], type, local ? FOREVER : last[n]);
      }
      at += count;
    });
  }

  /** The positions that head b G + g holds, in ascending order. */
  positions(head: number): Int32Array {
    return this.#heads[head]?.positions() ?? new Int32Array(0);
  }

  /** The live entries, bytes and counts of every head. */
  stats(): CacheStats {
    const { batch, kvHeads, headDim, blockSize } = this.options;
    const each = entryBytes(headDim, this.#dtype);
    const live = Int32Array.from({ length: batch * kvHeads }, (_, head) => this.#heads[head]?.count ?? 0);
    const blocks = Float64Array.from(live, (_, head) => this.#heads[head]?.blocks.length ?? 0);
    const bytes = blocks.map((count) => count * blockSize * each);
    return {
      seen: this.#seen.slice(), live, bytes, entryBytes: each,
      peakLive: this.#peakLive.slice(), visiblePairs: this.#visiblePairs.slice(),
    };
  }
}

/** One row of §3 over the entries that query i can see. Returns how many they are. */
function attendRow(
  q: FloatArray, qStart: number, entries: HeadEntries, i: number, scale: number, out: FloatArray, d: number,
  reach?: number,
): number {
  const scores = new Float64Array(entries.count); // of the visible entries, in order
  const sees = (position: number, last: number) => isVisible(i, position, endWithin(last, position, reach));
  let visible = 0;
  let max = -Infinity;
  for (const { used, position, last, k } of entries.blocks) {
    const keys = stored(k);
    for (let slot = 0; slot < used; slot++) {
      if (!sees(position[slot], last[slot])) continue;
      const s = scale * dot(q, qStart, keys, slot * d, d);
      scores[visible++] = s;
      if (s > max) max = s;
    }
  }
  let Z = 0;
  for (let n = 0; n < visible; n++) Z += scores[n] = exp(scores[n] - max);
  let n = 0;
  for (const { used, position, last, v } of entries.blocks) {
    const values = stored(v);
    for (let slot = 0; slot < used; slot++) {
      if (sees(position[slot], last[slot])) axpy(scores[n++] / Z, values, slot * d, out, qStart, d);
    }
  }
  return visible;
}
