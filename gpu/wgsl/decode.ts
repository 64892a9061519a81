/**
 * §8, step 2 for one query per sequence: its keys in parts, side by side, which a second kernel puts together.
 * @module
 */
import type { AttentionSizes } from '../../src/core/sizes.ts';
import type { Memory, WgslDevice } from './device.ts';
import type { Limits } from './lifetime.ts';
import type { Slots } from './cache-store.ts';
import type { CacheOptions } from '../../src/core/cache.ts';
import type { SlotDtype } from './cache-kernels.ts';
import { MERGE, MOST_PARTS, PARTS, reading } from './decode-portable.ts';
import type { MergedParts } from './few-rows-inputs.ts';
import {
  areFew, decodeAttention, decodeAttentionSubgroups, decodeMerge, decodeParts, type DecodeSizes, decodeStep,
  type FastKernel, hasDecodeSubgroups,
} from './fast/index.ts';

/** The most KV heads of a cache whose number is a constant of a kernel. */
const MOST_HEADS = 64;
/** The most KV heads whose parts are put together where they are read, and the parts besides one for each. */
const [MOST_JOINED, JOINED_PARTS] = [16, 64];
/** The same in tests: every workgroup, used or not, takes software milliseconds. */
const TESTED_PARTS = 8;

/** The two passes, and how many entries a step of the first one has. */
interface Passes {
  readonly first: FastKernel<DecodeSizes>;
  readonly merge: FastKernel<DecodeSizes>;
  readonly step: number;
}
/** Kernels by what their text depends on: to write it takes longer than to run it. */
const written = new Map<string, Passes>();

function passes(
  heads: number, group: number, d: number, stored: SlotDtype, bySubgroups: boolean, fresh: boolean, share: number,
): Passes {
  const key = `${heads} ${group} ${d} ${stored} ${bySubgroups} ${fresh} ${share}`;
  let both = written.get(key);
  if (!both) {
    const options = { heads, group, d, stored, layout: { slots: true, fresh }, share } as const;
    const step = bySubgroups ? decodeStep(options) : 64;
    both = {
      first: bySubgroups ? decodeAttentionSubgroups(options) : decodeAttention(options),
      merge: decodeMerge(options, step), step,
    };
    written.set(key, both);
  }
  return both;
}

/** The newest token of every sequence, which is not in the slots yet: it comes from position `first`. */
export interface Fresh extends Limits {
  /** [B,G,1,d] */
  readonly k: Memory;
  readonly v: Memory;
  /** [B,G,1] */
  readonly types: Memory;
  readonly first: number;
}

/** Arrays of the kernel that appends too, which may be more than a device allows. */
const FRESH_ARRAYS = 11;

/** Whether attention of one query can append its token too, in chunks of one token. */
export function canAppend(
  device: WgslDevice,
  { batch, kvHeads, headDim: d, chunk }: Pick<CacheOptions, 'batch' | 'kvHeads' | 'headDim' | 'chunk'>,
): boolean {
  return device.width === 64 && chunk === 1 && d % 4 === 0 && batch * kvHeads <= MOST_HEADS &&
    device.storageBuffers >= FRESH_ARRAYS;
}

/** How the entries of a call are shared out: into how many parts, by workgroups for how many query heads. */
interface Split {
  readonly parts: number;
  readonly share: number;
  /** The parts are so few that who reads them can put them together. */
  readonly joined: boolean;
}

/** What the scratch of these kernels depends on: [B,H,1,d] queries and their KV heads. */
type Shape = Pick<AttentionSizes, 'B' | 'H' | 'G' | 'd'>;

/** Bytes of a part's sums, and of its stats and count. */
const bytesOfPart = ({ H, G, d }: Shape): readonly [sums: number, stats: number] =>
  [H / G * 16 * Math.ceil(d / 4), (H / G + 1) * 8];

/**
 * No more parts than a binding of the device holds, of which all but one are ever used: see partition(). With one for
 * each head they take no more than the queries.
 */
function splitOf({ testing, maxBytes }: WgslDevice, shape: Shape, most: number, joins: boolean): Split {
  const heads = shape.B * shape.G;
  const few = areFew(heads * most);
  const joined = few && joins && heads <= MOST_JOINED;
  const good = testing && few ? heads + TESTED_PARTS : joined ? heads + JOINED_PARTS : decodeParts(heads, heads * most);
  const [sums, stats] = bytesOfPart(shape);
  const held = Math.min(Math.floor(maxBytes / sums) + 1, Math.floor(maxBytes / stats));
  return { parts: Math.max(heads + 1, Math.min(good, held)), share: joined ? 2 : few ? 4 : 8, joined };
}

/** How many parts the kernels for GPUs cut the entries into, of which no head has more than `most`. */
export const partsOf = (device: WgslDevice, shape: Shape, most: number, joins = false): number =>
  splitOf(device, shape, most, joins).parts;

/** The parts of attention, with the token of the queries, as the product that follows can put them together. */
export interface Attended extends MergedParts {
  readonly sums: Memory;
  readonly stats: Memory;
  readonly types: Memory;
  /** The book, which that product completes. */
  readonly book: Memory;
  readonly params: Readonly<Record<string, number>>;
}

/**
 * The same by kernels whose workgroups serve all query heads of a KV head. Processors compile these slowly.
 *
 * @param joins Whether the parts may be returned as they are.
 */
function decodeOnGpu(
  device: WgslDevice, q: Memory, { keys, values, entries, states, heads, parity, stored }: Slots, most: number,
  sizes: AttentionSizes, scale: number, fresh: Fresh | undefined, joins = false,
): Memory | Attended {
  const { B, H, G, d } = sizes;
  const bySubgroups = device.subgroups && hasDecodeSubgroups(d);
  const [cached, group] = [B * G, H / G];
  const { parts, share, joined } = splitOf(device, sizes, most, joins);
  const { first, merge, step } = passes(cached, group, d, stored, bySubgroups, fresh !== undefined, share);
  const [bytesOfSums, bytesOfStats] = bytesOfPart(sizes);
  const sums = device.allocate((parts - 1) * bytesOfSums / 4);
  const stats = device.allocate(parts * bytesOfStats / 4);
  const rule = fresh && { first: fresh.first, window: fresh.window, local: fresh.local, reach: fresh.reach };
  const params = { parts, parity, scale, ...rule };
  device.run(first, {
    params, inputs: fresh ? [q, heads, fresh.types, fresh.k, fresh.v] : [q, keys, values, heads, entries],
    outputs: fresh ? [sums, stats, keys, values, entries, states] : [sums, stats],
    groups: first.workgroups({ parts }), work: B * H * most * d * 4,
  });
  if (joined && fresh) return { heads: cached, group, d, step, sums, stats, types: fresh.types, book: heads, params };
  const out = device.allocate(B * H * d);
  device.run(merge, {
    params, inputs: fresh ? [sums, stats, fresh.types] : [sums, stats], outputs: [out, heads],
    groups: merge.workgroups({ parts }), work: B * H * parts * d * 8,
  });
  device.free(sums);
  device.free(stats);
  return out;
}

/** Attention of queries whose token is appended here, for devices of canAppend(): in parts, if they are few. */
export const decodeFresh = (
  device: WgslDevice, q: Memory, slots: Slots, most: number, sizes: AttentionSizes, scale: number, fresh: Fresh,
  joins: boolean,
): Memory | Attended => decodeOnGpu(device, q, slots, most, sizes, scale, fresh, joins);

/**
 * Attention of one query per sequence, q [B,H,1,d], over the slots of a cache, of which no head uses more than `most`:
 * out [B,H,1,d]. It also counts what the queries see.
 *
 * @param fresh The token of the queries, if it is to be appended here.
 */
export function decode(
  device: WgslDevice, q: Memory, slots: Slots, most: number, sizes: AttentionSizes, scale: number, fresh?: Fresh,
): Memory {
  const { stored, keys, values, entries, heads, parity } = slots;
  const { B, H, G, d } = sizes;
  const even = stored === 'f32' || d % 2 === 0; // or else rows are longer than d
  if (device.width === 64 && B * G <= MOST_HEADS && even) {
    return decodeOnGpu(device, q, slots, most, sizes, scale, fresh) as Memory;
  }
  const THREADS = device.width;
  const parts = Math.max(1, Math.min(MOST_PARTS, Math.ceil(most / THREADS)));
  const partial = device.allocate(B * H * parts * (d + 3));
  const four = d % 4 === 0;
  device.run(PARTS({
    THREADS, COLUMNS: Math.ceil(d / THREADS), ELEMENT: four ? 'vec4f' : 'f32', WIDTH: four ? 4 : 1,
    PRODUCT: four ? 'dot(a, b)' : 'a * b', ...reading(stored, four),
  }), {
    params: { group: H / G, d, parity, parts, scale }, inputs: [q, keys, values, entries, heads], outputs: [partial],
    groups: [parts, B * H], work: B * H * most * d * 4,
  });
  const out = device.allocate(B * H * d);
  device.run(MERGE({ THREADS }), {
    params: { group: H / G, d, parity, parts }, inputs: [partial], outputs: [heads, out], groups: [B * H],
    work: B * H * parts * d * 8,
  });
  device.free(partial);
  return out;
}
