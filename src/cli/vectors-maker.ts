/**
 * Makes cases on a thread of its own, so that a signal is heard amid one.
 * @module
 */
import { Worker } from 'node:worker_threads';
import { errorAgain, StoppedError } from '../core/errors.ts';
import type { CaseEntry, Heading } from '../oracle/cases/manifest.ts';
import type { SuiteName } from '../oracle/cases/suites.ts';

/** The case to make. */
export interface MakeRequest {
  readonly suite: SuiteName;
  readonly index: number;
  readonly heading: Heading;
}

/** A case and its file. */
export interface MadeCase {
  readonly entry: CaseEntry;
  readonly bytes: Uint8Array;
}

/** What came out. */
export type MakeReply = MadeCase | { readonly error: { name: string; message: string; stack: string } };

/** A thread that starts when first needed; close it when done. */
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

  /** Ends the thread, amid a case if need be. */
  async close(): Promise<void> {
    await this.#worker?.terminate();
  }
}
