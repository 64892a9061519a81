/**
 * The memory of this machine, as far as this process may use it.
 * @module
 */
import { constants } from 'node:buffer';
import { freemem, totalmem } from 'node:os';

/** Bytes. */
export interface Machine {
  readonly memory: number;
  readonly free: number;
  /** Whether a container allows less than the machine has. */
  readonly contained: boolean;
  /** The largest array that there can be. */
  readonly largestArray: number;
}

/** What process tells in newer versions of Node, and not in every other runtime. */
type Telling = Partial<Record<'constrainedMemory' | 'availableMemory', () => number | undefined>>;

/** Asks the system. A control group that sets no limit says 0, or more than there is. */
export function thisMachine({ constrainedMemory, availableMemory }: Telling = process as Telling): Machine {
  const total = totalmem();
  const limit = constrainedMemory?.call(process) ?? 0;
  const contained = limit > 0 && limit < total;
  const memory = contained ? limit : total;
  const free = availableMemory?.call(process) ?? freemem();
  return { memory, free: Math.min(free, memory), contained, largestArray: constants.MAX_LENGTH };
}
