/**
 * A thread of `natsearch train` or `finetune`, which computes the gradients of single sequences into shared memory.
 * @module
 */
import { parentPort, workerData } from 'node:worker_threads';
import { openCpuEngine } from '../engines.ts';
import { uploadWeights } from '../model/decoder.ts';
import { finetuneGradients } from '../train/finetune-gradients.ts';
import { computeGradients } from '../train/gradients.ts';
import type { PoolReply, PoolRequest, PoolSetup } from './pool.ts';

const { engine: name, task, options, frozen, layout, weights: shared, slots } = workerData as PoolSetup;
const differentiate = task === 'train' ? computeGradients : finetuneGradients;
const engine = await openCpuEngine(name, 1);
const base = uploadWeights(engine, frozen);
const port = parentPort!;

port.on('message', (request: PoolRequest) => {
  compute(request).then(
    (reply) => port.postMessage(reply),
    (error: Error) => {
      const { name, message, stack = '' } = error;
      port.postMessage({ sequence: request.sequence, error: { name, message, stack } } satisfies PoolReply);
    },
  );
});

async function compute({ config, step, sequence, window }: PoolRequest): Promise<PoolReply> {
  const trained = layout.map(({ name, shape, start, length }) => {
    return [name, engine.tensor(shared.subarray(start, start + length), shape)] as const;
  });
  const { gradients, ...sums } = await differentiate(
    engine, config, options, new Map([...base, ...trained]), [window], { step, sequences: [sequence] },
  );
  for (const { name, start } of layout) {
    slots[sequence].set(await engine.read(gradients.get(name)!), start);
  }
  return { sequence, sums };
}
