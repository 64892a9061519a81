/**
 * How long steps take, and a word in time if all of them will take longer than a user may expect.
 * @module
 */
import { formatCount, formatDuration } from './terminal.ts';

/** Seconds left that a user may not expect: after a few steps, and after the first, which is slower than others. */
const [LONG, LONG_AT_ONCE] = [10 * 60, 60 * 60];
/** Steps after which their time is believed. */
const FEW = 3;

/** Reckons the time that is left, and tells of it once. */
export class Pace {
  readonly #total: number;
  readonly #remedy: string;
  readonly #now: () => number;
  readonly #start: number;
  #first: { step: number; time: number } | undefined;
  #told = false;

  /**
   * @param total Steps of the whole run.
   * @param remedy What makes it shorter.
   * @param now The time in ms.
   */
  constructor(total: number, remedy: string, now: () => number = () => performance.now()) {
    this.#total = total;
    this.#remedy = remedy;
    this.#now = now;
    this.#start = now();
  }

  /** After step `step`: a note if the steps that are left take long, once. */
  tick(step: number): string | undefined {
    if (this.#told) return undefined;
    const time = this.#now();
    const left = this.#total - step;
    const first = this.#first === undefined;
    this.#first ??= { step, time };
    if (!first && step - this.#first.step < FEW) return undefined;
    const each = first ? (time - this.#start) / 1000 : (time - this.#first.time) / 1000 / (step - this.#first.step);
    if (!first) this.#told = true; // it is as sure as it gets
    if (each * left < (first ? LONG_AT_ONCE : LONG)) return undefined;
    this.#told = true;
    return `natsearch: note: a step takes ${formatDuration(each)}, so the ${formatCount(left)} that are left take about ${formatDuration(each * left)}: ${this.#remedy} would be shorter; Ctrl-C saves, and --resume goes on`;
  }
}

/** What makes a run shorter. */
export function shorterRun(gpu: unknown): string {
  return gpu === undefined ? 'fewer --steps, a smaller --context or --batch, or --gpu' : 'fewer --steps, a smaller --context or --batch';
}

/** What --help says of runs that go on. */
export const EXTENDING = `
Ctrl-C saves, and the same command with --resume goes on to the very bits of a run without a break. --resume with more
--steps extends a run, a finished one too: done steps stay, and from there the learning rate follows the schedule of the
new number, so the result differs from that of a run which had it from the beginning.`;
