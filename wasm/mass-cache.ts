/**
 * §11: the cache that evicts by a budget, in plain TypeScript. The rule itself is in
 * src/core/mass-step.ts.
 * @module
 */
import {
  type CacheDtype, type CacheSnapshot, type CacheStats, type MassCacheOptions, massEntryBytes,
} from '../src/core/cache.ts';
import { ValueError } from '../src/core/errors.ts';
import type { CacheKernels } from '../src/core/kernels.ts';
import { endWithin, FOREVER } from '../src/core/lifetime.ts';
import { scoreWidth } from '../src/core/mass.ts';
import type { AppendSizes } from '../src/core/sizes.ts';
import type { FloatArray } from '../src/core/tensor.ts';
import type { Machine, WasmArray } from './machine.ts';
import { massStep, typeRank } from '../src/core/mass-step.ts';
import { MassEntries } from './mass-entries.ts';

/** The evicting cache of one layer under a budget, for B sequences and G KV heads of size d. */
export class WasmMassCache implements CacheKernels<WasmArray> {
  readonly #on: Machine;
  readonly #options: MassCacheOptions;
  readonly #dtype: CacheDtype;
  readonly #Floats: new (length: number) => FloatArray;
  #heads: MassEntries[];
  #counts: readonly number[] = [];
  readonly #seen: Int32Array;
  readonly #peakLive: Int32Array;
  readonly #visiblePairs: Float64Array;

  constructor(on: Machine, options: MassCacheOptions) {
    this.#on = on;
    this.#options = options;
    this.#dtype = options.storage ?? on.dtype;
    this.#Floats = on.size === 8 ? Float64Array : Float32Array;
    const { batch, kvHeads } = options;
    this.#seen = new Int32Array(batch);
    this.#peakLive = new Int32Array(batch * kvHeads);
    this.#visiblePairs = new Float64Array(batch * kvHeads);
    this.#heads = this.#emptyHeads();
  }

  #emptyHeads(): MassEntries[] {
    const { batch, kvHeads } = this.#options;
    return Array.from({ length: batch * kvHeads }, () => new MassEntries(this.#options, this.#dtype, this.#Floats));
  }

  /** Appends k and v [B,G,T,d], with the scores of types [B,G,T,3] if the rule ranks by them. */
  append(k: WasmArray, v: WasmArray, types: WasmArray | undefined, { T, counts }: AppendSizes): void {
    const { kvHeads, headDim: d, reach } = this.#options;
    const full = counts.findIndex((count, b) => this.#seen[b] + count >= FOREVER);
    if (full >= 0) throw new ValueError(`sequence ${full} would reach ${FOREVER} tokens: clear() the cache`);
    for (const x of types ? [k, v, types] : [k, v]) this.#on.real(x); // before the views
    const [K, V, scores] = [this.#on.view(k), this.#on.view(v), types && this.#on.view(types)];
    this.#counts = counts;
    this.#heads.forEach((entries, head) => {
      const b = Math.floor(head / kvHeads);
      entries.resize(entries.count + counts[b]);
      for (let t = 0; t < counts[b]; t++) {
        const position = this.#seen[b] + t;
        const slot = entries.push(K, V, (head * T + t) * d, position, endWithin(FOREVER, position, reach));
        if (scores) entries.scores[slot] = typeRank(scores, (head * T + t) * 3);
      }
    });
    counts.forEach((count, b) => (this.#seen[b] += count));
  }

  /** Each of the newest queries attends to the entries held and its own. Called once per append. */
  attend(q: WasmArray, scale: number, { H, T }: { H: number; T: number }): WasmArray {
    const { batch, kvHeads: G, headDim: d, mass, reach } = this.#options;
    const made = this.#on.zeros(q.shape);
    this.#on.real(q);
    const [Q, out] = [this.#on.view(q), this.#on.view(made)];
    for (let b = 0; b < batch; b++) {
      const heads = this.#heads.slice(b * G, (b + 1) * G);
      const count = this.#counts[b];
      for (let t = 0; t < count; t++) {
        const row = (g: number, h: number): number => (b * H + g * (H / G) + h) * T + t;
        heads.forEach(({ held }, g) => this.#note(b * G + g, held.length + 1));
        massStep(mass, heads, this.#seen[b] - count + t, (head) => (head as MassEntries).count - count + t,
          { q: Q, out, d, scale, row, group: H / G }, reach);
      }
    }
    return made;
  }

  #note(head: number, visible: number): void {
    this.#visiblePairs[head] += visible;
    this.#peakLive[head] = Math.max(this.#peakLive[head], visible);
  }

  /** Frees what was evicted while attending, and the blocks that became empty. */
  evict(): void {
    for (const entries of this.#heads) entries.compact();
  }

  clear(): void {
    this.#heads = this.#emptyHeads();
    this.#counts = [];
    for (const each of [this.#seen, this.#peakLive, this.#visiblePairs]) each.fill(0);
  }

  dispose(): void {
    this.#heads = [];
  }

  fork(): WasmMassCache {
    const copy = new WasmMassCache(this.#on, this.#options);
    copy.restore(this.#contents());
    return copy;
  }

  async snapshot(): Promise<CacheSnapshot> {
    return this.#contents();
  }

  #contents(): CacheSnapshot {
    const { headDim: d, mass } = this.#options;
    const joined = (part: 'k' | 'v' | 'scores', width: number, wide: boolean): FloatArray => {
      const numbers = this.#heads.flatMap((entries) => [...entries[part].subarray(0, entries.count * width)]);
      return wide ? Float64Array.from(numbers) : Float32Array.from(numbers);
    };
    const wide = this.#dtype === 'f64';
    const whole = (part: 'position' | 'last'): Int32Array =>
      Int32Array.from(this.#heads.flatMap((entries) => [...entries[part].subarray(0, entries.count)]));
    const [positions, last] = [whole('position'), whole('last')];
    const { seen, live, peakLive, visiblePairs } = this.#counted();
    return {
      seen, live, keys: joined('k', d, wide), values: joined('v', d, wide), positions, last, open: new Uint8Array(last.length),
      peakLive, visiblePairs, scores: joined('scores', scoreWidth(mass), this.#on.size === 8),
    };
  }

  restore({ seen, keys, values, positions, last, live, peakLive, visiblePairs, scores }: CacheSnapshot): void {
    const { kvHeads, headDim: d, mass } = this.#options;
    const width = scoreWidth(mass);
    this.clear();
    this.#seen.set(seen);
    this.#peakLive.set(peakLive);
    this.#visiblePairs.set(visiblePairs);
    let at = 0;
    live.forEach((count, head) => {
      const entries = this.#heads[head];
      entries.resize(count);
      // Other engines may hold entries in another order.
      const ascending = Array.from({ length: count }, (_, n) => at + n).sort((x, y) => positions[x] - positions[y]);
      for (const n of ascending) {
        const slot = entries.push(keys, values, n * d, positions[n], last[n]);
        if (scores) entries.scores.set(scores.subarray(n * width, (n + 1) * width), slot * width);
        if (last[n] >= seen[Math.floor(head / kvHeads)]) entries.held.push(slot);
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
    const each = massEntryBytes(this.#options, this.#dtype, this.#on.size);
    return {
      seen: this.#seen.slice(), live: Int32Array.from(this.#heads, ({ count }) => count),
      bytes: Float64Array.from(this.#heads, ({ capacity }) => capacity * each), entryBytes: each,
      peakLive: this.#peakLive.slice(), visiblePairs: this.#visiblePairs.slice(),
    };
  }
}
