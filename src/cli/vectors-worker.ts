/**
 * The thread of `natsearch vectors`, which makes and packs cases. While it does, it responds to nothing for seconds.
 * @module
 */
import { parentPort } from 'node:worker_threads';
import { createEngine } from '../engines.ts';
import { makeCase } from '../oracle/cases/make-case.ts';
import { packCase } from '../oracle/cases/vector-files.ts';
import type { MakeReply, MakeRequest } from './vectors-maker.ts';

const port = parentPort!;
const engine = createEngine();

port.on('message', ({ recipe, heading }: MakeRequest) => {
  makeCase(engine, recipe, heading.seed).then((made) => packCase(made, heading)).then(
    ({ entry, bytes }) => port.postMessage({ entry, bytes } satisfies MakeReply),
    (error: Error) => {
      const { name, message, stack = '' } = error;
      port.postMessage({ error: { name, message, stack } } satisfies MakeReply);
    },
  );
});
