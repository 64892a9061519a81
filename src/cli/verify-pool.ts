/**
 * Computes budgets on several threads. KV heads are independent, so each goes to whichever thread is free.
 * @module
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type HeadBudgets, headBudgets, type HeadProblem, problemOf } from '../oracle/judge/budget.ts';
import type { ClaimedDtype, OracleCase, Products } from '../oracle/types.ts';
import { pairCount } from '../oracle/judge/verify.ts';

/** One head to analyse. */
export interface BudgetRequest {
  readonly problem: HeadProblem;
  readonly dtype: ClaimedDtype;
}

/** The progress, or the result. */
export type BudgetReply = { readonly pairs: number } | { readonly budgets: HeadBudgets };

/** Fewer pairs than this take less time than starting a thread. */
const FEW_PAIRS = 2e6;

/** Starts its threads when first needed. Close it when done. */
export class BudgetPool {
  readonly #workers: Worker[] = [];

  /** The budgets by KV head. `onPairs` is called with the number of pairs done since its last call. */
  async compute(
    oracleCase: OracleCase, dtype: ClaimedDtype, onPairs: (pairs: number) => void, products?: Products,
  ): Promise<HeadBudgets[]> {
    const { batch, kvHeads } = oracleCase.parameters;
    const heads = batch * kvHeads;
    const threads = Math.min(heads, availableParallelism());
    if (threads === 1 || pairCount(oracleCase.parameters) < FEW_PAIRS) {
      return Array.from({ length: heads }, (_, head) =>
        headBudgets(problemOf(oracleCase, head, products), dtype, onPairs));
    }
    while (this.#workers.length < threads) this.#workers.push(new Worker(new URL('./verify-worker.js', import.meta.url)));
    const results: HeadBudgets[] = [];
    let next = 0;
    await Promise.all(this.#workers.slice(0, threads).map(async (worker) => {
      for (let head = next++; head < heads; head = next++) {
        results[head] = await ask(worker, { problem: copyOf(problemOf(oracleCase, head, products)), dtype }, onPairs);
      }
    }));
    return results;
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

/** Copies views into arrays of their own, as a message would copy the whole buffer behind a view. */
function copyOf({ pairs, last, types, ...rest }: HeadProblem): HeadProblem {
  const { q, k, v, dout } = pairs;
  const own = { ...pairs, q: q.slice(), k: k.slice(), v: v.slice(), ...(dout && { dout: dout.slice() }) };
  return { ...rest, pairs: own, last: last.slice(), types: types.slice() };
}

function ask(worker: Worker, request: BudgetRequest, onPairs: (pairs: number) => void): Promise<HeadBudgets> {
  return new Promise((resolve, reject) => {
    const onMessage = (reply: BudgetReply): void => {
      if ('pairs' in reply) return onPairs(reply.pairs);
      worker.off('message', onMessage).off('error', onError);
      resolve(reply.budgets);
    };
    const onError = (error: Error): void => {
      worker.off('message', onMessage);
      reject(error);
    };
    worker.on('message', onMessage).once('error', onError);
    worker.postMessage(request);
  });
}
