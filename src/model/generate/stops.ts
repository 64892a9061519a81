/**
 * Texts at which a stream ends.
 * @module
 */

/** What may go on at once, and whether a stop has come. */
export interface Released {
  readonly text: string;
  readonly stopped: boolean;
}

/** Passes a stream on until a stop comes, and holds back only what may still become one. */
export class StopWatch {
  readonly #stops: readonly string[];
  #held = '';

  /** @param stops Texts that are not empty. The one that is whole first ends the stream, the longest of several. */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Takes the next piece of the stream. */
  push(piece: string): Released {
    const text = this.#held + piece;
    const found = this.#stops.filter((stop) => text.includes(stop))
      .map((stop) => ({ begin: text.indexOf(stop), end: text.indexOf(stop) + stop.length }))
      .sort((a, b) => a.end - b.end || a.begin - b.begin);
    if (found.length > 0) {
      this.#held = '';
      return { text: text.slice(0, found[0].begin), stopped: true };
    }
    const kept = Math.max(0, ...this.#stops.map((stop) => beginsAtEnd(text, stop)));
    this.#held = text.slice(text.length - kept);
    return { text: text.slice(0, text.length - kept), stopped: false };
  }

  /** What was held back, when the stream has ended without a stop. */
  end(): string {
    const text = this.#held;
    this.#held = '';
    return text;
  }
}

/** How many characters at the end of `text` are the beginning of `stop`, but not all of it. */
function beginsAtEnd(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
