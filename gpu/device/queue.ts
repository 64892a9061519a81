/**
 * Work in order: an engine's calls return at once, and the jobs that they leave are done here, one after the other.
 *
 * A job may wait (for a kernel to be built, for token types to come back from the device), and those behind it wait
 * with it. So dispatch is synchronous and only reading is not, as the contract demands.
 * @module
 */

/** Runs jobs one after the other. */
export class JobQueue {
  readonly #jobs: (() => Promise<void>)[] = [];
  #running = false;
  #breath: number = performance.now();
  readonly #drained: () => void;

  /** `drained` is called when no job is left; it must not throw. */
  constructor(drained: () => void = () => {}) {
    this.#drained = drained;
  }

  /** Adds a job; it must not throw. */
  add(job: () => Promise<void>): void {
    this.#jobs.push(job);
    if (this.#running) return;
    this.#running = true;
    void Promise.resolve().then(() => this.#drain());
  }

  /** Resolves when everything added so far is done. */
  idle(): Promise<void> {
    return new Promise((resolve) => this.add(async () => resolve()));
  }

  async #drain(): Promise<void> {
    for (let job = this.#jobs.shift(); job; job = this.#jobs.shift()) {
      await job();
      // Back to the event loop now and then, so that signals, timers and streams have their turn.
      if (performance.now() - this.#breath > 20) {
        await new Promise((resolve) => setTimeout(resolve));
        this.#breath = performance.now();
      }
    }
    this.#running = false;
    this.#drained();
  }
}
