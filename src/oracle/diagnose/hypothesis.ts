/**
 * Hypotheses: what an implementation that makes a certain mistake would output.
 * @module
 */
import { causeOf, type DiagnosisName } from './diagnoses.ts';
import type { Scene, Sees } from './scene.ts';
import type { OutputName } from '../types.ts';

/** One way to make a mistake. */
export interface Hypothesis {
  readonly name: DiagnosisName;
  /** Row `row` of the output in question: d numbers of out, dq, dk and dv, 3 of dscores, else 1. */
  readonly predict: (row: number) => ArrayLike<number>;
  /** The mask, if that is what is wrong. */
  readonly sees?: Sees;
  /** What to add to the name, such as the factor. */
  readonly detail?: string;
  /** Other true words for the detail, such as what of the case a factor is. */
  readonly also?: readonly string[];
  /** Whether it is one of the rules that are solved for. */
  readonly ofRule?: boolean;
  /** The detail without its fitted number, which another case may have otherwise. */
  readonly kind?: string;
}

/** Names that say themselves in which heads or sequences something is wrong. */
const OF_HEADS: ReadonlySet<DiagnosisName> = new Set<DiagnosisName>([
  'gqa-modulo', 'kv-reversed', 'kv-first', 'kv-other', 'batch-mixed', 'heads-permuted', 'types-of-first-head', 'types-of-first-batch',
  'types-moved', 'local-by-neighbour', 'layout-heads', 'layout-dims', 'group-modulo', 'group-other',
]);
/** Names that say themselves in which rows, keys or tiles something is wrong. */
const OF_ROWS: ReadonlySet<DiagnosisName> = new Set<DiagnosisName>([
  'key-lost', 'tile-skipped', 'tile-by-first-key', 'tile-whole', 'tile-unmasked', 'ends-by-tile', 'rows-moved', 'rows-carried', 'query-lost',
  'integer-wraps', 'sink-forgotten', 'terms-weighed', 'tail-unwritten', 'key-foreign', 'pairs-hidden', 'pairs-seen',
]);

/** A part of an output: the heads in which something fails, rows that a property describes, or the rows that fail. */
export type PartKind = 'heads' | 'rows' | 'failing' | 'components';

/**
 * Whether a name may be believed of a part of an output alone. What a name says of heads or rows must be true of all of
 * them: a kernel that reads the wrong KV head in query head 1 alone does not read KV heads in reverse order. And rows
 * that a mask should have changed, and that are right, refute it, unless a property tells them from those that fail.
 */
export function mayHoldIn(name: DiagnosisName, part: PartKind): boolean {
  if (OF_HEADS.has(name)) return false;
  if (part === 'heads') return true;
  if (OF_ROWS.has(name)) return false;
  return part !== 'failing' || causeOf(name) !== 'mask';
}

/** A mask that an implementation may have instead of §2's, with `last` if lifetimes describe it. */
export interface WrongLifetime {
  readonly name: DiagnosisName;
  readonly sees: Sees;
  /** last(j) of KV head b G + g. */
  readonly last?: (head: number, j: number) => number;
  readonly detail?: string;
  /** Other true words for the detail. */
  readonly also?: readonly string[];
}

/** Every way the oracle knows to get one output wrong, the most likely first. */
export type Hypotheses = (scene: Scene, output: OutputName) => Iterable<Hypothesis>;

/** How many numbers a row of an output has. */
export function rowWidth(output: OutputName, headDim: number): number {
  if (output === 'dscores') return 3;
  return ['out', 'dv', 'dq', 'dk', 'cache_out'].includes(output) ? headDim : 1;
}

/** The sizes of tiles that kernels use. */
export const TILES = [16, 32, 64, 128, 8] as const;
