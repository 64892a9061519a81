/**
 * A model of the evicting cache (§8) that forgets nothing: it keeps every token, and derives outputs, live positions
 * and counts from full masked attention over the whole history.
 * @module
 */
import type { CacheOptions, CacheStats, Engine } from '../../src/core/engine.ts';
import { boundedAttention } from './bounded.ts';
import { denseLifetime, denseMask } from './dense.ts';
import { draw } from './draw.ts';
import { type Bounded, exact, Rounding } from './tolerance.ts';

/** What the commands operate on: an engine's cache or the public class, with plain arrays. */
export interface System {
  append(k: Float64Array, v: Float64Array, types: Int32Array, T: number, counts: readonly number[] | undefined): void;
  attend(q: Float64Array, T: number): Promise<ArrayLike<number>>;
  evict(): void;
  clear(): void;
  stats(): Promise<CacheStats>;
  positions(b: number, g: number): Promise<Int32Array>;
  /** A copy by fork(). */
  fork(): System;
  /** A copy by snapshot() and restore(), into a cache that has held something else. */
  again(): Promise<System>;
  dispose(): void;
}

/** Sizes of a cache under test; H = G * group. */
export interface CacheSizes extends CacheOptions {
  readonly group: number;
}

/** The options of the cache itself. */
export function cacheOptions({ group: _, ...options }: CacheSizes): CacheOptions {
  return options;
}

/** The number of types that a step of T tokens needs per head, by the contract. */
export function typeRows(T: number, chunk: number): number {
  return Math.floor((T + chunk - 2) / chunk) + 1;
}

interface Head {
  k: number[];
  v: number[];
  /** One type per chunk. The last is meaningless while its chunk is unfinished. */
  types: number[];
  peakLive: number;
  visiblePairs: number;
}

/** Keeps the whole history of every sequence. */
export class CacheModel {
  readonly sizes: CacheSizes;
  readonly precision: Engine['precision'];
  readonly #R: Rounding;
  heads: Head[] = [];
  seen: number[] = [];
  /** Whether something was appended since the last evict(). */
  stale = false;

  constructor(sizes: CacheSizes, precision: Engine['precision'], computes?: 'f16') {
    this.sizes = sizes;
    this.#R = new Rounding(precision, computes);
    this.precision = precision;
    this.clear();
  }

  clear(): void {
    const { batch, kvHeads } = this.sizes;
    this.seen = Array.from({ length: batch }, () => 0);
    this.heads = Array.from({ length: batch * kvHeads }, () =>
      ({ k: [], v: [], types: [], peakLive: 0, visiblePairs: 0 }));
    this.stale = false;
  }

  /** Draws a step of T tokens, records it, and returns it with the outputs that the cache must give. */
  step(T: number, counts: readonly number[], seed: number): {
    k: Float64Array; v: Float64Array; q: Float64Array; types: Int32Array; out: Bounded[];
  } {
    const { batch: B, kvHeads: G, headDim: d, chunk, group } = this.sizes;
    const numbers = draw(seed, this.precision);
    const k = numbers.real(B * G * T * d);
    const v = numbers.real(B * G * T * d);
    const q = numbers.real(B * G * group * T * d);
    const rows = typeRows(T, chunk);
    const types = numbers.whole(B * G * rows, 3);
    const out: Bounded[] = Array.from({ length: q.length }, () => exact(0));
    for (let at = 0; at < B * G; at++) {
      const b = Math.floor(at / G);
      const head = this.heads[at];
      const count = counts[b];
      const seen = this.seen[b];
      const N = seen + count;
      head.k.push(...k.subarray(at * T * d, (at * T + count) * d));
      head.v.push(...v.subarray(at * T * d, (at * T + count) * d));
      for (let c = Math.floor(seen / chunk); c < Math.ceil(N / chunk); c++) {
        head.types[c] = types[at * rows + c - Math.floor(seen / chunk)];
      }
      if (count === 0) continue;
      const one = { ...this.sizes, B: 1, G: 1, N };
      const last = denseLifetime(head.types, one);
      const queries = new Float64Array(group * N * d);
      for (let h = 0; h < group; h++) {
        const row = (at * group + h) * T * d;
        queries.set(q.subarray(row, row + count * d), (h * N + seen) * d);
      }
      const truth = boundedAttention(
        {
          ...one, H: group, group, d, q: queries, k: Float64Array.from(head.k), v: Float64Array.from(head.v), last,
          scale: 1 / Math.sqrt(d),
        },
        this.#R, seen,
      ).out;
      truth.forEach((value, n) => {
        const h = Math.floor(n / (count * d));
        out[(at * group + h) * T * d + (n % (count * d))] = value;
      });
      const M = denseMask(last, one);
      for (let i = seen; i < N; i++) {
        const visible = M.subarray(i * N, (i + 1) * N).reduce((sum, m) => sum + m, 0);
        head.visiblePairs += visible;
        head.peakLive = Math.max(head.peakLive, visible);
      }
    }
    this.seen = this.seen.map((n, b) => n + counts[b]);
    this.stale = true;
    return { k, v, q, types, out };
  }

  /** { j : last(j) >= next query } of KV head g of sequence b. */
  live(b: number, g: number): number[] {
    const { kvHeads } = this.sizes;
    const N = this.seen[b];
    const last = denseLifetime(this.heads[b * kvHeads + g].types, { ...this.sizes, B: 1, G: 1, N });
    return Array.from(last.keys()).filter((j) => last[j] >= N);
  }
}
