/**
 * Which parts of the memory are in use. The memory of a WebAssembly module never shrinks, so what is freed is joined
 * with its free neighbours and used again, from the lowest address on.
 * @module
 */

/** Every part begins at a multiple of this, and takes a multiple of it. */
const UNIT = 16;

export class Allocator {
  /** Free parts in the order of their addresses; no two touch. */
  readonly #starts: number[] = [];
  readonly #sizes: number[] = [];
  /** The parts in use, by address. */
  readonly #used = new Map<number, number>();
  #end: number;
  readonly #grow: (end: number) => void;

  /** @param start The first byte to use. @param grow Makes the memory at least so long, or throws. */
  constructor(start: number, grow: (end: number) => void) {
    this.#end = Math.ceil(start / UNIT) * UNIT;
    this.#grow = grow;
  }

  /** The number of bytes in use. */
  get bytes(): number {
    let sum = 0;
    for (const size of this.#used.values()) sum += size;
    return sum;
  }

  /** The address of `bytes` bytes that nothing else uses. */
  take(bytes: number): number {
    const size = Math.max(UNIT, Math.ceil(bytes / UNIT) * UNIT);
    const n = this.#sizes.findIndex((free) => free >= size);
    if (n >= 0) {
      const start = this.#starts[n];
      this.#cut(n, size);
      this.#used.set(start, size);
      return start;
    }
    const last = this.#starts.length - 1;
    // The last free part may reach the end; then it becomes the beginning of the new one.
    const open = last >= 0 && this.#starts[last] + this.#sizes[last] === this.#end;
    const start = open ? this.#starts[last] : this.#end;
    this.#grow(start + size);
    if (open) this.#cut(last, this.#sizes[last]);
    this.#end = start + size;
    this.#used.set(start, size);
    return start;
  }

  /** Gives back what take() returned. */
  free(start: number): void {
    const size = this.#used.get(start);
    if (size === undefined) throw new Error(`address ${start} is not in use: it was freed twice`);
    this.#used.delete(start);
    let [low, high] = [0, this.#starts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle] < start) low = middle + 1;
      else high = middle;
    }
    const touchesNext = low < this.#starts.length && start + size === this.#starts[low];
    const touchesPrevious = low > 0 && this.#starts[low - 1] + this.#sizes[low - 1] === start;
    if (touchesNext && touchesPrevious) {
      this.#sizes[low - 1] += size + this.#sizes[low];
      this.#starts.splice(low, 1);
      this.#sizes.splice(low, 1);
    } else if (touchesPrevious) this.#sizes[low - 1] += size;
    else if (touchesNext) {
      this.#starts[low] = start;
      this.#sizes[low] += size;
    } else {
      this.#starts.splice(low, 0, start);
      this.#sizes.splice(low, 0, size);
    }
  }

  /** Makes a part longer or shorter where it is. Returns false if what follows is in use. */
  resize(start: number, bytes: number): boolean {
    const now = this.#used.get(start)!;
    const size = Math.max(UNIT, Math.ceil(bytes / UNIT) * UNIT);
    if (size > now) {
      const n = this.#starts.indexOf(start + now);
      if (n < 0 || this.#sizes[n] < size - now) return false;
      this.#cut(n, size - now);
      this.#used.set(start, size);
    } else if (size < now) {
      this.#used.set(start, size);
      this.#used.set(start + size, now - size);
      this.free(start + size);
    }
    return true;
  }

  /** Takes `size` bytes from the beginning of free part n. */
  #cut(n: number, size: number): void {
    if (this.#sizes[n] === size) {
      this.#starts.splice(n, 1);
      this.#sizes.splice(n, 1);
    } else {
      this.#starts[n] += size;
      this.#sizes[n] -= size;
    }
  }
}
