/**
 * Stops commands cleanly, and always with a line, on Ctrl-C, SIGTERM, and SIGHUP, which a closed terminal sends.
 * @module
 */
import { constants } from 'node:os';
import { basename } from 'node:path';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Signals within this many ms count as one: a closed terminal sends SIGHUP twice, and npm passes on the Ctrl-C that the
 * terminal has already sent.
 */
const TOGETHER = 500;

/** Turns signals into an AbortSignal. */
export interface Interrupt {
  /** Aborts at the first signal, which also sets process.exitCode to 128 + its number. */
  readonly signal: AbortSignal;
  /** Stops listening. */
  dispose(): void;
}

let listeners = 0;

/** Whether nohup started the process, whose request to ignore SIGHUP Node loses. */
const ignoresHangup = (): boolean => basename(process.env['_'] ?? '') === 'nohup';

/**
 * Aborts at the first SIGINT, SIGTERM or SIGHUP, so that work can stop cleanly. A later SIGINT or SIGTERM ends the
 * process at once. A second SIGHUP does not, as the terminal has gone and nobody is waiting.
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

/** Passes every signal to `listen`, until the function that is returned is called. */
function onSignals(listen: (name: NodeJS.Signals) => void): () => void {
  for (const name of SIGNALS) process.on(name, listen);
  listeners++;
  return () => {
    for (const name of SIGNALS) process.off(name, listen);
    listeners--;
  };
}

/**
 * Listens for a conversation, which continues after Ctrl-C. Calls `onInterrupt` at every Ctrl-C and `onEnd` at the
 * other signals, until the function that is returned is called.
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

/** Makes signals end the process with a line as long as no command listens, such as before its work has begun. */
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
 * Ends the process at once. Node would wait for system calls that are under way, perhaps for ever if they wait for the
 * other end of a pipe. In that case the signal itself ends the process, from which a shell makes the same exit code.
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
