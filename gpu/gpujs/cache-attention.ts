/**
 * §8, step 2: queries over the entries of a paged cache.
 *
 * A table names, for each KV head, the blocks of the pool that hold its entries, slot after slot. Scores and weights
 * are laid out [row, slot], with slots as the fastest axis. Sums over slots are split into parts, each with a maximum
 * of its own, because a decoded token has one query and must still keep a device busy.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

const HIDDEN = '-1e30';

/** Computes `place`, where the entry of a slot lies in the pool; a head has `blocks` blocks of `size` entries. */
const placeOf = (slot: string): string => `
  const block = Math.floor((${slot} + 0.5) / size);
  const place = table[at(head, blocks, block)] * size + ${slot} - block * size;`;

/** The one query of a sequence sees all slots of its KV heads, counts[head] of them. */
const SCORES_ALL = kernel('cache scores', 'q k table counts | d group blocks size | scale', `
  const head = Math.floor((this.thread.z + 0.5) / group);
  if (this.thread.x >= counts[head]) {
    return ${HIDDEN};
  }${placeOf('this.thread.x')}
  let sum = 0;
  for (let e = 0; e < d; e++) {
    sum += q[this.thread.z * d + e] * k[at(place, d, e)];
  }
  return sum * scale;`);

/** Entry (from, until) is visible to query i if from <= i <= until; meta: (position of query 0, queries) of each b. */
const SCORES_SOME = kernel('cache scores, masked', 'q k list span meta | d group cap G tokens first | scale', `
  const head = Math.floor((this.thread.z + 0.5) / group);
  const b = Math.floor((head + 0.5) / G);
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

const PART_MAX = kernel('cache largest of part', 'scores | cap length rows', `
  let max = ${HIDDEN};
  for (let t = 0; t < length; t++) {
    if (this.thread.x * length + t < cap) {
      max = Math.max(max, scores[(this.thread.z * rows + this.thread.y) * cap + this.thread.x * length + t]);
    }
  }
  return max;`);

/** exp(score - the largest score of its part). */
const WEIGHTS = kernel('cache weights', 'scores max | cap rows length parts', `
  const s = scores[(this.thread.z * rows + this.thread.y) * cap + this.thread.x];
  if (s < -1e29) {
    return 0;
  }
  const part = Math.floor((this.thread.x + 0.5) / length);
  return Math.exp(s - max[at(at(this.thread.z, rows, this.thread.y), parts, part)]);`);

/** Columns 0..d-1: weighted values of a part; column d: its weights. y = row * parts + part. */
const VALUES = kernel('cache values of part', 'weights v table | d group cap length rows parts blocks size', `
  const row = Math.floor((this.thread.y + 0.5) / parts);
  const part = this.thread.y - row * parts;
  const head = Math.floor((this.thread.z + 0.5) / group);
  let sum = 0;
  for (let t = 0; t < length; t++) {
    const s = part * length + t;
    if (s < cap) {
      const weight = weights[at(at(this.thread.z, rows, row), cap, s)];
      if (weight !== 0) {
        if (this.thread.x < d) {${placeOf('s')}
          sum += weight * v[at(place, d, this.thread.x)];
        } else {
          sum += weight;
        }
      }
    }
  }
  return sum;`);

/** Puts the parts together, each of which counts exp(its largest score - the largest of all). */
const COMBINE = kernel('cache output', 'values max | d rows parts', `
  const row = at(this.thread.z, rows, this.thread.y);
  let top = ${HIDDEN};
  for (let n = 0; n < parts; n++) {
    top = Math.max(top, max[at(row, parts, n)]);
  }
  let sum = 0;
  let Z = 0;
  for (let p = 0; p < parts; p++) {
    const weight = Math.exp(max[at(row, parts, p)] - top);
    const base = at(at(row, parts, p), d + 1, 0);
    sum += weight * values[base + this.thread.x];
    Z += weight * values[base + d];
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

/** The blocks of every KV head [BG,width], of `size` entries each. */
export interface Pages {
  readonly table: Memory;
  readonly width: number;
  readonly size: number;
}

/** Slots that one thread adds up where there are few rows. */
const PART = 128;

/** From scores [BH,rows,cap] to outputs [BH,rows,d]. */
async function finish(
  scope: Scope, scores: Memory, pages: Pages, call: CachedAttention, rows: number, cap: number,
): Promise<Memory> {
  const { v, B, H, G, d } = call;
  const group = H / G;
  const length = rows * B * H >= 2048 ? cap : Math.min(PART, cap);
  const parts = Math.ceil(cap / length);
  const max = await scope.run(PART_MAX, [parts, rows, B * H], [scores], [cap, length, rows]);
  const weights = await scope.run(WEIGHTS, [cap, rows, B * H], [scores, max], [cap, rows, length, parts]);
  const values = await scope.run(
    VALUES, [d + 1, rows * parts, B * H], [weights, v, pages.table],
    [d, group, cap, length, rows, parts, pages.width, pages.size],
  );
  const out = await scope.run(COMBINE, [d, rows, B * H], [values, max], [d, rows, parts]);
  scope.free(scores, max, weights, values);
  return out;
}

/** One query per sequence, which sees all counts[head] slots of a KV head: out [B,H,1,d]. */
export async function attendAll(
  scope: Scope, call: CachedAttention, pages: Pages, counts: readonly number[],
): Promise<Memory> {
  const { q, k, B, H, G, d, scale } = call;
  const cap = roomFor(Math.max(...counts));
  const arrays = [q, k, pages.table, scope.upload(counts)];
  const sizes = [d, H / G, pages.width, pages.size];
  const scores = await scope.run(SCORES_ALL, [cap, 1, B * H], arrays, sizes, [scale]);
  return finish(scope, scores, pages, call, 1, cap);
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
  // A list of places is a table of blocks of one entry.
  const out = await finish(scope, scores, { table: list, width: cap, size: 1 }, call, rows, cap);
  scope.free(list, spans);
  return out;
}

/** Room for n slots. It grows by an eighth to a quarter, so that sizes recur, and with them compiled kernels. */
export function roomFor(n: number): number {
  const step = Math.max(16, 2 ** (Math.floor(Math.log2(Math.max(n, 1))) - 2));
  return Math.max(step, Math.ceil(n / step) * step);
}
