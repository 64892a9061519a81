/**
 * Ends a stream of text at stop texts.
 * @module
 */

/** The text that may be passed on, and whether a stop has come. */
export interface Released {
  readonly text: string;
  readonly stopped: boolean;
}

/** Passes a stream on until a stop comes, and holds back only what may be the beginning of a stop. */
export class StopWatch {
  readonly #stops: readonly string[];
  #held = '';

  /** @param stops Non-empty texts. The one that is complete first ends the stream, or of several, the longest. */
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

  /** The text that was held back, once the stream has ended without a stop. */
  end(): string {
    const text = this.#held;
    this.#held = '';
    return text;
  }
}

/** How many characters at the end of `text` are the beginning of `stop`, without being all of it. */
function beginsAtEnd(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
