/**
 * Ctrl-C, SIGTERM and SIGHUP, which a closed terminal sends: commands stop cleanly, and always with a line.
 * @module
 */
import { constants } from 'node:os';
import { basename } from 'node:path';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A closed terminal sends SIGHUP twice, and npm passes on the Ctrl-C that the terminal has sent already; in ms. */
const TOGETHER = 500;

/** Turns signals into an AbortSignal. */
export interface Interrupt {
  /** Aborts at the first signal; process.exitCode is then 128 + its number. */
  readonly signal: AbortSignal;
  /** Gives the signals back to the process. */
  dispose(): void;
}

let listeners = 0;

/** Node forgets that nohup told the process to ignore SIGHUP. */
const ignoresHangup = (): boolean => basename(process.env['_'] ?? '') === 'nohup';

/**
 * The first SIGINT, SIGTERM or SIGHUP aborts, so that work can stop cleanly; a later SIGINT or SIGTERM ends the process
 * at once. A second SIGHUP does not: the terminal is gone, and nobody is impatient.
 */
export function interruptSignal(): Interrupt {
  const controller = new AbortController();
  let first = 0;
  const listen = (name: NodeJS.Signals) => {
    if (name === 'SIGHUP' && ignoresHangup()) return;
    const code = 128 + constants.signals[name];
    if (!controller.signal.aborted) {
      first = performance.now();
      process.exitCode = code;
      controller.abort();
    } else if (name !== 'SIGHUP' && performance.now() - first > TOGETHER) end(name);
  };
  return { signal: controller.signal, dispose: onSignals(listen) };
}

/** Hands every signal to `listen`; the function that is returned gives them back to the process. */
function onSignals(listen: (name: NodeJS.Signals) => void): () => void {
  for (const name of SIGNALS) process.on(name, listen);
  listeners++;
  return () => {
    for (const name of SIGNALS) process.off(name, listen);
    listeners--;
  };
}

/**
 * For a conversation, which goes on after Ctrl-C: `onInterrupt` is called for every one, `onEnd` for the signals that
 * end it. The function that is returned gives the signals back.
 */
export function conversationSignals(onInterrupt: () => void, onEnd: (name: NodeJS.Signals) => void): () => void {
  let last = -Infinity;
  return onSignals((name) => {
    if (name === 'SIGHUP' && ignoresHangup()) return;
    if (name !== 'SIGINT') return onEnd(name);
    const again = performance.now() - last < TOGETHER;
    last = performance.now();
    if (!again) onInterrupt();
  });
}

/** While no command listens, as before its work has begun: a signal ends the process with a line. */
export function endOnSignals(): void {
  for (const name of SIGNALS) {
    process.on(name, () => {
      if (listeners > 0 || (name === 'SIGHUP' && ignoresHangup())) return;
      process.stderr.write(`natsearch: stopped by ${name}\n`);
      end(name);
    });
  }
}

/**
 * Ends the process at once. Node waits for the calls to the system that are under way, which may be for ever where they
 * wait for a pipe's other end: then the signal itself ends the process, of which a shell makes the same exit code.
 */
function end(name: NodeJS.Signals): never {
  const code = 128 + constants.signals[name];
  if (process.getActiveResourcesInfo().some((each) => each.startsWith('FSReq'))) {
    process.emit('exit', code); // gives locks back
    process.removeAllListeners(name);
    process.kill(process.pid, name);
  }
  process.exit(code);
}
