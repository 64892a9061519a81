/**
 * Attention under a budget and its cache (§11), for callers with arrays. Arguments are checked, then the reference
 * computes.
 * @module
 */
import {
  type Expected, finite, finiteFloats, floats, list, optional, record, wholeFrom,
} from '../../src/core/arguments.ts';
import type { CacheSnapshot, CacheStats, MassCacheOptions } from '../../src/core/cache.ts';
import { checkCacheOptions } from '../../src/core/checks.ts';
import { anything, CACHE_OPTIONS, expectFields, expectKnown } from '../../src/core/known-options.ts';
import type { MassRule } from '../../src/core/mass.ts';
import { AttendOnce, checkMassOptions, massOf } from '../../src/core/mass-checks.ts';
import { ValueError } from '../../src/core/errors.ts';
import { attentionSizes } from '../../src/core/shape.ts';
import { checkStep, expectTypeScores, headIndex, keySizes, querySizes } from '../../src/core/sizes.ts';
import { checkCacheSnapshot } from '../../src/core/snapshots.ts';
import type { NDArray } from '../../src/core/tensor.ts';
import * as reference from '../mass.ts';
import { EvictingMassCache } from '../mass-cache.ts';
import { checkFiniteRows, type StepInputs } from './cache.ts';

/** The arguments of massAttention(). */
export interface MassArguments {
  q: NDArray;
  k: NDArray;
  v: NDArray;
  typeScores?: NDArray;
  mass: MassRule;
  reach?: number;
  scale?: number;
}

/**
 * Attention under a budget (§11), over whole sequences: query i sees the entries held after query i - 1, and its own.
 * Entries that are no longer held are never read, as in a cache that frees them.
 *
 * @param options.q Queries after rotary embedding, [B,H,N,d].
 * @param options.k Keys after rotary embedding, [B,G,N,d]; H is a multiple of G.
 * @param options.v Values, [B,G,N,d].
 * @param options.typeScores The scores of types [B,G,N,3], for a rule that ranks by them, and only then.
 * @param options.mass The rule for what is kept.
 * @param options.reach Every token j is evicted after query j + reach. Default: no reach.
 * @param options.scale Multiplies q . k. Default: 1 / sqrt(d).
 * @returns out [B,H,N,d] and lse [B,H,N] (nats), in q's precision, and last [B,G,N]: query i saw key j if
 *   j <= i <= last(j), so attention() with these lifetimes gives the same.
 * @throws {ShapeError} If shapes disagree, with each other or with the data, or H is not a multiple of G.
 * @throws {ValueError} If an array is of the wrong kind, the rule is invalid, or q or the scale is not finite.
 * @example
 * ```ts
 * import { massAttention, ndarray } from 'neural-attention-search';
 * const x = ndarray(Float64Array.of(0, 3, 1, 0, 0), [1, 1, 5, 1]); // queries 1 and 2 attend to token 1
 * const mass = {
 *   score: { by: 'attention', heads: 'group' }, budget: { base: 2, perToken: 0 }, recent: { share: 0.5 },
 * } as const;
 * const { last } = massAttention({ q: x, k: x, v: x, mass });
 * console.log([...last.data].map((n) => (n > 99 ? 'inf' : n)).join(' ')); // 2 inf 3 4 inf
 * ```
 */
export function massAttention(options: MassArguments): { out: NDArray; lse: NDArray; last: NDArray<Int32Array> } {
  expectFields('massAttention()', 'options', options, {
    q: finiteFloats, k: floats, v: floats, typeScores: optional(finiteFloats), mass: anything, reach: anything,
    scale: optional(finite),
  });
  checkMassOptions(options);
  const { q, k, v, typeScores, mass } = options;
  const sizes = attentionSizes(q, k, v, { shape: k.shape.slice(0, 3) });
  const types = scoresFor(mass, typeScores, sizes.N, { batch: sizes.B, kvHeads: sizes.G });
  return reference.massAttention({ ...options, types, scale: options.scale ?? 1 / Math.sqrt(sizes.d) }, sizes);
}

/** The scores of types if the rule ranks by them, and undefined if not. */
function scoresFor(
  { score }: MassRule, typeScores: NDArray | undefined, T: number, layout: Pick<MassCacheOptions, 'batch' | 'kvHeads'>,
): NDArray | undefined {
  if (score.by === 'types') {
    finiteFloats('typeScores', typeScores);
    expectTypeScores(typeScores!, T, layout);
  } else if (typeScores !== undefined) {
    throw new ValueError(`typeScores were given, but the rule scores by ${score.by}: leave them out`);
  }
  return typeScores;
}

/** The inputs of a step under a budget. */
export interface MassStepInputs extends Omit<StepInputs, 'types'> {
  /** The scores of types [B,G,T,3], for a rule that ranks by them, and only then. */
  readonly typeScores?: NDArray;
}

/** The checks of keys and values, and of how many tokens each sequence takes of a step. */
const step = (): Record<string, Expected> =>
  ({ k: floats, v: floats, counts: optional(list(wholeFrom(0))), typeScores: optional(finiteFloats) });

/** The fields of a whole step may be given to each of its parts. */
const known = (what: string, inputs: unknown): void => {
  expectKnown(what, inputs, ['q', 'k', 'v', 'typeScores', 'counts', 'scale'], 'input');
};

/**
 * The evicting cache of one layer under a budget (§11), for B sequences and G KV heads of size d.
 *
 * A step is append, attend, evict. Which entries are evicted is decided query by query while attending, so any split of
 * a sequence into steps gives the same result. evict() frees them. Exactly one attend() must follow each append().
 *
 * @throws {ValueError} If a size or the rule is invalid.
 * @example
 * ```ts
 * import { MassCache, ndarray } from 'neural-attention-search';
 * const mass = { // H2O with two entries: the newest, and the one that received the most attention
 *   score: { by: 'attention', heads: 'group' }, budget: { base: 2, perToken: 0 }, recent: { share: 0.5 },
 * } as const;
 * const cache = new MassCache({ batch: 1, kvHeads: 1, headDim: 1, blockSize: 2, mass });
 * for (const key of [0, 3, 1, 0, 0]) {
 *   const x = ndarray(Float64Array.of(key), [1, 1, 1, 1]);
 *   cache.step({ q: x, k: x, v: x });
 * }
 * console.log([...cache.positions(0, 0)]); // [1,4]
 * ```
 */
export class MassCache {
  readonly options: MassCacheOptions;
  #cache: EvictingMassCache;
  #counts: readonly number[] = [];
  readonly #once: AttendOnce = new AttendOnce();

  constructor(options: Omit<MassCacheOptions, 'blockSize'> & { blockSize?: number }) {
    record()('options', options);
    expectKnown('MassCache', options, [...CACHE_OPTIONS, 'mass']);
    const full = { blockSize: 16, ...options };
    checkCacheOptions(full);
    this.options = { ...full, mass: massOf(full.mass) };
    this.#cache = new EvictingMassCache(this.options);
  }

  /** Appends, attends and evicts. Returns out [B,H,T,d], with rows beyond counts[b] 0. */
  step(inputs: MassStepInputs): NDArray {
    known('step()', inputs);
    record({ ...step(), q: floats, scale: optional(finite) })('inputs', inputs);
    const { q, k, v, counts } = inputs;
    const sizes = keySizes(k, v, counts, this.options);
    querySizes(q, this.options, sizes.T);
    checkFiniteRows(q, sizes.counts);
    this.append(inputs);
    const out = this.attend(inputs);
    this.evict();
    return out;
  }

  /** Step 1: appends k and v [B,G,T,d]. Sequence b takes its first counts[b] <= T tokens. Default: all. */
  append(inputs: Omit<MassStepInputs, 'q'>): void {
    known('append()', inputs);
    record(step())('inputs', inputs);
    const { k, v, counts, typeScores } = inputs;
    const sizes = keySizes(k, v, counts, this.options);
    const types = scoresFor(this.options.mass, typeScores, sizes.T, this.options);
    this.#once.expectAttended('append()');
    this.#counts = sizes.counts;
    this.#cache.append(k, v, sizes, types);
    this.#once.appended();
  }

  /**
   * Step 2: each of the newest queries q [B,H,T,d] attends to the entries held and its own. Default of scale: 1 /
   * sqrt(d).
   */
  attend(inputs: { q: NDArray; scale?: number }): NDArray {
    known('attend()', inputs);
    record({ q: floats, scale: optional(finite) })('inputs', inputs);
    const { q, scale = 1 / Math.sqrt(this.options.headDim) } = inputs;
    const sizes = querySizes(q, this.options);
    checkStep(this.#counts, sizes.T);
    this.#once.attend();
    return this.#cache.attend(q, scale, sizes);
  }

  /** Step 3: frees what was evicted while attending, and the blocks that became empty. */
  evict(): void {
    this.#once.expectAttended('evict()');
    this.#cache.evict();
  }

  /** Forgets everything and frees all blocks. */
  clear(): void {
    this.#once.clear();
    this.#counts = [];
    this.#cache.clear();
  }

  /** An independent copy, which gives the same results bit for bit. */
  fork(): MassCache {
    this.#once.expectAttended('fork()');
    const copy = new MassCache(this.options);
    copy.#cache = this.#cache.fork();
    return copy;
  }

  /** What is held, as plain arrays; see CacheSnapshot. */
  snapshot(): CacheSnapshot {
    this.#once.expectAttended('snapshot()');
    return this.#cache.snapshot();
  }

  /**
   * Replaces what is held by the content of the snapshot.
   *
   * @throws {ShapeError} If the snapshot has another layout.
   * @throws {ValueError} If it contradicts itself.
   */
  restore(snapshot: CacheSnapshot): void {
    record()('snapshot', snapshot);
    checkCacheSnapshot(snapshot, this.options);
    this.#once.clear();
    this.#counts = [];
    this.#cache.restore(snapshot);
  }

  /** The positions of KV head g of sequence b, ascending. Evicted ones are included until evict(). */
  positions(b: number, g: number): Int32Array {
    return this.#cache.positions(headIndex(b, g, this.options));
  }

  /** The number of tokens that each sequence has seen, [B]. */
  lengths(): Int32Array {
    return this.#cache.stats().seen;
  }

  /** The live entries, bytes and counts of every head. */
  stats(): CacheStats {
    return this.#cache.stats();
  }
}
