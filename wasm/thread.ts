/**
 * What every thread of an engine runs. Its text is what a worker starts from, so that there is no file to find at run
 * time; hence it refers to nothing outside of itself.
 * @module
 */

/** What the threads of an engine share. */
export interface Shared {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Whole numbers, on which threads wait: LIMIT, NEXT, DONE, FAILED and READY of thread(). */
  readonly control: Int32Array;
  /** The number of the kernel, how many numbers a part has, where the rooms of threads are, and how long each is. */
  readonly job: Float64Array;
  /** The numbers of each part, one part after the other. */
  readonly parts: Float64Array;
  /** Two numbers that each part returns. */
  readonly results: Float64Array;
}

/** What one of them needs in addition. */
export interface ThreadSetup extends Shared {
  /** 0 is the thread of the engine itself. */
  readonly thread: number;
  /** 192 bytes of the memory that only this thread uses. */
  readonly edge: number;
}

/** The parts of a job are numbered within this; above it is the number of the job. */
export const MOST_PARTS = 4096 as const;

/**
 * A thread takes the next part of the job until none is left. The words of NEXT and LIMIT have the number of the job in
 * their upper bits, so that a thread that comes late to one job cannot take a part of another.
 */
export function thread(
  { module, memory, control, job, parts, results, thread: own, edge }: ThreadSetup,
): { take(): void; serve(): void } {
  const [LIMIT, NEXT, DONE, FAILED, READY] = [0, 1, 2, 3, 4];
  const abort = function () {
    throw new Error('a kernel aborted');
  };
  const instance = new WebAssembly.Instance(module, { env: { memory, abort } });
  const exported = instance.exports as Record<string, (...args: number[]) => number>;
  const kernels = Object.keys(exported).map((name) => exported[name]);
  exported['setEdge'](edge);
  const take = function () {
    for (;;) {
      const claim = Atomics.add(control, NEXT, 1);
      const limit = Atomics.load(control, LIMIT);
      if (claim >> 12 !== limit >> 12 || (claim & 4095) >= (limit & 4095)) return;
      const part = claim & 4095;
      try {
        const args = Array.from(parts.subarray(part * job[1], (part + 1) * job[1]));
        if (job[3] > 0) args.push(job[2] + own * job[3]);
        results[2 * part] = kernels[job[0]](...args);
        results[2 * part + 1] = exported['peakOf']();
      } catch {
        Atomics.store(control, FAILED, 1);
      }
      if (Atomics.add(control, DONE, 1) + 1 === (limit & 4095)) Atomics.notify(control, DONE);
    }
  };
  const serve = function () {
    let seen = 0;
    Atomics.add(control, READY, 1);
    for (;;) {
      // The next job often comes soon, and waking up takes longer than most kernels.
      for (let turn = 0; turn < 20_000 && Atomics.load(control, LIMIT) === seen; turn++);
      Atomics.wait(control, LIMIT, seen);
      seen = Atomics.load(control, LIMIT);
      if (seen < 0) return;
      take();
    }
  };
  return { take, serve };
}
