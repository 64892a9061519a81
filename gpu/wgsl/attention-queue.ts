/**
 * The queue of keys that some query of a workgroup sees, which both kernels of dq fill as they look through all keys.
 * @module
 */
import { type Local, wgsl } from './fast/template.ts';

const words = (threads: number): number => Math.ceil(threads / 32);

/** A queue in the workgroup's memory: up to a tile of `others` keys, and what one round of threads adds. */
export const queueLocals = (threads: number, others: number): Record<string, Local> => ({
  queue: ['u32', others + threads], marks: ['atomic<u32>', words(threads)], found: ['u32', 1],
});

/**
 * One round: thread t looks at the key `start + t`, and appends it to `queue` in the order of keys if a query from
 * `begin` on sees it. Expects the variables `start`, `begin`, `count`, `base` and `queued`, and leaves the new length
 * in `queued`.
 */
export const enqueueLive = (threads: number): string => wgsl`
    let candidate = start + t;
    var live = false;
    if (candidate < count) { live = bitcast<i32>(last[base + candidate]) >= max(i32(begin), i32(candidate)); }
    if (t < ${words(threads)}) { atomicStore(&marks[t], 0); }
    workgroupBarrier();
    if (live) { atomicOr(&marks[t / 32], 1u << (t % 32)); }
    workgroupBarrier();
    var before = 0u;
    var all = 0u;
    for (var word = 0u; word < ${words(threads)}; word++) {
      let marked = atomicLoad(&marks[word]);
      all += countOneBits(marked);
      if (word < t / 32) { before += countOneBits(marked); }
      if (word == t / 32) { before += countOneBits(marked & ((1u << (t % 32)) - 1)); }
    }
    if (live) { queue[queued + before] = candidate; }
    if (t == 0) { found[0] = queued + all; }
    queued = workgroupUniformLoad(&found[0]);`;
