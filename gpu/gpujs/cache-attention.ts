/**
 * §8, step 2: queries over the entries of a paged cache.
 *
 * A list names, per KV head, the places in the pool that any of the queries sees. Scores and weights lie
 * [row, list] with the list as the fastest axis, and sums over the list go in parts: a decoded token has one
 * query and must still keep a device busy.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

const HIDDEN = '-1e30';

/** Places of the first counts[head] slots, from each head's table of blocks: [cap,heads]. */
const PLACES = kernel('places of slots', 'table counts | blocks size', `
  let place = -1;
  if (this.thread.x < counts[this.thread.y]) {
    const block = Math.floor((this.thread.x + 0.5) / size);
    place = table[at(this.thread.y, blocks, block)] * size + this.thread.x - block * size;
  }
  return place;`);

/** All listed entries are visible to the one query of their sequence, if it has one (queries[b] = 1). */
const SCORES_ALL = kernel('cache scores', 'q k list queries | d share cap groups | scale', `
  const head = Math.floor((this.thread.z + 0.5) / share);
  const place = list[at(head, cap, this.thread.x)];
  if (place < 0 || queries[Math.floor((head + 0.5) / groups)] < 1) {
    return ${HIDDEN};
  }
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += q[this.thread.z * d + e] * k[at(place, d, e)];
  }
  return sum * scale;`);

/** Entry (from, until) is visible to query i if from <= i <= until; meta: (position of query 0, queries) of each b. */
const SCORES_SOME = kernel('cache scores, masked', 'q k list span meta | d share cap groups tokens first | scale', `
  const head = Math.floor((this.thread.z + 0.5) / share);
  const b = Math.floor((head + 0.5) / groups);
  const t = first + this.thread.y;
  const place = list[at(head, cap, this.thread.x)];
  const i = meta[b * 2] + t;
  if (place < 0 || t >= meta[b * 2 + 1]) {
    return ${HIDDEN};
  }
  if (span[at(at(head, cap, this.thread.x), 2, 0)] > i || span[at(at(head, cap, this.thread.x), 2, 1)] < i) {
    return ${HIDDEN};
  }
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += q[(this.thread.z * tokens + first + this.thread.y) * d + e] * k[at(place, d, e)];
  }
  return sum * scale;`);

const PART_MAX = kernel('cache largest of part', 'scores | cap size rows', `
  let max = ${HIDDEN};
  for (let t = 0; t < size; t++) {
    if (this.thread.x * size + t < cap) {
      max = Math.max(max, scores[(this.thread.z * rows + this.thread.y) * cap + this.thread.x * size + t]);
    }
  }
  return max;`);

const WEIGHTS = kernel('cache weights', 'scores max | cap rows', `
  const s = scores[(this.thread.z * rows + this.thread.y) * cap + this.thread.x];
  if (s < -1e29) {
    return 0;
  }
  return Math.exp(s - max[this.thread.z * rows + this.thread.y]);`);

/** Columns 0..d-1: weighted values of a part; column d: its weights. y = row * parts + part. */
const VALUES = kernel('cache values of part', 'weights v list | d share cap size rows parts', `
  const row = Math.floor((this.thread.y + 0.5) / parts);
  const part = this.thread.y - row * parts;
  const head = Math.floor((this.thread.z + 0.5) / share);
  let sum = 0;
  for (let t = 0; t < size; t++) {
    const s = part * size + t;
    if (s < cap) {
      const weight = weights[at(at(this.thread.z, rows, row), cap, s)];
      if (weight !== 0) {
        if (this.thread.x < d) {
          sum += weight * v[at(list[at(head, cap, s)], d, this.thread.x)];
        } else {
          sum += weight;
        }
      }
    }
  }
  return sum;`);

const COMBINE = kernel('cache output', 'values | d rows parts', `
  let sum = 0;
  let Z = 0;
  for (let p = 0; p < parts; p++) {
    const base = at(at(this.thread.z * rows + this.thread.y, parts, p), d + 1, 0);
    sum += values[base + this.thread.x];
    Z += values[base + d];
  }
  if (Z === 0) {
    return 0;
  }
  return sum / Z;`);

/** What a call needs to know of the cache. */
export interface CachedAttention {
  readonly q: Memory;
  readonly k: Memory;
  readonly v: Memory;
  readonly B: number;
  readonly H: number;
  readonly G: number;
  readonly d: number;
  readonly scale: number;
}

/** Slots that one thread adds up, while there are few rows. */
const PART = 128;

/** From scores [B H, rows, cap] to outputs [B H, rows, d]. */
async function finish(
  scope: Scope, scores: Memory, list: Memory, call: CachedAttention, rows: number, cap: number,
): Promise<Memory> {
  const { v, B, H, G, d } = call;
  const share = H / G;
  const size = rows * B * H >= 2048 ? cap : Math.min(PART, cap);
  const parts = Math.ceil(cap / size);
  const partMax = await scope.run(PART_MAX, [parts, rows, B * H], [scores], [cap, size, rows]);
  const max = await scope.run(PART_MAX, [1, rows, B * H], [partMax], [parts, parts, rows]);
  const weights = await scope.run(WEIGHTS, [cap, rows, B * H], [scores, max], [cap, rows]);
  const values = await scope.run(
    VALUES, [d + 1, rows * parts, B * H], [weights, v, list], [d, share, cap, size, rows, parts],
  );
  const out = await scope.run(COMBINE, [d, rows, B * H], [values], [d, rows, parts]);
  scope.free(scores, partMax, max, weights, values);
  return out;
}

/** One query per sequence that sees all of counts[head] slots: out [B,H,1,d]. */
export async function attendAll(
  scope: Scope, call: CachedAttention, table: Memory, blocks: number, blockSize: number, counts: readonly number[],
  queries: readonly number[],
): Promise<Memory> {
  const { q, k, B, H, G, d, scale } = call;
  const cap = roomFor(Math.max(...counts));
  const list = await scope.run(PLACES, [cap, B * G], [table, scope.upload(counts)], [blocks, blockSize]);
  const scores = await scope.run(
    SCORES_ALL, [cap, 1, B * H], [q, k, list, scope.upload(queries)], [d, H / G, cap, G], [scale],
  );
  return finish(scope, scores, list, call, 1, cap);
}

/** An entry that some query of a tile sees. */
export interface ListedEntry {
  readonly place: number;
  readonly from: number;
  readonly until: number;
}

/** Queries first..first+rows-1 of T, each over the listed entries that it can see: [B,H,rows,d]. */
export async function attendSome(
  scope: Scope, call: CachedAttention, lists: readonly (readonly ListedEntry[])[], meta: readonly number[], T: number,
  first: number, rows: number,
): Promise<Memory> {
  const { q, k, B, H, G, d, scale } = call;
  const cap = roomFor(Math.max(...lists.map((list) => list.length)));
  const places = new Float32Array(lists.length * cap).fill(-1);
  const span = new Float32Array(lists.length * cap * 2);
  lists.forEach((list, head) => list.forEach(({ place, from, until }, s) => {
    places[head * cap + s] = place;
    span[(head * cap + s) * 2] = from;
    span[(head * cap + s) * 2 + 1] = until;
  }));
  const list = scope.upload(places);
  const spans = scope.upload(span);
  const scores = await scope.run(
    SCORES_SOME, [cap, rows, B * H], [q, k, list, spans, scope.upload(meta)], [d, H / G, cap, G, T, first], [scale],
  );
  const out = await finish(scope, scores, list, call, rows, cap);
  scope.free(list, spans);
  return out;
}

/** Room for n slots, in steps of an eighth to a quarter, so that sizes and with them compiled kernels recur. */
export function roomFor(n: number): number {
  const step = Math.max(16, 2 ** (Math.floor(Math.log2(Math.max(n, 1))) - 2));
  return Math.max(step, Math.ceil(n / step) * step);
}
