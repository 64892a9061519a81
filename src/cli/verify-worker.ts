/**
 * A thread of `natsearch verify`, which computes the budgets of single KV heads.
 * @module
 */
import { parentPort } from 'node:worker_threads';
import { headBudgets } from '../oracle/judge/budget.ts';
import type { BudgetReply, BudgetRequest } from './verify-pool.ts';

const port = parentPort!;
const reply = (message: BudgetReply): void => port.postMessage(message);

port.on('message', ({ problem, dtype }: BudgetRequest) => {
  reply({ budgets: headBudgets(problem, dtype, (pairs) => reply({ pairs })) });
});
