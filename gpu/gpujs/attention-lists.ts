/**
 * Tiles of query rows, and for each tile and KV head the list of the keys that any of its queries can see.
 *
 * A key is listed if it is not younger than the tile and outlives its first query. Scores, weights and gradients are
 * computed over the list only, so that work and memory follow the visible pairs, and hidden keys and values are never
 * read. Tiles are laid out [head, list, row]: rows are the fastest axis.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

/** Sizes of a call. */
export interface Sizes {
  readonly B: number;
  readonly H: number;
  readonly G: number;
  readonly N: number;
  readonly d: number;
  readonly scale: number;
}

/** The most elements that a tile of scores has. */
const TILE_ELEMENTS = 2 ** 25;

/** Rows per tile, so that [BH,N,rows] stays within the budget and the device's limits. */
export function tileRows(scope: Scope, BH: number, N: number): number {
  const elements = Math.min(TILE_ELEMENTS, scope.device.maxLength);
  const rows = Math.floor(elements / Math.max(BH * N, 1));
  return Math.max(1, Math.min(N, scope.device.tuning.tileRows, rows >= 8 ? rows - (rows % 8) : rows));
}

/** Keys per block, whose live ones are counted together. */
const BLOCK = 64;

/** Live keys of each block, for every tile (z) and KV head (y). */
const COUNT = kernel('live keys per block', 'last | n step', `
  let count = 0;
  for (let t = 0; t < ${BLOCK}; t++) {
    const j = this.thread.x * ${BLOCK} + t;
    if (j < n && j < (this.thread.z + 1) * step) {
      if (last[this.thread.y * n + this.thread.x * ${BLOCK} + t] >= this.thread.z * step) {
        count += 1;
      }
    }
  }
  return count;`);

/** Where the keys of each block begin in the list; the last element is the length of the list. */
const STARTS = kernel('starts of blocks', 'counts | blocks BG', `
  let sum = 0;
  for (let t = 0; t < blocks; t++) {
    if (t < this.thread.x) {
      sum += counts[(this.thread.z * BG + this.thread.y) * blocks + t];
    } else {
      break;
    }
  }
  return sum;`);

const LENGTHS = kernel('lengths of lists', 'starts | blocks', `
  return starts[this.thread.x * (blocks + 1) + blocks];`, { flat: true });

/** The s-th live key of a KV head, or -1. Bisection of the starts finds its block; then keys are counted. */
const LIST = kernel('list of live keys', 'last starts | n keys first blocks base', `
  const s = this.thread.x;
  const row = base + this.thread.y;
  let key = -1;
  if (s < starts[at(row, blocks + 1, blocks)]) {
    let low = 0;
    let high = blocks;
    for (let step = 0; step < 24; step++) {
      const middle = Math.floor((low + high + 0.5) / 2);
      if (middle > low) {
        if (starts[at(row, blocks + 1, middle)] <= s) {
          low = middle;
        } else {
          high = middle;
        }
      } else {
        break;
      }
    }
    let left = s - starts[at(row, blocks + 1, low)];
    for (let t = 0; t < ${BLOCK}; t++) {
      const j = low * ${BLOCK} + t;
      if (key < 0 && j < keys) {
        if (last[at(this.thread.y, n, j)] >= first) {
          if (left < 1) {
            key = j;
          }
          left -= 1;
        }
      }
    }
  }
  return key;`);

/** Where key j stands in the list of its KV head, or -1. */
const SLOTS = kernel('slots of keys', 'last starts | n keys first blocks base', `
  let slot = -1;
  if (this.thread.x < keys) {
    if (last[this.thread.y * n + this.thread.x] >= first) {
      const block = Math.floor((this.thread.x + 0.5) / ${BLOCK});
      slot = starts[at(base + this.thread.y, blocks + 1, block)];
      for (let t = 0; t < ${BLOCK}; t++) {
        if (block * ${BLOCK} + t < this.thread.x) {
          if (last[at(this.thread.y, n, block * ${BLOCK} + t)] >= first) {
            slot += 1;
          }
        } else {
          break;
        }
      }
    }
  }
  return slot;`);

/** A tile: query rows first..first+rows-1 and, per KV head, the list [BG,cap] of the keys that they may see. */
export interface Tile {
  readonly first: number;
  readonly rows: number;
  /** The number of keys up to the last row. */
  readonly keys: number;
  /** The room of each list. */
  readonly cap: number;
  readonly list: Memory;
}

/** The tiles of a call, and the lists of their keys. */
export class Tiles {
  readonly step: number;
  readonly count: number;
  readonly #scope: Scope;
  readonly #last: Memory;
  readonly #sizes: Sizes;
  readonly #blocks: number;
  #starts: Memory | undefined;
  #lengths: Float32Array | undefined;

  constructor(scope: Scope, last: Memory, sizes: Sizes) {
    this.#scope = scope;
    this.#last = last;
    this.#sizes = sizes;
    this.step = tileRows(scope, sizes.B * sizes.H, sizes.N);
    this.count = Math.ceil(sizes.N / this.step);
    this.#blocks = Math.ceil(sizes.N / BLOCK);
  }

  async prepare(): Promise<void> {
    const { B, G, N } = this.#sizes;
    const [blocks, BG] = [this.#blocks, B * G];
    const counts = await this.#scope.run(COUNT, [blocks, BG, this.count], [this.#last], [N, this.step]);
    this.#starts = await this.#scope.run(STARTS, [blocks + 1, BG, this.count], [counts], [blocks, BG]);
    this.#scope.free(counts);
    if (N < this.#scope.device.tuning.measuredFrom) return;
    const lengths = await this.#scope.run(LENGTHS, [BG * this.count], [this.#starts], [blocks]);
    this.#lengths = await this.#scope.device.read(lengths, BG * this.count);
    this.#scope.free(lengths);
  }

  async tile(n: number): Promise<Tile> {
    const { B, G, N } = this.#sizes;
    const first = n * this.step;
    const rows = Math.min(this.step, N - first);
    const keys = first + rows;
    const BG = B * G;
    const cap = this.#lengths ? Math.max(1, ...this.#lengths.subarray(n * BG, (n + 1) * BG)) : keys;
    const list = await this.#scope.run(
      LIST, [cap, BG], [this.#last, this.#starts!], [N, keys, first, this.#blocks, n * BG],
    );
    return { first, rows, keys, cap, list };
  }

  /** Where each key stands in the tile's lists: [BG,N]. */
  slots(n: number, { keys, first }: Tile): Promise<Memory> {
    const { B, G, N } = this.#sizes;
    return this.#scope.run(
      SLOTS, [N, B * G], [this.#last, this.#starts!], [N, keys, first, this.#blocks, n * B * G],
    );
  }

  free(): void {
    if (this.#starts) this.#scope.free(this.#starts);
  }
}
