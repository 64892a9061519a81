/**
 * §11: the cache that evicts by a budget. The rule itself is in src/core/mass-step.ts.
 * @module
 */
import {
  type CacheDtype, type CacheSnapshot, type CacheStats, type MassCacheOptions, massEntryBytes,
} from '../src/core/cache.ts';
import { ValueError } from '../src/core/errors.ts';
import { endWithin, FOREVER } from '../src/core/lifetime.ts';
import { scoreWidth } from '../src/core/mass.ts';
import type { AppendSizes } from '../src/core/sizes.ts';
import { type FloatArray, type NDArray, zeros, zerosLike } from '../src/core/tensor.ts';
import { massStep, typeRank } from '../src/core/mass-step.ts';
import { dtypeOf } from './cache-entries.ts';
import { MassEntries } from './mass-entries.ts';

/** The evicting cache of one layer under a budget, for B sequences and G KV heads of size d. */
export class EvictingMassCache {
  readonly options: MassCacheOptions;
  #heads: MassEntries[] = [];
  #seen: Int32Array;
  /** How many tokens of the newest step each sequence took. */
  #counts: readonly number[] = [];
  #peakLive: Int32Array;
  #visiblePairs: Float64Array;
  /** The dtype of keys and values, and the kind of array for scores. Until the first append, those of float64. */
  #dtype: CacheDtype;
  #floats: FloatArray;

  constructor(options: MassCacheOptions, Floats: new (n: number) => FloatArray = Float64Array) {
    this.options = options;
    this.#floats = new Floats(0);
    this.#dtype = options.storage ?? dtypeOf(this.#floats);
    const { batch, kvHeads } = options;
    this.#seen = zeros(Int32Array, batch);
    this.#peakLive = zeros(Int32Array, batch * kvHeads);
    this.#visiblePairs = zeros(Float64Array, batch * kvHeads);
  }

  /** Step 1: appends k and v [B,G,T,d], with the scores of types [B,G,T,3] if the rule ranks by them. */
  append(k: NDArray, v: NDArray, { T, counts }: Pick<AppendSizes, 'T' | 'counts'>, types?: NDArray): void {
    const { batch, kvHeads, headDim: d, reach } = this.options;
    const full = counts.findIndex((count, b) => this.#seen[b] + count >= FOREVER);
    if (full >= 0) throw new ValueError(`sequence ${full} would reach ${FOREVER} tokens: clear() the cache`);
    this.#counts = counts;
    this.#dtype = this.options.storage ?? dtypeOf(k.data);
    this.#floats = k.data.subarray(0, 0);
    for (let head = 0; head < batch * kvHeads; head++) {
      const b = Math.floor(head / kvHeads);
      const entries = (this.#heads[head] ??= new MassEntries(this.options, this.#dtype, this.#floats));
      entries.resize(entries.count + counts[b]);
      for (let t = 0; t < counts[b]; t++) {
        const position = this.#seen[b] + t;
        const slot = entries.push(k.data, v.data, (head * T + t) * d, position, endWithin(FOREVER, position, reach));
        if (types) entries.scores[slot] = typeRank(types.data, (head * T + t) * 3);
      }
    }
    counts.forEach((count, b) => (this.#seen[b] = this.#seen[b] + count));
  }

  /** Step 2: each of the newest queries q [B,H,T,d] attends to the entries held and its own. Called once per append. */
  attend(q: NDArray, scale: number, { H, T }: { H: number; T: number }): NDArray {
    const { batch, kvHeads: G, headDim: d, mass, reach } = this.options;
    const out = zerosLike(q.data, q.data.length);
    for (let b = 0; b < batch; b++) {
      const heads = this.#heads.slice(b * G, (b + 1) * G);
      const count = this.#counts[b];
      for (let t = 0; t < count; t++) {
        const row = (g: number, h: number): number => (b * H + g * (H / G) + h) * T + t;
        heads.forEach(({ held }, g) => this.#count(b * G + g, held.length + 1));
        massStep(mass, heads, this.#seen[b] - count + t, (head) => (head as MassEntries).count - count + t,
          { q: q.data, out, d, scale, row, group: H / G }, reach);
      }
    }
    return { data: out, shape: q.shape };
  }

  #count(head: number, visible: number): void {
    this.#visiblePairs[head] = this.#visiblePairs[head] + visible;
    this.#peakLive[head] = Math.max(this.#peakLive[head], visible);
  }

  /** Step 3: frees what was evicted while attending, and the blocks that became empty. */
  evict(): void {
    this.#heads.forEach((entries) => entries.compact());
  }

  /** Forgets everything and frees all blocks. */
  clear(): void {
    this.#heads = [];
    this.#counts = [];
    this.#seen.fill(0);
    this.#peakLive.fill(0);
    this.#visiblePairs.fill(0);
  }

  /** An independent copy, which gives the same results bit for bit. */
  fork(): EvictingMassCache {
    const copy = new EvictingMassCache(this.options, this.#floats.constructor as new (n: number) => FloatArray);
    copy.restore(this.snapshot());
    return copy;
  }

  /** What is held, as plain arrays; see CacheSnapshot. */
  snapshot(): CacheSnapshot {
    const { headDim: d, mass } = this.options;
    const joined = (part: 'k' | 'v' | 'scores', width: number, wide: boolean): FloatArray => {
      const numbers = this.#heads.flatMap((entries) => [...entries[part].subarray(0, entries.count * width)]);
      return wide ? Float64Array.from(numbers) : Float32Array.from(numbers);
    };
    const wide = this.#dtype === 'f64';
    const whole = (part: 'position' | 'last'): Int32Array =>
      Int32Array.from(this.#heads.flatMap((entries) => [...entries[part].subarray(0, entries.count)]));
    const [positions, last] = [whole('position'), whole('last')];
    const { seen, live, peakLive, visiblePairs } = this.stats();
    return {
      seen, live, keys: joined('k', d, wide), values: joined('v', d, wide), positions, last, open: new Uint8Array(last.length),
      peakLive, visiblePairs, scores: joined('scores', scoreWidth(mass), this.#floats instanceof Float64Array),
    };
  }

  /** Replaces what is held by the content of the snapshot. */
  restore(snapshot: CacheSnapshot): void {
    const { kvHeads, headDim: d, mass } = this.options;
    const { seen, keys, values, positions, last, live, scores = new Float64Array(0) } = snapshot;
    const width = scoreWidth(mass);
    this.clear();
    this.#dtype = this.options.storage ?? dtypeOf(keys);
    if (this.options.storage === undefined) this.#floats = keys.subarray(0, 0);
    this.#seen.set(seen);
    this.#peakLive.set(snapshot.peakLive);
    this.#visiblePairs.set(snapshot.visiblePairs);
    let at = 0;
    live.forEach((count, head) => {
      if (count === 0) return;
      const entries = (this.#heads[head] = new MassEntries(this.options, this.#dtype, this.#floats));
      entries.resize(count);
      // Other engines may hold entries in another order.
      const ascending = Array.from({ length: count }, (_, n) => at + n).sort((x, y) => positions[x] - positions[y]);
      for (const n of ascending) {
        const slot = entries.push(keys, values, n * d, positions[n], last[n]);
        entries.scores.set(scores.subarray(n * width, (n + 1) * width), slot * width);
        if (last[n] >= seen[Math.floor(head / kvHeads)]) entries.held.push(slot);
      }
      at += count;
    });
  }

  /** The positions of head b G + g, ascending. Evicted ones are included until evict(). */
  positions(head: number): Int32Array {
    const entries = this.#heads[head];
    return entries ? entries.position.slice(0, entries.count) : new Int32Array(0);
  }

  /** Live entries, bytes and counts of every head. */
  stats(): CacheStats {
    const { batch, kvHeads } = this.options;
    const entryBytes = massEntryBytes(this.options, this.#dtype, this.#floats.BYTES_PER_ELEMENT);
    const heads = Array.from({ length: batch * kvHeads }, (_, head) => this.#heads[head]);
    return {
      seen: this.#seen.slice(), live: Int32Array.from(heads, (entries) => entries?.count ?? 0),
      bytes: Float64Array.from(heads, (entries) => (entries?.capacity ?? 0) * entryBytes), entryBytes,
      peakLive: this.#peakLive.slice(), visiblePairs: this.#visiblePairs.slice(),
    };
  }
}
