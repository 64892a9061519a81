/**
 * A thread that draws Gumbel noise: a worker of browsers and Deno, or a thread of Node. Its program is a text, so that
 * no bundler has to know of it; what it computes is the WebAssembly of core/gumbel-module.ts, as everywhere.
 * @module
 */
import { GUMBEL_MODULE } from '../core/gumbel-module.ts';
import { builtin, hasBuiltins } from '../files/builtin.ts';

/** Draws of one step: the states of their streams, and how many numbers each has. */
export interface Wanted {
  readonly step: number;
  readonly states: readonly (readonly number[])[];
  readonly lengths: readonly number[];
  readonly narrow: boolean;
}

/** All numbers of a step, one draw after the other; undefined if there is no WebAssembly. */
export interface Drawn {
  readonly step: number;
  readonly noise?: Float32Array | Float64Array;
}

/** What the program says and hears is Wanted and Drawn. */
const PROGRAM = `
let program;
const start = () => {
  const bytes = Uint8Array.from(atob('${GUMBEL_MODULE}'), (letter) => letter.charCodeAt(0));
  return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
};
const draw = ({ step, states, lengths, narrow }) => {
  try {
    program = program || start();
    const Numbers = narrow ? Float32Array : Float64Array;
    const most = program.block();
    const block = new Numbers(program.memory.buffer, program.numbers(), most);
    const noise = new Numbers(lengths.reduce((a, b) => a + b, 0));
    let to = 0;
    states.forEach((state, n) => {
      program.begin(...state);
      for (let rest = lengths[n]; rest > 0; rest -= most) {
        const count = Math.min(most, rest);
        program.draw(count);
        if (narrow) program.narrow(count);
        noise.set(block.subarray(0, count), to);
        to += count;
      }
    });
    port.postMessage({ step, noise }, [noise.buffer]);
  } catch (error) {
    port.postMessage({ step });
  }
};
`;
/** Where the program is a thread of Node, and where it is a worker. */
const IN_NODE = `const port = require('node:worker_threads').parentPort;${PROGRAM}port.on('message', draw);`;
const IN_WORKER = `const port = globalThis;${PROGRAM}globalThis.onmessage = (event) => draw(event.data);`;

/** A thread that runs. */
export interface NoiseThread {
  ask(wanted: Wanted): void;
  end(): void;
}

/** What of a browser's Worker is used. */
interface WebWorker {
  onmessage: ((event: { data: Drawn }) => void) | null;
  onerror: (() => void) | null;
  postMessage(wanted: Wanted): void;
  terminate(): void;
}

/** Starts a thread, which calls `drawn` for each request; undefined where none can be. `failed`: it has ended. */
export function startNoiseThread(drawn: (noise: Drawn) => void, failed: () => void): NoiseThread | undefined {
  try {
    if (hasBuiltins()) {
      const worker = new (builtin('node:worker_threads').Worker)(IN_NODE, { eval: true });
      worker.on('message', drawn).on('error', failed);
      worker.unref(); // a program may end while it draws
      return { ask: (wanted) => worker.postMessage(wanted), end: () => void worker.terminate() };
    }
    const { Worker: Web } = globalThis as unknown as { Worker: new (url: string, options: object) => WebWorker };
    const url = URL.createObjectURL(new Blob([IN_WORKER], { type: 'text/javascript' }));
    const worker = new Web(url, { type: 'module' });
    worker.onmessage = ({ data }) => drawn(data);
    worker.onerror = failed;
    return {
      ask: (wanted) => worker.postMessage(wanted),
      end: () => {
        worker.terminate();
        URL.revokeObjectURL(url);
      },
    };
  } catch {
    return undefined; // no threads here, or a policy of the page forbids this one
  }
}
