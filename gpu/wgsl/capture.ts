/**
 * Commands that are kept to be recorded again: a step of decoding has the same ones for every token, but for a few
 * parameters. To work them out anew for each takes the host longer than the GPU needs to run them.
 * @module
 */
import type { Repeated } from '../device/recorder.ts';
import type { Memory } from './memory.ts';
import type { Kernel } from './template.ts';

/** A command, and at which words of its parameters the fields are that may change. */
export interface Kept extends Repeated {
  readonly fields: Readonly<Record<string, number>>;
}

/** What a piece of work recorded, and the memory that it used, which stays its own until freed. */
export class Capture {
  readonly commands: Kept[] = [];
  /** All memory that was allocated, each held once by the capture. */
  readonly memories: Memory[] = [];
  /** Whether the commands are all that the work did. */
  whole = true;
  /** Memory that the work has freed, which it may take again. */
  readonly #free = new Map<number, Memory[]>();
  readonly #owned = new Set<Memory>();

  note({ fields }: Kernel, command: Repeated): void {
    this.commands.push({ ...command, fields: Object.fromEntries(fields.map(({ name }, n) => [name, n])) });
  }

  /** The memory of their parameters. */
  params: GPUBuffer | undefined;

  /** Takes the same commands, whose parameters have memory of their own. */
  fix(commands: readonly Kept[], params: GPUBuffer): void {
    this.commands.splice(0, Infinity, ...commands);
    this.params = params;
  }

  /** Notes that the work did what cannot be repeated, such as to upload data. */
  fail(): void {
    this.whole = false;
  }

  own(memory: Memory): void {
    this.memories.push(memory);
    this.#owned.add(memory);
  }

  /** Memory of so many bytes that the work has freed before. */
  take(bytes: number): Memory | undefined {
    const memory = this.#free.get(bytes)?.pop();
    if (memory) memory.holds.count = 1;
    return memory;
  }

  /** Whether it keeps memory that nothing holds any more. */
  give(memory: Memory): boolean {
    if (!this.#owned.has(memory)) return false;
    const list = this.#free.get(memory.bytes);
    if (list) list.push(memory);
    else this.#free.set(memory.bytes, [memory]);
    return true;
  }

  /** From now on, the capture holds each memory once. What the work has not freed, it held for the capture. */
  end(): void {
    for (const list of this.#free.values()) for (const memory of list) memory.holds.count = 1;
    this.#free.clear();
    this.#owned.clear();
  }
}
