/**
 * Data parallelism over threads. Each sequence of a batch goes to one worker, and the parts are summed in the order of
 * the sequences, so that the weights are the same, bit for bit, on any number of threads.
 * @module
 */
import { Worker } from 'node:worker_threads';
import type { Engine } from '../core/engine.ts';
import type { CpuChoice } from '../engines.ts';
import { errorAgain } from '../core/errors.ts';
import type { ModelConfig } from '../model/config/config.ts';
import type { Weights } from '../model/decoder.ts';
import { type NDArray, sizeOf } from '../core/tensor.ts';
import type { Gradients } from '../train/gradients.ts';
import type { TrainOptions } from '../train/options.ts';

/** What the workers of a pool compute. */
export interface PoolWork {
  /** The engine of every worker, as for openCpuEngine(). */
  readonly engine?: CpuChoice | undefined;
  /** Whether computeGradients() or finetuneGradients() computes the gradients. */
  readonly task: 'train' | 'finetune';
  readonly options: TrainOptions;
  /** The shapes of the weights that have gradients, by name. Their values come with every step. */
  readonly trained: ReadonlyMap<string, readonly number[]>;
  /** The other weights. In float32 on shared memory they exist only once, however many threads there are. */
  readonly frozen?: ReadonlyMap<string, NDArray>;
}

/** Where a weight lies in the flat arrays. */
interface Slice {
  readonly name: string;
  readonly shape: readonly number[];
  readonly start: number;
  readonly length: number;
}

/** What a worker gets when it starts. */
export interface PoolSetup extends Required<Omit<PoolWork, 'trained' | 'engine'>>, Pick<PoolWork, 'engine'> {
  readonly layout: readonly Slice[];
  /** All trained weights, written by the main thread between steps. */
  readonly weights: Float64Array;
  /** One gradient per sequence of the batch, each written by one worker. */
  readonly slots: readonly Float64Array[];
}

/** One sequence to differentiate. */
export interface PoolRequest {
  readonly config: ModelConfig;
  readonly step: number;
  readonly sequence: number;
  readonly window: Int32Array;
}

/** Its sums, or an error as plain data, since the class of an error does not cross threads. */
export type PoolReply = { readonly sequence: number } & (
  | { readonly sums: Omit<Gradients, 'gradients'> }
  | { readonly error: { readonly name: string; readonly message: string; readonly stack: string } }
);

/** Weights of which every worker may have a copy, in bytes of float32 (docs/benchmarks.md, Threads). */
const COPIED = 16 << 20;

/**
 * Whether a pool computes a run, with a sequence for each worker, or the threads of one engine, which share one copy of
 * the weights. The latter share only what is large enough, so a pool is faster while weights are few. The bits are the
 * same.
 */
export function takesPool(
  { threads, engine, gpu }: { threads: number; engine?: CpuChoice | undefined; gpu?: unknown },
  batch: number, shapes: ReadonlyMap<string, readonly number[]>,
): boolean {
  if (gpu !== undefined || threads === 1 || batch === 1) return false;
  const numbers = [...shapes.values()].reduce((sum, shape) => sum + sizeOf(shape), 0);
  return engine === 'reference' || 4 * numbers <= COPIED;
}

/** Starts its workers with the first step. Close it when done. */
export class WorkerPool<Part extends Gradients> {
  readonly #setup: PoolSetup;
  readonly #count: number;
  #workers: Worker[] = [];

  /** @param threads The largest number of workers. There are never more than sequences. */
  constructor({ trained, frozen = new Map(), ...work }: PoolWork, threads: number) {
    let total = 0;
    const layout = [...trained].map(([name, shape]): Slice => {
      const length = sizeOf(shape);
      total += length;
      return { name, shape, start: total - length, length };
    });
    const shared = () => new Float64Array(new SharedArrayBuffer(8 * total));
    const slots = Array.from({ length: work.options.batch }, shared);
    this.#setup = { ...work, frozen, layout, weights: shared(), slots };
    this.#count = Math.min(threads, work.options.batch);
  }

  /** Computes the parts of a step. Each part, when called, puts its gradients on `engine`. */
  async parts(
    engine: Engine, config: ModelConfig, weights: Weights, windows: readonly Int32Array[], step: number,
  ): Promise<(() => Promise<Part>)[]> {
    const { layout, slots, weights: shared } = this.#setup;
    for (const { name, start } of layout) shared.set(await engine.read(weights.get(name)!), start);
    const sums = await this.#distribute(windows.map((window, sequence) => ({ config, step, sequence, window })));
    return sums.map((each, sequence) => async () => {
      const gradients = new Map(layout.map(({ name, shape, start, length }) => {
        return [name, engine.tensor(slots[sequence].subarray(start, start + length), shape)];
      }));
      return { ...each, gradients } as Part;
    });
  }

  /** Hands out requests one at a time, so that a slow thread gets fewer. */
  async #distribute(requests: readonly PoolRequest[]): Promise<Omit<Gradients, 'gradients'>[]> {
    const file = new URL('./worker.js', import.meta.url);
    while (this.#workers.length < this.#count) this.#workers.push(new Worker(file, { workerData: this.#setup }));
    const all: Omit<Gradients, 'gradients'>[] = [];
    let next = 0;
    await Promise.all(this.#workers.map(async (worker) => {
      for (let request = requests[next++]; request; request = requests[next++]) {
        const reply = await ask(worker, request);
        if ('error' in reply) throw errorAgain(reply.error);
        all[reply.sequence] = reply.sums;
      }
    }));
    return all;
  }

  /** Ends the threads, in the middle of a sequence if need be. */
  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

function ask(worker: Worker, request: PoolRequest): Promise<PoolReply> {
  return new Promise((resolve, reject) => {
    const done = (finish: () => void) => {
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      finish();
    };
    const onMessage = (reply: PoolReply) => done(() => resolve(reply));
    const onError = (error: Error) => done(() => reject(error));
    const onExit = (code: number) => onError(new Error(`a thread ended with code ${code} during sequence ${request.sequence}`));
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    worker.postMessage(request);
  });
}
