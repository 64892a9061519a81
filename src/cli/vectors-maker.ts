/**
 * Makes cases on a separate thread, so that the main thread can respond to signals in the meantime.
 * @module
 */
import { Worker } from 'node:worker_threads';
import { errorAgain, StoppedError } from '../core/errors.ts';
import type { CaseEntry, Heading } from '../oracle/cases/manifest.ts';
import type { Recipe } from '../oracle/cases/recipes.ts';

/** The case to make. */
export interface MakeRequest {
  readonly recipe: Recipe;
  readonly heading: Heading;
}

/** A case as its entry of the manifest and the bytes of its file. */
export interface MadeCase {
  readonly entry: CaseEntry;
  readonly bytes: Uint8Array;
}

/** The thread's reply: a case, or an error. */
export type MakeReply = MadeCase | { readonly error: { name: string; message: string; stack: string } };

/** Starts its thread when first needed. Close it when done. */
export class CaseMaker {
  #worker: Worker | undefined;

  /** @throws {StoppedError} As soon as `signal` aborts. */
  async make(request: MakeRequest, signal: AbortSignal): Promise<MadeCase> {
    const worker = (this.#worker ??= new Worker(new URL('./vectors-worker.js', import.meta.url)));
    const reply = await new Promise<MakeReply>((resolve, reject) => {
      const done = (finish: () => void) => {
        worker.off('message', onMessage).off('error', onError);
        signal.removeEventListener('abort', onAbort);
        finish();
      };
      const onMessage = (message: MakeReply) => done(() => resolve(message));
      const onError = (error: Error) => done(() => reject(error));
      const onAbort = () => onError(new StoppedError('a case was stopped', { cause: signal.reason }));
      worker.on('message', onMessage).on('error', onError);
      signal.addEventListener('abort', onAbort);
      if (signal.aborted) onAbort();
      else worker.postMessage(request);
    });
    if ('error' in reply) throw errorAgain(reply.error);
    return reply;
  }

  /** Ends the thread, in the middle of a case if need be. */
  async close(): Promise<void> {
    await this.#worker?.terminate();
  }
}
