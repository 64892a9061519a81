/**
 * Measures how long steps take, and warns early if the whole run will take longer than a user may expect.
 * @module
 */
import { formatCount, formatDuration } from './terminal.ts';

/**
 * The remaining seconds from which to warn: after a few steps, and after the first, which is slower than the others.
 */
const [LONG, LONG_AFTER_FIRST] = [10 * 60, 60 * 60];
/** After how many steps their time is reliable. */
const FEW = 3;

/** Estimates the remaining time, and reports it once if it is long. */
export class Pace {
  readonly #total: number;
  readonly #remedy: string;
  readonly #now: () => number;
  readonly #start: number;
  #first: { step: number; time: number } | undefined;
  #told = false;

  /**
   * @param total The number of steps of the whole run.
   * @param remedy What would make it shorter.
   * @param now Gives the time in ms.
   */
  constructor(total: number, remedy: string, now: () => number = () => performance.now()) {
    this.#total = total;
    this.#remedy = remedy;
    this.#now = now;
    this.#start = now();
  }

  /** Call it after each step. Returns a note if the remaining steps will take long, at most once. */
  tick(step: number): string | undefined {
    if (this.#told) return undefined;
    const time = this.#now();
    const left = this.#total - step;
    const first = this.#first === undefined;
    this.#first ??= { step, time };
    if (!first && step - this.#first.step < FEW) return undefined;
    const each = first ? (time - this.#start) / 1000 : (time - this.#first.time) / 1000 / (step - this.#first.step);
    if (!first) this.#told = true; // the estimate does not get better
    if (each * left < (first ? LONG_AFTER_FIRST : LONG)) return undefined;
    this.#told = true;
    return `natsearch: note: a step takes ${formatDuration(each)}, so the remaining ${formatCount(left)} will take about ${formatDuration(each * left)}: for a shorter run use ${this.#remedy}; Ctrl-C saves, and --resume continues`;
  }
}

/** What would make a run shorter. */
export function shorterRun(gpu: unknown): string {
  return gpu === undefined ? 'fewer --steps, a smaller --context or --batch, or --gpu' : 'fewer --steps, a smaller --context or --batch';
}

/** What --help says about resuming runs. */
export const EXTENDING = `
Ctrl-C saves, and the same command with --resume continues to the same result, bit for bit, as a run without a break.
--resume with more --steps extends a run, even a finished one: steps already done are kept, and from there the learning
rate follows the schedule of the new number, so the result differs from that of a run that had it from the beginning.`;
