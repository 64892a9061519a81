/**
 * The memory of an engine, the kernels on it, and the arrays in it.
 * @module
 */
import { DeviceError } from '../src/core/errors.ts';
import { type FloatArray, type Shaped, sizeOf } from '../src/core/tensor.ts';
import { Allocator } from './allocator.ts';
import { compiled, instantiate, type Program } from './program.ts';
import { MOST_AT_ONCE, MOST_THREADS, oneThreadOnly, Threads } from './threads.ts';

/** What an array holds. */
export type Stored = 'f64' | 'f32' | 'f16' | 'bf16';
export const BYTES: Readonly<Record<Stored, number>> = { f64: 8, f32: 4, f16: 2, bf16: 2 };

/** Every part of the memory begins at a multiple of this. */
const UNIT = 16;
/** What a thread needs for itself (kernels/matmul.ts). */
const EDGE = 192;
/** The fewest products for which a part of its own pays. */
const LEAST_WORK = 2 ** 18;

const PAGE = 65536;
/** A memory of 32-bit addresses ends here. */
const LARGEST = 65536 * PAGE;

/** An array: floats in the memory of the module, or integers, which the host keeps. */
export class WasmArray implements Shaped {
  readonly shape: readonly number[];
  dtype: Stored;
  /** Where it begins. */
  at: number;
  /** Whether it is packed into the panels of kernels/panels.ts. */
  packed = false;
  readonly integers: Int32Array | undefined;

  constructor(shape: readonly number[], at: number, dtype: Stored, integers?: Int32Array) {
    this.shape = shape;
    this.at = at;
    this.dtype = dtype;
    this.integers = integers;
  }
}

/** Options of together(). */
export interface Together {
  /** Bytes whose address is the last argument of each call. */
  readonly room?: number;
  /** The products of all parts, roughly. Few stay on one thread. */
  readonly work?: number;
  /** Gets what each part returns, and the peakOf() of it. */
  readonly note?: (part: number, value: number, peak: number) => void;
}

/** A memory of one page, as large as may be later. */
function memoryOf(shared: boolean): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: 1, maximum: LARGEST / PAGE, shared });
}

export class Machine {
  readonly precision: 'float64' | 'float32';
  /** The dtype in which it computes, and the bytes of a number. */
  readonly dtype: 'f64' | 'f32';
  readonly size: 4 | 8;
  /** Undefined if the engine has one thread. */
  readonly threads: Threads | undefined;
  readonly #memory: WebAssembly.Memory;
  readonly #program: Program;
  readonly #named = new Map<string, (...args: number[]) => number>();
  readonly #allocator: Allocator;
  readonly #poison: boolean;
  readonly #least: number;

  /**
   * @param poison For tests: memory starts as NaN, and threads share even the smallest work.
   * @param threads The most threads. Results have the same bits for any number.
   */
  constructor(precision: 'float64' | 'float32', poison = false, threads = 1) {
    this.precision = precision;
    this.dtype = precision === 'float64' ? 'f64' : 'f32';
    this.size = precision === 'float64' ? 8 : 4;
    const count = oneThreadOnly() === undefined ? Math.min(threads, MOST_THREADS) : 1;
    const module = compiled(count > 1);
    this.#memory = memoryOf(count > 1);
    this.#program = instantiate(module, this.#memory);
    this.#poison = poison;
    this.#least = poison ? 1 : LEAST_WORK;
    const edges = Math.ceil(this.call('firstFree') / UNIT) * UNIT;
    this.#allocator = new Allocator(edges + count * EDGE, (end) => this.#growTo(end));
    this.call('setEdge', edges);
    this.threads = count > 1 ? new Threads(module, this.#memory, count, edges) : undefined;
  }

  /**
   * The ranges from 0 to n, each of whole units, that threads compute. @param work The products of it all, roughly.
   */
  ranges(n: number, unit: number, work: number): (readonly [from: number, to: number])[] {
    const threads = this.threads?.running ?? 1;
    const most = threads === 1 ? 1 : Math.min(4 * threads, Math.floor(work / this.#least));
    if (most <= 1) return [[0, n]];
    const units = Math.ceil(n / unit);
    const step = Math.ceil(units / Math.min(most, units)) * unit;
    return Array.from({ length: Math.ceil(n / step) }, (_, part) => [part * step, Math.min(n, (part + 1) * step)]);
  }

  /**
   * Calls the kernel of exactly this name once for each part, which do not depend on one another. Parts that take
   * longest should come first.
   */
  together(
    name: string, parts: readonly (readonly number[])[], { room = 0, work = Infinity, note }: Together = {},
  ): void {
    const all = parts.length > 1 && work >= 2 * this.#least ? this.threads?.running ?? 1 : 1;
    const each = Math.ceil(room / UNIT) * UNIT;
    const compute = (rooms: number): void => {
      if (all === 1) {
        parts.forEach((numbers, part) => {
          const value = room > 0 ? this.call(name, ...numbers, rooms) : this.call(name, ...numbers);
          note?.(part, value, this.call('peakOf'));
        });
        return;
      }
      for (let first = 0; first < parts.length; first += MOST_AT_ONCE) {
        const some = parts.slice(first, first + MOST_AT_ONCE);
        const results = this.threads!.run(name, some, rooms, each);
        if (note) some.forEach((_, part) => note(first + part, results[2 * part], results[2 * part + 1]));
      }
    };
    if (room > 0) this.within(all * each, compute);
    else compute(0);
  }

  /** The name of the kernel for the engine's precision. */
  own(name: string): string {
    return `${name}${8 * this.size}`;
  }

  /**
   * A kernel that takes addresses of n numbers each, n, and the rest, such as add32. @param weight What one number
   * costs, in products.
   */
  flat(name: string, at: readonly number[], n: number, weight: number, ...rest: number[]): void {
    this.together(this.own(name), this.ranges(n, UNIT, n * weight).map(([from, to]) => [
      ...at.map((address) => address + from * this.size), to - from, ...rest,
    ]));
  }

  /** Bytes in use, and bytes of the memory. */
  get use(): { readonly used: number; readonly held: number } {
    return { used: this.#allocator.bytes, held: this.#memory.buffer.byteLength };
  }

  #growTo(end: number): void {
    const now = this.#memory.buffer.byteLength;
    if (end <= now) return;
    // By an eighth at least, so that a memory that grows steadily is not copied all the time.
    for (const wanted of end > LARGEST ? [] : [Math.min(LARGEST, Math.max(end, now + now / 8)), end]) {
      try {
        this.#memory.grow(Math.ceil((wanted - now) / PAGE));
        return;
      } catch {
        // Try without room to spare.
      }
    }
    throw new DeviceError(`the memory of a WebAssembly module would have ${end} bytes, of which there are at most ${LARGEST}: use a smaller model or batch, or a narrower dtype`);
  }

  /** The kernel of this name for the engine's precision, such as add32 or add64. */
  run(name: string, ...args: number[]): number {
    let kernel = this.#named.get(name);
    if (!kernel) {
      kernel = this.#program[`${name}${8 * this.size}`];
      this.#named.set(name, kernel);
    }
    return kernel(...args);
  }

  /** The kernel of exactly this name. */
  call(name: string, ...args: number[]): number {
    return this.#program[name](...args);
  }

  take(bytes: number): number {
    const at = this.#allocator.take(bytes);
    if (this.#poison) this.bytes(at, bytes).fill(0xff); // NaN in every precision
    return at;
  }

  free(at: number): void {
    this.#allocator.free(at);
  }

  /** A part with another size and the same beginning of its content, which may be elsewhere. */
  resized(at: number, before: number, bytes: number): number {
    if (this.#allocator.resize(at, bytes)) return at;
    const moved = this.take(bytes);
    this.bytes(moved, Math.min(before, bytes)).set(this.bytes(at, Math.min(before, bytes)));
    this.free(at);
    return moved;
  }

  /** Calls `work` with `bytes` bytes that are freed afterwards. */
  within<T>(bytes: number, work: (at: number) => T): T {
    const at = this.take(bytes);
    try {
      return work(at);
    } finally {
      this.free(at);
    }
  }

  /** Views of the memory, which are valid until the next take(). */
  bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, at, length);
  }
  floats(at: number, length: number, dtype: 'f64' | 'f32' = this.dtype): FloatArray {
    return dtype === 'f64' ? new Float64Array(this.#memory.buffer, at, length) : new Float32Array(this.#memory.buffer, at, length);
  }
  whole(at: number, length: number): Int32Array {
    return new Int32Array(this.#memory.buffer, at, length);
  }

  /** A new array in the engine's precision, whose content is still to be written. */
  make(shape: readonly number[], dtype: Stored = this.dtype): WasmArray {
    return new WasmArray(shape, this.take(sizeOf(shape) * BYTES[dtype]), dtype);
  }

  zeros(shape: readonly number[]): WasmArray {
    const made = this.make(shape);
    this.bytes(made.at, sizeOf(shape) * this.size).fill(0);
    return made;
  }

  /** A new array with these numbers. */
  upload(data: ArrayLike<number>, shape: readonly number[], dtype: 'f64' | 'f32' = this.dtype): WasmArray {
    const made = this.make(shape, dtype);
    this.floats(made.at, data.length, dtype).set(data);
    return made;
  }

  /** Calls `work` with the address of integers that are in the memory meanwhile. */
  withIntegers<T>(data: ArrayLike<number>, work: (at: number) => T): T {
    return this.within(data.length * 4, (at) => {
      this.whole(at, data.length).set(data);
      return work(at);
    });
  }

  /** The address of an array's numbers, in the engine's precision and in order, to which it is converted for good. */
  real(x: WasmArray): number {
    if (x.packed) this.unpack(x);
    if (x.dtype === this.dtype) return x.at;
    const length = sizeOf(x.shape);
    const at = this.take(length * this.size);
    if (x.dtype === 'f16' || x.dtype === 'bf16') this.call('widen', x.at, at, length, x.dtype === 'f16' ? 1 : 2);
    else this.floats(at, length).set(this.floats(x.at, length, x.dtype));
    this.free(x.at);
    [x.at, x.dtype] = [at, this.dtype];
    return at;
  }

  /** The numbers of an array, as a view. */
  view(x: WasmArray): FloatArray {
    const at = this.real(x);
    return this.floats(at, sizeOf(x.shape));
  }

  /** The suffix of the kernels that pack elements of x, such as 32x8: bits of an element and columns of a panel. */
  #panels({ dtype }: WasmArray): { suffix: string; columns: number } {
    const columns = this.size === 4 ? 8 : 4;
    return { suffix: `${8 * BYTES[dtype]}x${columns}`, columns };
  }

  /** Packs x [N,K] into the panels of kernels/panels.ts, and returns their address. */
  panels(x: WasmArray): number {
    if (x.packed) return x.at;
    const [N, K] = x.shape;
    const { suffix, columns } = this.#panels(x);
    const at = this.take(Math.ceil(N / columns) * columns * K * BYTES[x.dtype]);
    this.call(`pack${suffix}`, x.at, N, K, at);
    this.free(x.at);
    [x.at, x.packed] = [at, true];
    return at;
  }

  /** Row n of x [N,K], in its own dtype, whether x is packed or not. */
  copyRow(x: WasmArray, n: number, to: number): void {
    const K = x.shape[x.shape.length - 1];
    if (x.packed) this.call(`unpackRow${this.#panels(x).suffix}`, x.at, n, K, to);
    else this.bytes(to, K * BYTES[x.dtype]).set(this.bytes(x.at + n * K * BYTES[x.dtype], K * BYTES[x.dtype]));
  }

  unpack(x: WasmArray): void {
    const [N, K] = x.shape;
    const at = this.take(N * K * BYTES[x.dtype]);
    for (let n = 0; n < N; n++) this.copyRow(x, n, at + n * K * BYTES[x.dtype]);
    this.free(x.at);
    [x.at, x.packed] = [at, false];
  }
}
