/**
 * The threads of an engine: worker threads in Node and Deno, Web Workers in browsers. They share the memory of the
 * module, and help with the parts of a job once they are there; nothing waits for one that is not.
 * @module
 */
import { DeviceError } from '../src/core/errors.ts';
import { MOST_PARTS, type Shared, thread } from './thread.ts';

/** The most numbers that a part may have, and the most parts of a job. */
const WIDTH = 24;
export const MOST_AT_ONCE = 512;
/** The most threads of an engine. */
export const MOST_THREADS = 64;

/** As much of a worker as is needed, in Node, Deno and browsers. */
interface Helper {
  terminate(): unknown;
}

/** Why there can be only one thread here, or undefined. */
export function oneThreadOnly(): string | undefined {
  const { crossOriginIsolated: isolated = true } = globalThis as { crossOriginIsolated?: boolean };
  if (typeof SharedArrayBuffer === 'undefined' || !isolated) {
    return 'memory is not shared here: a page has to be cross-origin isolated';
  }
  return workerThreads() || typeof Worker !== 'undefined' ? undefined : 'there are no workers here';
}

/** How many threads this machine can run at once. */
export function machineThreads(): number {
  const { navigator } = globalThis as { navigator?: { hardwareConcurrency?: number } };
  const os = builtin('node:os') as { availableParallelism?(): number } | undefined;
  return os?.availableParallelism?.() ?? navigator?.hardwareConcurrency ?? 1;
}

export class Threads {
  /** How many there are to be, with the thread of the engine. */
  readonly count: number;
  /** Why there are no others, once that is known. */
  refused: string | undefined;
  readonly #shared: Shared;
  readonly #edges: number;
  readonly #take: () => void;
  readonly #kernels: ReadonlyMap<string, number>;
  #helpers: Helper[] | undefined;
  #job = 0;
  readonly #mayWait: boolean;

  /** @param edges Where 192 bytes for each thread are. */
  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory, count: number, edges: number) {
    this.count = count;
    const floats = (length: number) => new Float64Array(new SharedArrayBuffer(8 * length));
    const control = new Int32Array(new SharedArrayBuffer(4 * 8));
    const [parts, results] = [floats(MOST_AT_ONCE * WIDTH), floats(2 * MOST_AT_ONCE)];
    this.#shared = { module, memory, control, job: floats(4), parts, results };
    this.#edges = edges;
    this.#take = thread({ ...this.#shared, thread: 0, edge: edges }).take;
    const names = WebAssembly.Module.exports(module).map(({ name }) => name);
    this.#kernels = new Map(names.map((name, n) => [name, n]));
    this.#mayWait = mayWait(control);
  }

  /** The number of threads that help, or could once a job is there for them. */
  get running(): number {
    return this.refused === undefined ? this.count : 1;
  }

  /**
   * Calls a kernel once for each part, on all threads. Returns two numbers for each: what it returned, and peakOf().
   *
   * @param rooms Where each thread has `room` bytes, whose address is then the kernel's last argument.
   */
  run(name: string, parts: readonly (readonly number[])[], rooms = 0, room = 0): Float64Array {
    this.#helpers ??= this.#start();
    const { control, job, parts: table, results } = this.#shared;
    const length = parts[0].length;
    job.set([this.#kernels.get(name)!, length, rooms, room]);
    parts.forEach((numbers, part) => table.set(numbers, part * length));
    this.#job = (this.#job + 1) % 2 ** 18;
    Atomics.store(control, DONE, 0);
    Atomics.store(control, LIMIT, this.#job * MOST_PARTS + parts.length);
    Atomics.store(control, NEXT, this.#job * MOST_PARTS);
    Atomics.notify(control, LIMIT, Math.min(parts.length, this.count) - 1);
    this.#take();
    for (let turn = 0, done = 0; (done = Atomics.load(control, DONE)) < parts.length; turn++) {
      if (turn > 20_000 && this.#mayWait) Atomics.wait(control, DONE, done);
    }
    if (Atomics.exchange(control, FAILED, 0) !== 0) throw new DeviceError(`a thread failed in ${name}`);
    return results;
  }

  /** Starts the threads and waits until they are there, or one is refused. */
  async ready(): Promise<void> {
    this.#helpers ??= this.#start();
    const end = performance.now() + 10_000;
    while (this.refused === undefined && Atomics.load(this.#shared.control, READY) < this.count - 1) {
      if (performance.now() > end) this.#refuse('workers do not start');
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  #refuse(reason: string): void {
    this.refused ??= reason;
    this.#end();
  }

  #start(): Helper[] {
    const weak = new WeakRef(this); // a worker must not keep alive what ends it
    const refuse = (reason: string): void => {
      const owner = weak.deref();
      if (owner) owner.#refuse(reason);
    };
    try {
      const setups = Array.from({ length: this.count - 1 }, (_, n) => {
        return { ...this.#shared, thread: n + 1, edge: this.#edges + 192 * (n + 1) };
      });
      const helpers = startWorkers(setups, refuse);
      unused.register(this, { helpers, control: this.#shared.control });
      return helpers;
    } catch (error) {
      this.refused ??= (error as Error).message;
      return [];
    }
  }

  #end(): void {
    end({ helpers: this.#helpers ?? [], control: this.#shared.control });
    this.#helpers = [];
  }

  /** Ends them. run() then has the thread of the engine alone. */
  dispose(): void {
    this.#refuse('the engine was disposed of');
  }
}

const [LIMIT, NEXT, DONE, FAILED, READY] = [0, 1, 2, 3, 4];

/** Ends the workers of engines that nobody disposed of. */
const unused = new FinalizationRegistry(end);

function end({ helpers, control }: { helpers: readonly Helper[]; control: Int32Array }): void {
  Atomics.store(control, LIMIT, -1);
  Atomics.notify(control, LIMIT);
  for (const helper of helpers) void helper.terminate();
}

function mayWait(control: Int32Array): boolean {
  try {
    Atomics.wait(control, LIMIT, -1, 0);
    return true;
  } catch {
    return false; // the main thread of a page
  }
}

function startWorkers(setups: readonly object[], refuse: (reason: string) => void): Helper[] {
  const text = `const __name = (x) => x; const thread = ${thread.toString()};`; // some bundlers call __name
  const node = workerThreads();
  if (node) {
    return setups.map((workerData) => {
      // Options of this process, such as --input-type=module, are not for this text.
      const own = `thread(process.getBuiltinModule('node:worker_threads').workerData).serve();`;
      const worker = new node.Worker(`${text} ${own}`, { eval: true, execArgv: [], workerData });
      worker.on('error', (error: Error) => refuse(error.message));
      worker.unref();
      return worker;
    });
  }
  const own = 'onmessage = ({ data }) => { thread(data).serve(); close(); };';
  const url = URL.createObjectURL(new Blob([`${text} ${own}`], { type: 'text/javascript' }));
  return setups.map((setup) => {
    const worker = new Worker(url);
    worker.onerror = (event) => {
      event.preventDefault();
      refuse(event.message || 'the policy of this page refuses workers from blob: addresses');
    };
    worker.postMessage(setup);
    return worker;
  });
}

interface NodeWorker extends Helper {
  on(event: 'error', listener: (error: Error) => void): void;
  unref(): void;
}

interface WorkerThreads {
  readonly Worker: new (source: string, options: { eval: true; execArgv: []; workerData: object }) => NodeWorker;
}

function workerThreads(): WorkerThreads | undefined {
  return builtin('node:worker_threads') as WorkerThreads | undefined;
}

/** A built-in module of Node or Deno, which this folder must not import. */
function builtin(name: string): unknown {
  return (globalThis as { process?: { getBuiltinModule?(name: string): unknown } }).process?.getBuiltinModule?.(name);
}
