/**
 * §8: the evicting cache. Every KV head holds its own number of entries, and survivors keep their positions.
 * @module
 */
import { type CacheDtype, type CacheOptions, type CacheSnapshot, type CacheStats, entryBytes } from '../src/core/cache.ts';
import { ValueError } from '../src/core/errors.ts';
import { chunkEnd, chunkOf, endWithin, FOREVER, localEnd, TokenType, windowEnd } from '../src/core/lifetime.ts';
import type { CacheKernels } from '../src/core/kernels.ts';
import type { AppendSizes } from '../src/core/sizes.ts';
import { attendHeads, type CachedHead } from './cache-attend.ts';
import { HeadEntries } from './cache-entries.ts';
import type { Machine, WasmArray } from './machine.ts';

export class WasmCache implements CacheKernels<WasmArray> {
  readonly #on: Machine;
  readonly #options: CacheOptions;
  readonly #dtype: CacheDtype;
  #heads: HeadEntries[];
  readonly #seen: Int32Array;
  #counts: readonly number[];
  readonly #peakLive: Int32Array;
  readonly #visiblePairs: Float64Array;

  constructor(on: Machine, options: CacheOptions) {
    const { batch, kvHeads } = options;
    this.#on = on;
    this.#options = options;
    this.#dtype = options.storage ?? on.dtype;
    this.#seen = new Int32Array(batch);
    this.#counts = new Array<number>(batch).fill(0);
    this.#peakLive = new Int32Array(batch * kvHeads);
    this.#visiblePairs = new Float64Array(batch * kvHeads);
    this.#heads = this.#emptyHeads();
  }

  #emptyHeads(): HeadEntries[] {
    const { batch, kvHeads, headDim, blockSize } = this.#options;
    return Array.from({ length: batch * kvHeads }, () => new HeadEntries(this.#on, headDim, blockSize, this.#dtype));
  }

  append(k: WasmArray, v: WasmArray, types: WasmArray | undefined, { T, rows, counts }: AppendSizes): void {
    const { batch, kvHeads, headDim, chunk } = this.#options;
    const full = counts.findIndex((count, b) => this.#seen[b] + count >= FOREVER);
    if (full >= 0) throw new ValueError(`sequence ${full} would reach ${FOREVER} tokens: clear() the cache`);
    const [K, V, kinds] = [this.#on.real(k), this.#on.real(v), types!.integers!];
    this.#counts = counts;
    for (let head = 0; head < batch * kvHeads; head++) {
      const b = Math.floor(head / kvHeads);
      const [seen, count, entries] = [this.#seen[b], counts[b], this.#heads[head]];
      if (count === 0) continue;
      entries.reserve(entries.count + count);
      const at = head * T * headDim * this.#on.size;
      // A chunk's type takes effect when its last token arrives; until then it counts as GLOBAL.
      for (let t = 0; t < count;) {
        const c = chunkOf(seen + t, chunk);
        const n = Math.min(count, chunkEnd(c, chunk) + 1 - seen) - t;
        entries.push(K + at + t * headDim * this.#on.size, V + at + t * headDim * this.#on.size, n, seen + t);
        t += n;
        if (seen + t <= chunkEnd(c, chunk)) continue;
        this.#settle(entries, c, kinds[head * rows + c - chunkOf(seen, chunk)]);
      }
    }
    counts.forEach((count, b) => (this.#seen[b] += count));
  }

  /** Sets the lifetimes of the entries of chunk c, which is full. A GLOBAL chunk closes open LOCAL entries. */
  #settle(entries: HeadEntries, c: number, type: number): void {
    const { chunk, window, localWindow } = this.#options;
    if (type === TokenType.GLOBAL && localWindow === undefined) entries.closeLocals(chunkEnd(c, chunk));
    const kept = type === TokenType.LOCAL ? localEnd(c, chunk, FOREVER, localWindow) : FOREVER;
    entries.setLifetime(c * chunk, type, type === TokenType.WINDOW ? windowEnd(c, chunk, window) : kept);
  }

  attend(q: WasmArray, scale: number, { H, T }: { H: number; T: number }): WasmArray {
    const { kvHeads: G, headDim: d, reach } = this.#options;
    const on = this.#on;
    const out = this.#counts.every((count) => count === T) ? on.make(q.shape) : on.zeros(q.shape);
    const Q = on.real(q);
    const share = H / G;
    const row = T * d * on.size;
    const heads = this.#heads.flatMap((entries, head): CachedHead[] => {
      const b = Math.floor(head / G);
      const count = this.#counts[b];
      if (count === 0) return [];
      const at = head * share * row;
      const note: CachedHead['note'] = (pairs, peak) => this.#note(head, pairs, peak);
      return [{ entries, i0: this.#seen[b] - count, count, q: Q + at, out: out.at + at, note }];
    });
    attendHeads(on, heads, { share, d, row, scale, reach });
    return out;
  }

  #note(head: number, pairs: number, peak: number): void {
    this.#visiblePairs[head] += pairs;
    this.#peakLive[head] = Math.max(this.#peakLive[head], peak);
  }

  evict(): void {
    const { kvHeads, reach } = this.#options;
    this.#heads.forEach((entries, head) => entries.evict(this.#seen[Math.floor(head / kvHeads)], reach));
  }

  clear(): void {
    for (const entries of this.#heads) entries.dispose();
    this.#heads = this.#emptyHeads();
    this.#counts = this.#counts.map(() => 0);
    for (const each of [this.#seen, this.#peakLive, this.#visiblePairs]) each.fill(0);
  }

  dispose(): void {
    for (const entries of this.#heads) entries.dispose();
  }

  fork(): WasmCache {
    const copy = new WasmCache(this.#on, this.#options);
    copy.restore(this.#contents());
    copy.#counts = this.#counts;
    return copy;
  }

  async snapshot(): Promise<CacheSnapshot> {
    return this.#contents();
  }

  #contents(): CacheSnapshot {
    const { headDim: d, localWindow, reach } = this.#options;
    const { seen, live, peakLive, visiblePairs } = this.#counted();
    const E = live.reduce((sum, n) => sum + n, 0);
    const numbers = this.#dtype === 'f64' ? Float64Array : Float32Array;
    const [keys, values] = [new numbers(E * d), new numbers(E * d)];
    const [positions, last, open] = [new Int32Array(E), new Int32Array(E), new Uint8Array(E)];
    let at = 0;
    for (const entries of this.#heads) {
      const [k, v] = entries.numbers();
      keys.set(k, at * d);
      values.set(v, at * d);
      for (let n = 0; n < entries.count; n++, at++) {
        positions[at] = entries.position[n];
        last[at] = endWithin(entries.last[n], entries.position[n], reach);
        const closes = localWindow === undefined && entries.type[n] === TokenType.LOCAL;
        open[at] = closes && entries.last[n] === FOREVER ? 1 : 0;
      }
    }
    return { seen, live, keys, values, positions, last, open, peakLive, visiblePairs };
  }

  restore({ seen, live, keys, values, positions, last, open, peakLive, visiblePairs }: CacheSnapshot): void {
    const { headDim: d } = this.#options;
    this.clear();
    this.#seen.set(seen);
    this.#peakLive.set(peakLive);
    this.#visiblePairs.set(visiblePairs);
    let at = 0;
    live.forEach((count, head) => {
      const entries = this.#heads[head];
      entries.reserve(count);
      // Other engines may hold entries in another order.
      const ascending = Array.from({ length: count }, (_, n) => at + n).sort((x, y) => positions[x] - positions[y]);
      for (const n of ascending) {
        const [k, v] = [keys, values].map((x) => x.subarray(n * d, (n + 1) * d));
        // A closed entry has its lifetime, so its type no longer matters.
        const local = open[n] === 1;
        entries.restore(k, v, positions[n], local ? TokenType.LOCAL : TokenType.GLOBAL, local ? FOREVER : last[n]);
      }
      at += count;
    });
  }

  async positions(head: number): Promise<Int32Array> {
    const { position, count } = this.#heads[head];
    return position.slice(0, count);
  }

  async stats(): Promise<CacheStats> {
    return this.#counted();
  }

  #counted(): CacheStats {
    const each = entryBytes(this.#options.headDim, this.#dtype);
    return {
      seen: this.#seen.slice(), live: Int32Array.from(this.#heads, ({ count }) => count),
      bytes: Float64Array.from(this.#heads, ({ capacity }) => capacity * each), entryBytes: each,
      peakLive: this.#peakLive.slice(), visiblePairs: this.#visiblePairs.slice(),
    };
  }
}
