/**
 * Which process of which machine: enough to tell later whether it still runs.
 * @module
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process, as it names itself. What a system does not tell is left out. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly host: string;
  /** Names the time since the machine was started last. */
  readonly boot?: string;
  /** Process ids mean processes only within their namespace, such as a container. */
  readonly namespace?: string;
  /** When the process began, in ticks since then: a later process of the same id began later. */
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

/** Whether a process still runs; `unknown` where it is of another machine or container, which cannot be asked. */
export function stateOf(other: ProcessIdentity, own: ProcessIdentity = thisProcess()): 'running' | 'ended' | 'unknown' {
  if (other.host !== own.host) return 'unknown';
  if (other.boot && own.boot && other.boot !== own.boot) return 'ended'; // before the machine was started again
  if (other.namespace !== own.namespace) return 'unknown';
  try {
    process.kill(other.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'ended';
  }
  const now = tryRead(() => statOf(other.pid));
  if (!now) return 'running';
  const isAnother = other.began !== undefined && other.began !== now.began;
  return isAnother || now.state === 'Z' || now.state === 'X' ? 'ended' : 'running';
}

/** Of /proc/PID/stat: fields 3 and 22, behind the program's name, which may hold anything. */
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
