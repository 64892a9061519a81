/** What is shown: which moment, which head, which entry. Parts of the page listen to it. */
import type { HeadTrace, PolicyTrace, Trace } from '../../src/evaluate/trace/trace.ts';

/** What can change. */
export interface Shown {
  /** The token that has been read last. */
  readonly time: number;
  /** Indices into the layers that were recorded, and into the KV heads. */
  readonly layer: number;
  readonly head: number;
  /** The position that is looked at. */
  readonly entry: number;
}

/** The state of the page for one trace. */
export class State {
  readonly trace: Trace;
  #shown: Shown;
  readonly #listeners: ((now: Shown, before: Shown) => void)[] = [];

  constructor(trace: Trace, from: Partial<Shown> = {}) {
    this.trace = trace;
    this.#shown = this.#within({ time: 0, layer: 0, head: 0, entry: 0, ...from });
  }

  get now(): Shown {
    return this.#shown;
  }

  /** The number of tokens. */
  get length(): number {
    return this.trace.tokens.length;
  }

  /** The text of the token at a position. */
  text(position: number): string {
    return this.trace.pieces[position];
  }

  /** The head that is looked at, under a policy. */
  headOf(policy: PolicyTrace): HeadTrace {
    return policy.heads[this.#shown.layer][this.#shown.head];
  }

  /** Changes some of it, and tells all listeners if that differs. */
  set(change: Partial<Shown>): void {
    const before = this.#shown;
    this.#shown = this.#within({ ...before, ...change });
    const same = (Object.keys(before) as (keyof Shown)[]).every((key) => before[key] === this.#shown[key]);
    if (!same) for (const listener of this.#listeners) listener(this.#shown, before);
  }

  /** Calls `listener` now and whenever something changes. */
  listen(listener: (now: Shown, before: Shown) => void): void {
    this.#listeners.push(listener);
    listener(this.#shown, this.#shown);
  }

  #within({ time, layer, head, entry }: Shown): Shown {
    const clamp = (x: number, most: number): number => Math.max(0, Math.min(most, Math.round(x) || 0));
    return {
      time: clamp(time, this.length - 1), entry: clamp(entry, this.length - 1),
      layer: clamp(layer, this.trace.layers.length - 1), head: clamp(head, this.trace.kvHeads - 1),
    };
  }
}
