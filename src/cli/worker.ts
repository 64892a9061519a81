/**
 * A thread of `natsearch train`: computes the gradients of single sequences into shared memory.
 * @module
 */
import { parentPort, workerData } from 'node:worker_threads';
import { createEngine } from '../engines.ts';
import { computeGradients } from '../train/gradients.ts';
import type { PoolReply, PoolRequest, PoolSetup } from './pool.ts';

const { config, options, layout, weights: shared, slots } = workerData as PoolSetup;
const engine = createEngine();
const port = parentPort!;

port.on('message', (request: PoolRequest) => {
  compute(request).then(
    (reply) => port.postMessage(reply),
    (error: unknown) => port.postMessage({ sequence: request.sequence, error: String(error) } satisfies PoolReply),
  );
});

async function compute({ step, sequence, window }: PoolRequest): Promise<PoolReply> {
  const weights = new Map(layout.map(({ name, shape, start, length }) => {
    return [name, engine.tensor(shared.subarray(start, start + length), shape)] as const;
  }));
  const { gradients, ...rest } = await computeGradients(
    engine, config, options, weights, [window], { step, sequences: [sequence] },
  );
  for (const { name, start } of layout) {
    slots[sequence]!.set(await engine.read(gradients.get(name)!), start);
  }
  return { sequence, ...rest };
}
