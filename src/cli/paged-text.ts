/**
 * A text that is longer than one string may be: pieces of it, read like a string.
 * @module
 */

/** Grows at its end; slice() is that of a string of the same text. */
export class PagedText {
  readonly #pieces: string[] = [];
  /** Where each piece begins. */
  readonly #starts: number[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(piece: string): void {
    if (piece === '') return;
    this.#pieces.push(piece);
    this.#starts.push(this.#length);
    this.#length += piece.length;
  }

  /** Code units `start` to `end`, the latter left out. */
  slice(start: number, end: number): string {
    const last = Math.min(end, this.#length);
    let text = '';
    for (let n = this.#pieceAt(start), at = start; at < last; n++) {
      const begin = this.#starts[n];
      const part = this.#pieces[n].slice(at - begin, last - begin);
      text += part;
      at += part.length;
    }
    return text;
  }

  #pieceAt(place: number): number {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#starts[middle] <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
