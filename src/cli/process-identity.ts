/**
 * Identifies a process and its machine well enough to tell later whether it is still running.
 * @module
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process as it identifies itself, without what the system does not tell. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly host: string;
  /** An id that changes whenever the machine is restarted. */
  readonly boot?: string;
  /** The namespace, such as a container, within which the process id is unique. */
  readonly namespace?: string;
  /** When the process began, in ticks since the restart. A later process with the same id began later. */
  readonly began?: string;
}

/** This process. */
export function thisProcess(): ProcessIdentity {
  const boot = tryRead(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
  const namespace = tryRead(() => readlinkSync('/proc/self/ns/pid'));
  const began = tryRead(() => statOf(process.pid).began);
  return {
    pid: process.pid, host: hostname(), ...(boot && { boot }), ...(namespace && { namespace }), ...(began && { began }),
  };
}

/** Whether a process is still running; `unknown` if it is on another machine or in another container. */
export function stateOf(other: ProcessIdentity, own: ProcessIdentity = thisProcess()): 'running' | 'ended' | 'unknown' {
  if (other.host !== own.host) return 'unknown';
  if (other.boot && own.boot && other.boot !== own.boot) return 'ended'; // the machine has been restarted since
  if (other.namespace !== own.namespace) return 'unknown';
  // Read first: a process that ends between the two then counts as ended, as it will from now on.
  const now = tryRead(() => statOf(other.pid));
  try {
    process.kill(other.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'ended';
  }
  if (!now) return 'running'; // this system has no /proc
  const isAnother = other.began !== undefined && other.began !== now.began;
  return isAnother || now.state === 'Z' || now.state === 'X' ? 'ended' : 'running';
}

/** Fields 3 and 22 of /proc/PID/stat, which follow the program's name, in which anything may occur. */
function statOf(pid: number): { state: string; began: string } {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0], began: fields[19] };
}

function tryRead<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
