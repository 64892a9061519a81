/**
 * Checks snapshots against the caches and pools that are to hold them.
 * @module
 */
import { expectObject, typed } from './arguments.ts';
import type { CacheOptions, CacheSnapshot, ChunkPoolSnapshot, MassCacheOptions } from './cache.ts';
import { ShapeError, ValueError } from './errors.ts';
import { endWithin, chunkOf, FOREVER } from './lifetime.ts';
import { checkMassSnapshot } from './mass-checks.ts';

/** Refuses an array of another length. */
function expectLength(name: string, array: ArrayLike<number>, length: number, why: string): void {
  typed(`the snapshot's ${name}`, array);
  if (array.length !== length) throw new ShapeError(`the snapshot's ${name} has ${array.length} elements but must have ${length}: ${why}`);
}

/** Refuses anything but whole numbers from 0 to `most`. */
function expectCounts(name: string, array: ArrayLike<number>, most: number): void {
  for (let n = 0; n < array.length; n++) {
    const x = array[n];
    if (!Number.isInteger(x) || x < 0 || x > most) throw new ValueError(`the snapshot's ${name} holds ${x}: it must be a whole number from 0 to ${most}`);
  }
}

/** Checks that a snapshot fits the layout of the cache that is to hold it, and that it does not contradict itself. */
export function checkCacheSnapshot(snapshot: CacheSnapshot, options: CacheOptions | MassCacheOptions): void {
  expectObject('the snapshot', snapshot);
  const { batch: B, kvHeads: G, headDim: d } = options;
  const { seen, live, peakLive, visiblePairs, positions } = snapshot;
  expectLength('seen', seen, B, `the cache has ${B} sequences`);
  for (const name of ['live', 'peakLive', 'visiblePairs'] as const) {
    expectLength(name, snapshot[name], B * G, `the cache has ${B} sequences of ${G} KV heads`);
  }
  expectCounts('seen', seen, FOREVER - 1);
  expectCounts('live', live, FOREVER);
  expectCounts('peakLive', peakLive, FOREVER - 1);
  expectCounts('visiblePairs', visiblePairs, Number.MAX_SAFE_INTEGER);
  const E = live.reduce((sum, n) => sum + n, 0);
  for (const name of ['positions', 'last', 'open'] as const) expectLength(name, snapshot[name], E, `${E} entries are live`);
  for (const name of ['keys', 'values'] as const) expectLength(name, snapshot[name], E * d, `${E} entries of size ${d} are live`);
  for (let head = 0, at = 0; head < B * G; at += live[head++]) {
    const tokens = seen[Math.floor(head / G)];
    const held = new Set(positions.subarray(at, at + live[head]));
    if (held.size < live[head]) throw new ValueError(`the snapshot holds a position twice in head ${head}: it is damaged`);
    if ('mass' in options) continue;
    for (let n = at; n < at + live[head]; n++) checkEntry(snapshot, n, tokens, options);
  }
  if ('mass' in options) checkMassSnapshot(snapshot, options);
}

/** Checks entry n of a sequence that has seen `tokens` tokens. */
function checkEntry({ positions, last, open }: CacheSnapshot, n: number, tokens: number, options: CacheOptions): void {
  const [j, end] = [positions[n], last[n]];
  const what = `entry ${n} of the snapshot`;
  if (!(j >= 0 && j < tokens)) throw new ValueError(`${what} has position ${j} but its sequence has seen ${tokens} tokens: it is damaged`);
  const most = endWithin(FOREVER, j, options.reach);
  if (!(end >= j && end <= most)) throw new ValueError(`${what}, at position ${j}, lives until ${end}: it must be ${j} to ${most}`);
  const untyped = chunkOf(j, options.chunk) === chunkOf(tokens, options.chunk);
  const isOpen = open[n] === 1;
  if (isOpen && options.localWindow !== undefined) throw new ValueError(`${what}, at position ${j}, is open: with a second window of ${options.localWindow} every LOCAL entry has an end`);
  if (!(isOpen || open[n] === 0) || (isOpen && untyped) || ((isOpen || untyped) && end !== most)) {
    throw new ValueError(`${what}, at position ${j}, lives until ${end} and is marked ${open[n]}: only a LOCAL entry that lives until ${most} is open`);
  }
}

/** Checks that a snapshot fits the pool that is to hold it. */
export function checkChunkPoolSnapshot({ seen, state }: ChunkPoolSnapshot, batch: number, width: number): void {
  expectLength('seen', seen, batch, `the pool has ${batch} sequences`);
  expectCounts('seen', seen, FOREVER - 1);
  expectLength('state', state, batch * width, `the pool has ${batch} sequences of width ${width}`);
}
