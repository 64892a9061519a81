/**
 * Data parallelism over threads: each sequence of a batch goes to one worker; the parts are summed in the
 * order of sequences, so the weights are the same bit for bit on any number of threads.
 * @module
 */
import { Worker } from 'node:worker_threads';
import type { Engine } from '../engine.ts';
import { expectedWeights, type ModelConfig } from '../model/config.ts';
import type { Weights } from '../model/decoder.ts';
import { sizeOf } from '../tensor.ts';
import type { Gradients } from '../train/gradients.ts';
import type { TrainOptions } from '../train/options.ts';
import { type GradientSource, sumInOrder } from '../train/trainer.ts';

/** Where a weight lies in the flat arrays. */
interface Slice {
  readonly name: string;
  readonly shape: readonly number[];
  readonly start: number;
  readonly length: number;
}

/** What a worker is born with. */
export interface PoolSetup {
  readonly config: ModelConfig;
  readonly options: TrainOptions;
  readonly layout: readonly Slice[];
  /** All weights, written by the main thread between steps. */
  readonly weights: Float64Array;
  /** One gradient per sequence of the batch, each written by one worker. */
  readonly slots: readonly Float64Array[];
}

/** One sequence to differentiate. */
export interface PoolRequest {
  readonly step: number;
  readonly sequence: number;
  readonly window: Int32Array;
}

/** Its sums, or why there are none. */
export type PoolReply =
  | (Omit<Gradients, 'gradients'> & { readonly sequence: number })
  | { readonly sequence: number; readonly error: string };

/** A gradient source of `threads` workers; close it when done. */
export class WorkerPool implements GradientSource {
  readonly #setup: PoolSetup;
  readonly #workers: Worker[];

  constructor(config: ModelConfig, options: TrainOptions, threads: number) {
    let total = 0;
    const layout = [...expectedWeights(config)].map(([name, shape]): Slice => {
      const length = sizeOf(shape);
      total += length;
      return { name, shape, start: total - length, length };
    });
    const shared = () => new Float64Array(new SharedArrayBuffer(8 * total));
    const slots = Array.from({ length: options.batch }, shared);
    this.#setup = { config, options, layout, weights: shared(), slots };
    const file = new URL('./worker.js', import.meta.url);
    const count = Math.min(threads, options.batch);
    this.#workers = Array.from({ length: count }, () => new Worker(file, { workerData: this.#setup }));
  }

  async compute(engine: Engine, weights: Weights, windows: readonly Int32Array[], step: number): Promise<Gradients> {
    const { layout, slots, weights: shared } = this.#setup;
    for (const { name, start } of layout) shared.set(await engine.read(weights.get(name)!), start);
    const replies = await this.#distribute(windows.map((window, sequence) => ({ step, sequence, window })));
    return sumInOrder(engine, weights, replies.map((reply, sequence) => async () => {
      const gradients = new Map(layout.map(({ name, shape, start, length }) => {
        return [name, engine.tensor(slots[sequence]!.subarray(start, start + length), shape)];
      }));
      return { ...reply, gradients };
    }));
  }

  /** Hands out requests one at a time, so that a slow thread gets fewer. */
  #distribute(requests: readonly PoolRequest[]): Promise<Omit<Gradients, 'gradients'>[]> {
    const replies: Omit<Gradients, 'gradients'>[] = [];
    let next = 0;
    const serve = (worker: Worker) => new Promise<void>((resolve, reject) => {
      const done = (finish: () => void) => {
        worker.off('message', onMessage).off('error', onError);
        finish();
      };
      const send = () => {
        const request = requests[next++];
        if (request) worker.postMessage(request);
        else done(resolve);
      };
      const onMessage = (reply: PoolReply) => {
        if ('error' in reply) return done(() => reject(new Error(reply.error)));
        replies[reply.sequence] = reply;
        send();
      };
      const onError = (error: Error) => done(() => reject(error));
      worker.on('message', onMessage).on('error', onError);
      send();
    });
    return Promise.all(this.#workers.map(serve)).then(() => replies);
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
