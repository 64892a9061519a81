/**
 * The compiled kernels: a module that is compiled once, and an instance with a memory for each engine.
 * @module
 */
import { DeviceError } from '../src/core/errors.ts';
import { MODULE } from './module.ts';

/** The functions of wasm/kernels/, by name. */
export type Program = Readonly<Record<string, (...args: number[]) => number>>;

let [alone, shared]: (WebAssembly.Module | undefined)[] = [];

/**
 * The kernels for a memory of one engine, or for one that threads share.
 *
 * @throws {DeviceError} If WebAssembly or its SIMD is missing.
 */
export function compiled(isShared: boolean): WebAssembly.Module {
  try {
    if (isShared) return (shared ??= new WebAssembly.Module(ofSharedMemory(bytes())));
    return (alone ??= new WebAssembly.Module(bytes()));
  } catch (error) {
    throw new DeviceError(`WebAssembly with SIMD is not available here (${(error as Error).message}): use { engine: 'reference' }`);
  }
}

/** An instance of the kernels on a memory. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Program {
  return new WebAssembly.Instance(module, { env: { memory, abort } }).exports as Program;
}

const bytes = (): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(MODULE), (letter) => letter.charCodeAt(0));

/**
 * The same module with the import of a memory that is shared: the byte before the limits of a memory is 1 if it has a
 * maximum, and 3 if it is also shared. Nothing else differs, since no kernel waits for another thread.
 */
function ofSharedMemory(module: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const name = [6, ...new TextEncoder().encode('memory'), 2]; // its length, and the kind of import
  const at = module.findIndex((_, n) => name.every((byte, m) => module[n + m] === byte)) + name.length;
  if (module[at] !== 1) throw new DeviceError('the module imports no memory with a maximum');
  module[at] = 3;
  return module;
}

/** What AssemblyScript calls where its own library fails, which the kernels do not use. */
function abort(): never {
  throw new Error('a kernel aborted');
}
