/**
 * The compiled kernels: a module that is compiled once, and an instance with a memory for each engine.
 * @module
 */
import { DeviceError } from '../src/core/errors.ts';
import { MODULE } from './module.ts';

/** The functions of wasm/kernels/, by name. */
export type Program = Readonly<Record<string, (...args: number[]) => number>>;

let compiled: WebAssembly.Module | undefined;

/** An instance of the kernels on a memory. @throws {DeviceError} If WebAssembly or its SIMD is missing. */
export function instantiate(memory: WebAssembly.Memory): Program {
  try {
    compiled ??= new WebAssembly.Module(Uint8Array.from(atob(MODULE), (letter) => letter.charCodeAt(0)));
    return new WebAssembly.Instance(compiled, { env: { memory, abort } }).exports as Program;
  } catch (error) {
    throw new DeviceError(`WebAssembly with SIMD is not available here (${(error as Error).message}): use { engine: 'reference' }`);
  }
}

/** What AssemblyScript calls where its own library fails, which the kernels do not use. */
function abort(): never {
  throw new Error('a kernel aborted');
}
