/**
 * A cache with one rule changed.
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';

/** What is wrong in §8; what is left out is right. */
export interface Change {
  readonly name: DiagnosisName;
  /** A step that ends before token n evicts entries whose last() is below n + shift: 1 is early, -1 late. */
  readonly shift?: number;
  /** Whether nothing is ever evicted. */
  readonly never?: boolean;
  /** Which of the open LOCAL entries the GLOBAL that ends at `at` closes. */
  readonly closes?: (open: readonly number[], at: number, stepBegin: number) => readonly number[];
  /** Whether the last of several GLOBALs in a step closes. */
  readonly lastGlobal?: boolean;
  /** Whether a GLOBAL closes LOCAL entries that are closed already. */
  readonly again?: boolean;
  /** Another last(j), at the end of each step. */
  readonly last?: (head: number, j: number) => number;
  readonly renumbers?: boolean;
  /** What is held after a step of what lives on, given how many entries died in it. */
  readonly keeps?: (living: readonly number[], died: number) => readonly number[];
  /** The KV head by whose types the entries of a head live. */
  readonly by?: (head: number) => number;
  /** Whether the GLOBAL chunk that ends at `end` closes nothing. */
  readonly misses?: (end: number, step: CacheStep) => boolean;
  /** The position that LOCAL entries are closed at, for that of their GLOBAL. */
  readonly closedAt?: (end: number, step: CacheStep) => number;
  /** Whether an entry dies, for "its last() is below the next position". */
  readonly dead?: (j: number, last: number, step: CacheStep, type: (j: number) => number) => boolean;
  /** What is left of entries, given which of them have died. */
  readonly evicts?: (entries: readonly number[], dies: (j: number) => boolean, step: CacheStep) => readonly number[];
  readonly detail?: string;
}

/** A step r that takes in tokens begin to next - 1. */
export interface CacheStep {
  readonly r: number;
  readonly begin: number;
  readonly next: number;
  /** The ends of the GLOBAL chunks that end in it, so far. */
  readonly ends: readonly number[];
}
