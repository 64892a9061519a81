/**
 * §3 for many queries on a GPU: lists of the keys that tiles of queries see, built on the device, and attention over
 * these keys only. Its kernels are fast/prefill*.ts.
 * @module
 */
import type { AttentionSizes } from '../../src/core/sizes.ts';
import type { SlotDtype } from './cache-kernels.ts';
import type { Slots } from './cache-store.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import {
  type FastKernel, hasPrefillMatrix, immortalKeys, LIST_BLOCK, portableTile, prefillAttention, prefillMatrix,
  type PrefillSizes, prefillTile, runsOn, tileKeys,
} from './fast/index.ts';
import { COUNT, ENDS, GATHER, NARROWED } from './prefill-kernels.ts';

/** Queries from which it is worth it: fewer leave most of a GPU idle, as the keys of a query are not shared out. */
const LEAST_QUERIES = 48;
/** The most keys of a tile that are listed. Tiles with more look at every key. */
const MOST_LISTED = 8192;
/** Bytes that the lists of one dispatch may take. */
const LIST_BYTES = 2 ** 26;

/** The attention kernel for heads of one shape, the queries of its tiles, and what it reads keys as. */
interface Way {
  readonly kernel: FastKernel<PrefillSizes>;
  readonly tile: number;
  readonly stored: 'f32' | 'f16';
}

/** Ways by what they depend on; null says that there is none. */
const ways = new WeakMap<WgslDevice, Map<string, Way | null>>();
const [IMMORTAL, TILES] = [immortalKeys(), new Map<number, FastKernel<PrefillSizes>>()];

function wayOf(device: WgslDevice, group: number, d: number): Way | null {
  let known = ways.get(device);
  if (!known) ways.set(device, known = new Map());
  const key = `${group} ${d}`;
  let way = known.get(key);
  if (way === undefined) known.set(key, way = foundWay(device, group, d));
  return way;
}

function foundWay(device: WgslDevice, group: number, d: number): Way | null {
  const runs = (kernel: FastKernel<PrefillSizes>): boolean => runsOn(device.gpuDevice, device.info, kernel);
  if (device.compute === 'f16' && hasPrefillMatrix(d)) {
    const kernel = prefillMatrix({ group, d, queries: 'f32' });
    if (runs(kernel)) return { kernel, tile: prefillTile(group), stored: 'f16' };
  }
  if (device.width !== 64 || d > 256) return null;
  const kernel = prefillAttention({ group, d, stored: 'f32' });
  return runs(kernel) && runs(IMMORTAL) ? { kernel, tile: portableTile(group), stored: 'f32' } : null;
}

/** Whether attention of so many queries goes this way, to keys of a cache as they are stored or to those of a call. */
export function hasPrefill(
  device: WgslDevice, { B, H, G, N, d }: AttentionSizes, keys: number, stored?: SlotDtype,
): boolean {
  if (stored && d % 4 !== 0) return false; // so that what a cache stores keys in changes nothing else
  if (N < (device.testing ? 5 : LEAST_QUERIES) || B * G * keys * d * 4 > device.maxBytes) return false;
  return wayOf(device, H / G, d) !== null;
}

/** Keys and values [heads,keys,d] as the way reads them, and which query each key is seen by last. */
interface Listed {
  readonly k: Memory;
  readonly v: Memory;
  readonly until: Memory;
  readonly starts: Memory;
}

function attendListed(
  device: WgslDevice, way: Way, q: Memory, { k, v, until, starts }: Listed, keys: number,
  { B, H, G, N: T, d }: AttentionSizes, scale: number,
): [out: Memory, lse: Memory] {
  const heads = B * G;
  const { kernel, tile } = way;
  let listing = TILES.get(tile);
  if (!listing) TILES.set(tile, listing = tileKeys(tile));
  const [out, lse] = [device.allocate(B * H * T * d), device.allocate(B * H * T)];
  const all = Math.ceil(T / tile);
  const room = Math.min(keys, device.testing ? 24 : MOST_LISTED);
  const work = B * H * T * keys * d * 4;
  const bytes = Math.min(LIST_BYTES, device.maxBytes / 2);
  const fits = Math.min(bytes / (heads * room * 4), (all * device.dispatchWork) / Math.max(work, 1));
  const range = Math.max(1, Math.min(all, Math.floor(fits)));
  const [ranks, reach, lists, records] = [
    heads * keys, heads * Math.ceil(keys / LIST_BLOCK), heads * keys + heads * range * room, heads * range * 4,
  ].map((length) => device.allocate(length));
  device.run(IMMORTAL, {
    params: { keys, T }, inputs: [until, starts], outputs: [lists, ranks, reach],
    groups: IMMORTAL.workgroups({ heads }), work: heads * keys * 8,
  });
  for (let first = 0; first < all; first += range) {
    const sizes = { heads, tiles: Math.min(range, all - first) };
    const params = { keys, T, first, room, scale, ...sizes };
    device.run(listing, {
      params, inputs: [until, starts, ranks, reach], outputs: [lists, records], groups: listing.workgroups(sizes),
      work: heads * sizes.tiles * keys * 8,
    });
    device.run(kernel, {
      params, inputs: [q, k, v, lists, records, until], outputs: [out, lse], groups: kernel.workgroups(sizes),
      work: (work * sizes.tiles) / all,
    });
  }
  for (const memory of [ranks, reach, lists, records]) device.free(memory);
  return [out, lse];
}

/** Attention of q [B,H,N,d] to k and v [B,G,N,d] with last [B,G,N]: out [B,H,N,d] and lse [B,H,N]. */
export function prefill(
  device: WgslDevice, q: Memory, k: Memory, v: Memory, last: Memory, sizes: AttentionSizes, scale: number,
): [out: Memory, lse: Memory] {
  const { B, H, G, N, d } = sizes;
  const way = wayOf(device, H / G, d)!;
  const length = B * G * N;
  const [until, starts] = [device.allocate(length), device.allocate(B * G)];
  device.run(ENDS, {
    params: { length, heads: B * G }, inputs: [last], outputs: [until, starts], groups: flat(length),
  });
  const halves = way.stored === 'f16';
  const [a, b] = halves ? [k, v].map((x) => halved(device, x, length * d)) : [k, v];
  const found = attendListed(device, way, q, { k: a, v: b, until, starts }, N, sizes, scale);
  for (const memory of [until, starts, ...(halves ? [a, b] : [])]) device.free(memory);
  return found;
}

function halved(device: WgslDevice, x: Memory, length: number): Memory {
  const y = device.allocate(length / 2);
  device.run(NARROWED, { params: { length: length / 4 }, inputs: [x], outputs: [y], groups: flat(length / 4) });
  return y;
}

/** How keys of a cache become those that a kernel reads. */
function gathering(
  way: Way, d: number, stored: SlotDtype,
): { readonly kernel: ReturnType<typeof GATHER>; readonly width: number } {
  const four = d % 4 === 0;
  const ELEMENT = four ? 'vec4f' : 'f32';
  const half = stored === 'f16';
  const narrow = way.stored === 'f16';
  return {
    kernel: GATHER({
      FROM: half ? 'vec2u' : ELEMENT, ELEMENT,
      WIDE: half ? 'vec4f(unpack2x16float(x.x), unpack2x16float(x.y))' : 'x', NAME: way.stored, TO: narrow ? 'vec2u' : ELEMENT,
      NARROW: narrow ? 'vec2u(pack2x16float(x.xy), pack2x16float(x.zw))' : 'x',
    }),
    width: four ? d / 4 : d,
  };
}

/**
 * Attention of the newest N tokens of every sequence, q [B,H,N,d], over the slots of a cache, of which no head uses
 * more than `keys`: out [B,H,N,d]. It also counts what the queries see.
 */
export function prefillCached(
  device: WgslDevice, q: Memory, slots: Slots, keys: number, sizes: AttentionSizes, scale: number,
): Memory {
  const { B, H, G, N: T, d } = sizes;
  const heads = B * G;
  const way = wayOf(device, H / G, d)!;
  const { kernel, width } = gathering(way, d, slots.stored);
  const words = way.stored === 'f16' ? d / 2 : d;
  const [k, v, until, starts, changes] = [
    heads * keys * words, heads * keys * words, heads * keys, heads, heads * T,
  ].map((length) => device.allocate(length));
  const length = heads * keys * width;
  const { parity } = slots;
  device.run(kernel, {
    params: { length, keys, width, parity }, inputs: [slots.heads, slots.entries, slots.keys, slots.values],
    outputs: [k, v, until, starts], groups: flat(length),
  });
  const [out, lse] = attendListed(device, way, q, { k, v, until, starts }, keys, sizes, scale);
  device.run(COUNT, {
    params: { T, keys, parity }, inputs: [until], outputs: [changes, slots.heads], groups: [heads],
    work: heads * (keys + T) * 8,
  });
  for (const memory of [k, v, until, starts, changes, lse]) device.free(memory);
  return out;
}
