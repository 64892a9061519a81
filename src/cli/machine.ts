/**
 * How much of this machine's memory this process may use.
 * @module
 */
import { constants } from 'node:buffer';
import { freemem, totalmem } from 'node:os';

/** Memory in bytes. */
export interface Machine {
  readonly memory: number;
  readonly free: number;
  /** Whether a container allows less than the machine has. */
  readonly contained: boolean;
  /** The largest array that Node allows. */
  readonly largestArray: number;
}

/** The functions of `process` that older versions of Node and some other runtimes lack. */
type Telling = Partial<Record<'constrainedMemory' | 'availableMemory', () => number | undefined>>;

/** Asks the system. Where a control group sets no limit, it says 0 or more than there is. */
export function thisMachine({ constrainedMemory, availableMemory }: Telling = process as Telling): Machine {
  const total = totalmem();
  const limit = constrainedMemory?.call(process) ?? 0;
  const contained = limit > 0 && limit < total;
  const memory = contained ? limit : total;
  const free = availableMemory?.call(process) ?? freemem();
  return { memory, free: Math.min(free, memory), contained, largestArray: constants.MAX_LENGTH };
}
