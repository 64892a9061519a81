/**
 * §3 over the entries of caches: the newest queries of every head, on all threads.
 * @module
 */
import { endWithin } from '../src/core/lifetime.ts';
import type { FloatArray } from '../src/core/tensor.ts';
import type { HeadEntries } from './cache-entries.ts';
import type { Machine } from './machine.ts';

/** A KV head, and the queries of its query heads: query i0 and those after it, `count` in all. */
export interface CachedHead {
  readonly entries: HeadEntries;
  readonly i0: number;
  readonly count: number;
  /** Where the queries of the first query head are, and where its results go. */
  readonly q: number;
  readonly out: number;
  /** Gets the number of visible pairs, and the most that a query sees. */
  readonly note: (pairs: number, peak: number) => void;
}

interface Sizes {
  /** Query heads of a KV head, and the bytes from one to the next. */
  readonly share: number;
  readonly row: number;
  readonly d: number;
  readonly scale: number;
  readonly reach: number | undefined;
}

/** Queries of a part; see attention.ts. */
const BLOCK = 64;

/** Where the keys and values of a head are. */
interface Addresses {
  readonly k: number;
  readonly v: number;
}

/** Every query attends to the entries that it sees. */
export function attendHeads(on: Machine, heads: readonly CachedHead[], sizes: Sizes): void {
  const one = ({ entries, i0, count }: CachedHead): boolean =>
    on.size === 4 && count === 1 && entries.allSeen(i0, sizes.reach);
  const [decoding, others] = [heads.filter(one), heads.filter((head) => !one(head))];
  if (decoding.length > 0) withAddresses(on, decoding, (at) => decode(on, decoding, at, sizes));
  if (others.length > 0) withAddresses(on, others, (at) => attend(on, others, at, sizes));
}

/** Calls `work` with keys and values that kernels can read: those of float16 in float32 as they are, others widened. */
function withAddresses(on: Machine, heads: readonly CachedHead[], work: (at: readonly Addresses[]) => void): void {
  const [{ entries: { dtype } }] = heads;
  if (dtype === on.dtype || on.size === 4) {
    work(heads.map(({ entries }) => entries));
    return;
  }
  const each = heads.map(({ entries }) => entries.numbers());
  on.within(2 * each.reduce((sum, [keys]) => sum + keys.length, 0) * on.size, (room) => {
    let next = room;
    const put = (numbers: FloatArray): number => {
      const at = next;
      on.floats(at, numbers.length).set(numbers);
      next += numbers.length * on.size;
      return at;
    };
    work(each.map(([keys, values]) => ({ k: put(keys), v: put(values) })));
  });
}

/** The kernel's name, and the room that it needs. */
function kernelOf(
  on: Machine, name: string, heads: readonly CachedHead[], { share, d }: Sizes,
): [name: string, room: number] {
  const most = Math.max(...heads.map(({ entries }) => entries.count));
  const room = on.call('attendRoom', most, d, share);
  const half = heads[0].entries.dtype === 'f16' && on.size === 4;
  return half ? [`${name}Half`, room + 2 * most * d * 4] : [on.own(name), room];
}

/** One query that sees all entries. */
function decode(on: Machine, heads: readonly CachedHead[], at: readonly Addresses[], sizes: Sizes): void {
  const { share, row, d, scale } = sizes;
  const [name, room] = kernelOf(on, 'decode', heads, sizes);
  const parts = heads.map(({ entries, q, out }, n) => [q, row, at[n].k, at[n].v, entries.count, share, d, scale, out]);
  on.together(name, parts, { room, work: workOf(heads, sizes) });
  for (const { entries, note } of heads) note(entries.count, entries.count);
}

function workOf(heads: readonly CachedHead[], { share, d }: Sizes): number {
  return heads.reduce((sum, { entries, count }) => sum + 2 * entries.count * count * share * d, 0);
}

function attend(on: Machine, heads: readonly CachedHead[], at: readonly Addresses[], sizes: Sizes): void {
  const { share, row, d, scale, reach } = sizes;
  const [name, room] = kernelOf(on, 'attend', heads, sizes);
  const work = workOf(heads, sizes);
  const all = heads.reduce((sum, { entries }) => sum + entries.count, 0);
  on.within(2 * all * 4, (table) => {
    const parts: { readonly head: CachedHead; readonly numbers: readonly number[] }[] = [];
    let next = table;
    heads.forEach((head, h) => {
      const { entries, i0, count } = head;
      const n = entries.count;
      const [pos, last] = [next, next + n * 4];
      next += 2 * n * 4;
      on.whole(pos, n).set(entries.position.subarray(0, n));
      const ends = on.whole(last, n);
      for (let e = 0; e < n; e++) ends[e] = endWithin(entries.last[e], entries.position[e], reach);
      for (const [from, to] of on.ranges(count, BLOCK, work)) {
        const skipped = from * d * on.size;
        parts.push({ head, numbers: [
          head.q + skipped, row, at[h].k, at[h].v, pos, last, n, i0 + from, to - from, share, d, scale,
          head.out + skipped, 0, 0,
        ] });
      }
    });
    parts.reverse(); // the last queries see the most
    const seen = new Map<CachedHead, readonly [pairs: number, peak: number]>();
    on.together(name, parts.map(({ numbers }) => numbers), { room, work, note: (part, pairs, peak) => {
      const { head } = parts[part];
      const [sum, most] = seen.get(head) ?? [0, 0];
      seen.set(head, [sum + pairs, Math.max(most, peak)]);
    } });
    for (const [{ note }, [pairs, peak]] of seen) note(pairs, peak);
  });
}
