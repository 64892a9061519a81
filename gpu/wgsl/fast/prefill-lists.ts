/**
 * Which keys a tile of queries can see, as lists that the device builds itself, so that attention multiplies these keys
 * only. First pass: the keys that outlive the whole call, one list for all tiles of a head. Second pass: for each tile
 * the others.
 *
 * Keys of a head are numbered 0..keys-1, cached ones before new ones, and query t is the token of key starts[head] + t.
 * `last` counts in these numbers too: key j is visible to query x if j <= x <= last[j].
 * @module
 */
import { fastKernel, type FastKernel, wgsl } from './template.ts';

/** Sizes of a call. */
export interface PrefillSizes {
  readonly heads: number;
  /** Tiles of this dispatch. */
  readonly tiles: number;
}

const THREADS = 256;
/** Keys whose `last` is summed up by one number. */
export const BLOCK = 1024;
/** Keys that an invocation counts at a time. */
const EACH = (4 * BLOCK) / THREADS;

/** An inclusive sum over the invocations: the text that leaves it in counts[t]. */
const SCAN = wgsl`
for (var reach = 1u; reach < ${THREADS}; reach *= 2) {
  var sum = counts[t];
  if (t >= reach) { sum += counts[t - reach]; }
  workgroupBarrier();
  counts[t] = sum;
  workgroupBarrier();
}`.trim();

/** Lists the immortal keys of each head, and says how far those of each block reach that are not. */
export function immortalKeys(): FastKernel<Pick<PrefillSizes, 'heads'>> {
  return fastKernel({
    name: 'list of immortal keys',
    header: `
      lists[h,n] = the n-th key j of head h with last[h,j] >= the last query, ranks[h,j] = how many of them are <= j,
      reach[h,b] = max of last[h,j] over the other keys j of block b of ${BLOCK}, or 0
      last, ranks and the beginning of lists are [heads,keys] u32, starts is [heads] u32; P.T is the number of queries.
      A workgroup takes a head, ${4 * BLOCK} keys at a time, ${EACH} per invocation; places come from a sum over the invocations.`,
    params: { keys: 'u32', T: 'u32' },
    inputs: { last: 'u32', starts: 'u32' },
    outputs: { lists: 'u32', ranks: 'u32', reach: 'u32' },
    locals: { counts: ['u32', THREADS], farthest: ['atomic<u32>', 4] },
    threads: THREADS,
    body: wgsl`
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let base = group.x * P.keys;
  let end = starts[group.x] + P.T;
  let blocks = (P.keys + ${BLOCK - 1}) / ${BLOCK};
  var before = 0u;
  for (var first = 0u; first < end; first += ${4 * BLOCK}) {
    if (t < 4) { atomicStore(&farthest[t], 0); }
    var count = 0u;
    var far = 0u;
    for (var i = 0u; i < ${EACH}; i++) {
      let j = first + t * ${EACH} + i;
      if (j < end) {
        let until = last[base + j];
        if (until + 1 >= end) { count++; } else { far = max(far, until); }
      }
    }
    counts[t] = count;
    workgroupBarrier();
    atomicMax(&farthest[t / ${THREADS / 4}], far);
    ${SCAN}
    var rank = before + counts[t] - count;
    for (var i = 0u; i < ${EACH}; i++) {
      let j = first + t * ${EACH} + i;
      if (j < end) {
        if (last[base + j] + 1 >= end) { lists[base + rank] = j; rank++; }
        ranks[base + j] = rank;
      }
    }
    before += counts[${THREADS - 1}];
    if (t < 4 && first / ${BLOCK} + t < blocks) { reach[group.x * blocks + first / ${BLOCK} + t] = atomicLoad(&farthest[t]); }
    workgroupBarrier();
  }
}`,
    workgroups: ({ heads }) => [heads, 1, 1],
  });
}

/** Lists the mortal keys that each tile of `tile` queries sees. */
export function tileKeys(tile: number): FastKernel<PrefillSizes> {
  return fastKernel({
    name: `lists of keys per ${tile} queries`,
    header: `
      For tile n of the queries x of head h: records[h,n] = (i, f, p, x0). The first i immortal keys of the head are seen by
      all queries of the tile; so are f keys from the front of the tile's list; p keys from its back are seen by some.
      f = 0xffffffff says that the list has no room: every key up to the last query may be seen. x0 is the first query.
      The lists are [heads,P.tiles,P.room] u32 after the [heads,keys] of immortal keys; tiles count from P.first on.
      A workgroup takes a tile, ${BLOCK} keys at a time, of blocks that reach it; places come from a sum over the invocations.`,
    params: { keys: 'u32', T: 'u32', heads: 'u32', tiles: 'u32', first: 'u32', room: 'u32' },
    inputs: { last: 'u32', starts: 'u32', ranks: 'u32', reach: 'u32' },
    outputs: { lists: 'u32', records: 'vec4u' },
    locals: { counts: ['u32', THREADS] },
    threads: THREADS,
    body: wgsl`
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let head = group.y;
  let base = head * P.keys;
  let begin = starts[head];
  let end = begin + P.T;
  let blocks = (P.keys + ${BLOCK - 1}) / ${BLOCK};
  let x0 = begin + (P.first + group.x) * ${tile};
  let x1 = min(x0 + ${tile - 1}, end - 1);
  let record = head * P.tiles + group.x;
  let list = P.heads * P.keys + record * P.room;
  var full = 0u;
  var partial = 0u;
  for (var block = 0u; block * ${BLOCK} <= x1; block++) {
    if (reach[head * blocks + block] >= x0 || (block + 1) * ${BLOCK} > x0) {
      var kind: array<u32, 4>;
      var count = 0u;
      for (var i = 0u; i < 4; i++) {
        let j = block * ${BLOCK} + t * 4 + i;
        kind[i] = 0;
        if (j <= x1) {
          let until = last[base + j];
          if (j > x0 || until + 1 < end) {
            if (j <= x0 && until >= x1) { kind[i] = 1; } else if (until >= x0) { kind[i] = 0x10000; }
          }
        }
        count += kind[i];
      }
      counts[t] = count;
      workgroupBarrier();
      ${SCAN}
      let places = counts[t] - count;
      var to_full = full + (places & 0xffff);
      var to_partial = partial + (places >> 16);
      for (var i = 0u; i < 4; i++) {
        let j = block * ${BLOCK} + t * 4 + i;
        if (kind[i] == 1) {
          if (to_full < P.room) { lists[list + to_full] = j; }
          to_full++;
        } else if (kind[i] > 1) {
          if (to_partial < P.room) { lists[list + P.room - 1 - to_partial] = j; }
          to_partial++;
        }
      }
      full += counts[${THREADS - 1}] & 0xffff;
      partial += counts[${THREADS - 1}] >> 16;
      workgroupBarrier();
    }
  }
  if (t == 0) {
    records[record] = select(vec4u(ranks[base + x0], full, partial, x0), vec4u(0, 0xffffffff, x1 + 1, x0), full + partial > P.room);
  }
}`,
    workgroups: ({ heads, tiles }) => [tiles, heads, 1],
  });
}

/** What attention kernels share: finding the n-th key of a tile. */
export const KEY_AT: string = wgsl`
struct Tile { immortal: u32, full: u32, all: u32, x0: u32, base: u32, list: u32, anywhere: bool }
fn tile_of(head: u32, n: u32) -> Tile {
  let found = records[head * P.tiles + n];
  let anywhere = found.y == 0xffffffff;
  let full = select(found.x + found.y, 0, anywhere);
  return Tile(found.x, full, full + found.z, found.w, head * P.keys, P.heads * P.keys + (head * P.tiles + n) * P.room, anywhere);
}
fn key_at(tile: Tile, n: u32) -> u32 {
  let i = min(n, tile.all - 1);
  let own = select(tile.list + P.room - 1 - (i - tile.full), tile.list + i - tile.immortal, i < tile.full);
  let found = lists[select(own, tile.base + i, i < tile.immortal)];
  return select(found, i, tile.anywhere);
}`.trim();
