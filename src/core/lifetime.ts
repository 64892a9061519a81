/**
 * The one rule (§2 of the algorithm): a token's type determines the last query that may see its key and value. The mask
 * of training, the skipping of hidden keys, and the eviction from the cache all follow from it. Everything here is
 * about whole numbers, so every engine shares it.
 * @module
 */

/** The types of tokens, in the order of the scores and of the authors' weights (§1). */
export const TokenType = { GLOBAL: 0, LOCAL: 1, WINDOW: 2 } as const;
/** 0 GLOBAL, 1 LOCAL or 2 WINDOW. */
export type TokenType = (typeof TokenType)[keyof typeof TokenType];
/** The names of the types, by number. */
export const TOKEN_TYPE_NAMES: readonly ['GLOBAL', 'LOCAL', 'WINDOW'] = ['GLOBAL', 'LOCAL', 'WINDOW'];

/** last(j) of a token that no query outlives: the largest 32-bit integer. */
export const FOREVER = 0x7fffffff;

/** How lifetimes follow from types: the window W (tokens, >= 0) and the chunk size C (tokens, >= 1). */
export interface LifetimeOptions {
  readonly window: number;
  readonly chunk: number;
  /**
   * Makes LOCAL a second window: tokens of a LOCAL chunk c live until end(c) + localWindow, whatever follows them, and
   * GLOBAL closes nothing (tokens, >= 0; default: LOCAL tokens live until the next GLOBAL).
   */
  readonly localWindow?: number;
  /**
   * Ends the lifetime of every token j at j + reach, whatever its type (tokens, >= 0; default: no reach). For models
   * whose attention has a sliding window.
   */
  readonly reach?: number;
}

/** The chunk of token `j`: c = floor(j / C). */
export function chunkOf(j: number, chunk: number): number {
  return Math.floor(j / chunk);
}

/** The last token of chunk `c`, as if the chunk were full. */
export function chunkEnd(c: number, chunk: number): number {
  return (c + 1) * chunk - 1;
}

/** The number of chunks in `length` tokens, including an unfinished last one. */
export function chunkCount(length: number, chunk: number): number {
  return Math.ceil(length / chunk);
}

/** The most chunks of C that T tokens in a row can touch: floor((T + C - 2) / C) + 1, wherever the first one is. */
export function touchedChunks(tokens: number, chunk: number): number {
  return Math.floor((tokens + chunk - 2) / chunk) + 1;
}

/** last(j) of a WINDOW token of chunk `c`: the chunk's last token + W, at most FOREVER. */
export function windowEnd(c: number, chunk: number, window: number): number {
  return Math.min(chunkEnd(c, chunk) + window, FOREVER);
}

/**
 * last(j) of a LOCAL token of chunk `c`: the end of the next GLOBAL chunk, `closing`, or with a second window the
 * chunk's last token + localWindow.
 */
export function localEnd(c: number, chunk: number, closing: number, localWindow: number | undefined): number {
  return localWindow === undefined ? closing : windowEnd(c, chunk, localWindow);
}

/** The last query that may see token `j` if the model's own window ends every lifetime at j + reach. */
export function endWithin(last: number, j: number, reach: number | undefined): number {
  return reach === undefined ? last : Math.min(last, j + reach);
}

/** M[i,j] of §2: whether query `i` may see key `j`, whose lifetime ends with query `last`. */
export function isVisible(i: number, j: number, last: number): boolean {
  return j <= i && i <= last;
}

/** Whether an entry is dead before query `next`, so that the cache may free it (§8, step 3). */
export function isEvictable(last: number, next: number): boolean {
  return last < next;
}
