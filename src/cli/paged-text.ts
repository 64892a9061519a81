/**
 * A text that may be longer than a string can be, kept in pieces and read like a string.
 * @module
 */

/** Grows at its end. Its slice() does what that of a string does. */
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

  /** The code units from `start` up to but not including `end`. */
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
