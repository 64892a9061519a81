/**
 * What may be wrong in the gradients of attention (§4).
 * @module
 */
import type { DiagnosisName } from './diagnoses.ts';
import type { Sees } from './scene.ts';
import type { OutputName } from '../types.ts';

/** What is wrong in §4; what is left out is right. */
export interface Change {
  readonly name: DiagnosisName;
  readonly sees?: Sees;
  /** Instead of A, for a pair with this S. */
  readonly weight?: (query: number, S: number) => number;
  /** The outputs that the change is of. Default: all that it can change. */
  readonly only?: OutputName;
  /** The same by query and key. */
  readonly pairWeight?: (query: number, key: number) => number;
  /** Instead of P' - D. */
  readonly change?: (query: number, key: number) => number;
  /** Which query heads 0..R-1 of the group are summed. */
  readonly counts?: (r: number) => boolean;
  /** Whether the query heads h with h mod G = g are summed, instead of the group of KV head g. */
  readonly modulo?: boolean;
  readonly factor?: number;
  /** The KV head that is read. */
  readonly from?: (head: number, query: number) => number;
  readonly scale?: number;
  /** Whether the contributions of other groups are summed, computed with their own keys. */
  readonly foreign?: boolean;
  /** Rounds each running sum, and each term before it is added. */
  readonly round?: (x: number) => number;
  /** Rounds dS before its product. */
  readonly roundSlope?: (x: number) => number;
  /** Instead of dout in the sums of dv, k in those of dq and q in those of dk. */
  readonly operand?: Float64Array;
  /** How many queries, or keys for dq, are summed exactly before `round` rounds the sum that they are added to. */
  readonly tile?: number;
  /** Whether sums are multiplied by the scale after they were rounded, all query heads together. */
  readonly late?: boolean;
  /** Whether `round` is of sums of one query head, before the scale, which are added without rounding. */
  readonly byHead?: boolean;
  /** Rounds the whole sum of one query head. */
  readonly roundHead?: (x: number) => number;
  readonly detail?: string;
}
