/**
 * Where mutants of the kernel may be wrong, and what they are given there.
 * @module
 */
import type { CaseParameters } from '../../src/oracle/types.ts';

export const GLOBAL = 0;
export const LOCAL = 1;
export const WINDOW = 2;
/** last(j) of tokens that are never hidden. */
export const EVER = 0x7fffffff;

/** One KV head: its types by chunk, with an unfinished one as GLOBAL, and the numbers of the case. */
export interface Head {
  readonly p: CaseParameters;
  readonly own: Int32Array;
  /** b G + g. */
  readonly head: number;
}

/** The softmax over S of one row: the weight of each key before division, the sum, and lse. */
export interface Weights {
  readonly o: Float32Array;
  readonly lse: number;
  readonly m: number;
  readonly Z: number;
}

/** A row to attend: the scores and values of its keys, and their positions. */
export interface RowOf {
  readonly i: number;
  readonly S: readonly number[];
  readonly keys: readonly number[];
  /** Component n of the value of the key at position keys[n]. */
  readonly value: (n: number, c: number) => number;
  readonly d: number;
}

/** An entry of the cache. */
export interface Entry {
  readonly j: number;
  /** The position that the cache assumes for it. */
  position: number;
  last: number;
  closedBy: number;
}

/** The places where a mutant may be wrong. Everything absent is right. */
export interface Hooks {
  type?(z: { scores: number[]; noise: number[]; tau: number; forced: boolean }): number;
  types?(types: Int32Array, p: CaseParameters): Int32Array;
  last?(head: Head, j: number): number;
  lastOfHead?(lasts: Int32Array, p: CaseParameters): Int32Array;
  visible?(i: number, j: number, last: number, head: Head): boolean;
  /** The KV head, of B G, that query head h of batch b reads. */
  kv?(b: number, h: number, p: CaseParameters): number;
  scale?(p: CaseParameters): number;
  dot?(x: Float64Array, at: number, y: Float64Array, from: number, d: number): number;
  /** Attends to all keys of a row, with hidden ones at -infinity, in a kernel that does not leave them out. */
  attend?(row: RowOf, visible: (j: number) => boolean): Weights;
  lse?(weights: Weights): number;
  out?(o: Float32Array, weights: Weights): Float32Array;
  // The backward
  backVisible?(i: number, j: number, last: number, head: Head): boolean;
  weight?(S: number, lse: number, m: number): number;
  D?(right: number, weights: Weights, own: number): number;
  dS?(A: number, P: number, D: number): number;
  dqFactor?(scale: number): number;
  dkFactor?(scale: number): number;
  storeA?(A: number): number;
  /** Rounds the running sums of dq, and of dk and dv. */
  sumQ?(x: number): number;
  sumKv?(x: number): number;
  /** Whether query head r of R counts for dk and dv. */
  counts?(r: number, R: number): boolean;
  groupFactor?(R: number): number;
  dq?(dq: Float32Array): Float32Array;
  // The gradient of types
  norm?(lse: number, causal: number, rule: string): number;
  dM?(dM: number, seen: boolean, extra: { S: number; P: number; D: number; scale: number; weight: number }): number;
  dw?(sums: Sums): number;
  dl?(sums: Sums): number;
  dg?(sums: Sums): number;
  dscores?(z: ScoreGradient): number[];
  // The cache
  cache?: CacheHooks;
  /** Called last, where results are written. */
  write?(name: string, data: Float32Array, shape: readonly number[]): Float32Array;
}

export interface CacheHooks {
  before?(entries: Entry[], begin: number, next: number, head: Head): Entry[];
  close?(open: Entry[], end: number, begin: number, ends: readonly number[]): void;
  dies?(entry: Entry, next: number): boolean;
  after?(entries: Entry[]): Entry[];
  visible?(i: number, entry: Entry, begin: number, head: Head): boolean;
  bytes?(live: number, seen: number, most: number, d: number, N: number): number;
  position?(j: number, held: number): number;
}

/** §5's sums over dM of one head, for chunk c. */
export interface Sums {
  readonly head: Head;
  readonly c: number;
  /** Sum over the tokens j of chunk `c` of rows from..to. */
  readonly column: (c: number, from: number, to: number) => number;
  readonly cell: (i: number, j: number) => number;
  /** What a kernel reads at rows N + n of a query head: rows of the next head, with this head's keys. */
  readonly beyond: (n: number, j: number) => number;
}

export interface ScoreGradient {
  readonly y: number[];
  readonly dt: number[];
  readonly price: number[];
  readonly tau: number;
  readonly forced: boolean;
  readonly type: number;
  readonly scores: number[];
  readonly noise: number[];
}
