/**
 * Which answers are true of the ninth set's mutants, put down from the author's words (ninth/README.md) on 27 November
 * 2026, before any verdict on the set was seen, by someone who knew the list of names and how reports speak, and not
 * the diagnosis. Names of the kinds from 8 are in ninth-more-names.ts, places in ninth-places.ts.
 *
 * The rule is that of the eighth set, for every kernel alike: would a reader who gets this name or place be told the
 * truth and be helped?
 * - A name counts if it is true of the cause (`names`). Where the name alone is too wide, only with a detail that is
 *   true; a detail that is false makes it false. No detail is '': cases that give different ones leave it out.
 * - A name that says a part of the cause counts if that part is true and leads to the line at fault (`parts`);
 *   `strictly` leaves them out.
 * - A name that describes a consequence, or that fits numbers of some cases and says what the kernel does not do, does
 *   not count, however near it is.
 * - A place counts if the author's words say it, in any wording that is true of them. A place that is true and much
 *   wider than the mistake does not, nor do the outputs.
 * @module
 */
import type { EighthAnswers } from './eighth-names.ts';
import { type Named, NINTH_MORE_NAMES } from './ninth-more-names.ts';
import { NINTH_PLACES } from './ninth-places.ts';
import type { Answers, TrueName } from './sixth-names.ts';

const OF_FIRST_HEAD = /first query head of (the|each|a) group/;
/** Some LOCAL keys count after their end, not all. */
const LOCAL_THOUGH_HIDDEN: TrueName =
  ['terms-weighed', /^(?!.*(WINDOW|GLOBAL|longer)).*LOCAL keys hidden .*though hidden/];

/** Of the kinds 1 to 7, by id. */
const NAMES: Readonly<Record<string, Named>> = {
  // 1. roundings
  // dS in float16 for the product with k, which makes dq
  'ds-f16-dq': {
    names: [['intermediate-rounded', /\bdS\b(?!.*(times|dP|cut)).* to (float16|11 bits)/]],
    parts: [['intermediate-rounded', /^dS(, for dq)?$/]],
  },
  // exp(S - m) in bfloat16 before both the sum Z and the product with v
  'p-bf16-before-z': {
    names: [
      ['probabilities-bf16', /^(?!.*(tiles of (?!16\b)|cut|backward))/],
      ['probabilities-bits', /^(?!.*(cut|backward)).*(\b8 bits| bfloat16)/],
      ['intermediate-rounded', /^(exp\(S - m\)|P) to (bfloat16|8 bits)(?!.*(cut|backward))/],
    ],
  },
  // v in e4m3, without a scale, in P v of the forward
  'v-e4m3-forward': {
    names: [
      ['input-rounded', /^v to (fp8 )?(e4m3|4 bits)(?!.*(cut|scaled))/],
      ['intermediate-rounded', /^v to (fp8 )?(e4m3|4 bits)(?!.*(cut|scaled))/],
    ],
  },
  // S in float16, after the scale, in the forward alone
  'scores-f16-forward': {
    names: [
      ['scores-f16', /^(?!.*(cut|backward|before the scale))/],
      ['scores-bits', /^(?!.*(cut|backward)).*(\b11 bits|\bfloat16)/],
      ['intermediate-rounded', /\bS to (float16|11 bits)(?!.*(cut|backward))/],
    ],
    parts: [['exponent-rounded', /\bS\b(?! - ).* to (float16|11 bits)(?!.*(cut|backward))/]],
  },
  // 2. windows
  // the loop over tiles of 16 keys starts where a window of the first row would: GLOBAL and LOCAL before it are lost
  'start-by-window': {
    names: [
      ['tile-skipped', /window|\bW\b/],
      ['pairs-hidden', /^tiles of 16 keys ([2-9]|\d\d) or more back( but the query's own)?$/],
      [
        'terms-weighed',
        /^keys (one tile back and )?(two tiles back( and further back)?|further back), in tiles of 16.*left out/,
      ],
    ],
    parts: [
      ['tile-skipped', /^$/], ['pairs-hidden', /^keys more than W before the query/],
      ['terms-weighed', /^keys more than W before the query: left out/],
    ],
  },
  // the window counted from the chunk's first token, in lifetimes and in dw
  'window-from-chunk-start': {
    names: [
      'window-from-chunk-start', ['window-other', /W - C \+ 1|first (token|key) of (its|the) chunk/],
      ['dw-rows-other', /first (token|row) of (its|the) chunk/],
    ],
    parts: [['window-other', /^$|^W - ([2-4]|9|15)$/], ['dw-rows-other', /^$/]],
  },
  // i - j < W in the kernel of dq
  'window-strict-dq': {
    names: [
      'window-short', ['window-other', /^W - 1\b/],
      ['terms-weighed', /^(earlier )?WINDOW keys (at the end of their life|W before the query).*left out/],
    ],
    parts: ['last-excluded', ['terms-weighed', /^keys (at the end of their life|W before the query): left out/]],
  },
  // 3. the closing of LOCAL
  // LOCAL seen up to the second GLOBAL chunk after it, the whole next segment
  'local-next-segment': {
    names: [['local-other', /second GLOBAL|next segment|segment after/]],
    parts: [['local-other', /^$/], LOCAL_THOUGH_HIDDEN],
  },
  // LOCAL closed at the next chunk of another type, WINDOW too
  'local-by-any-other': { names: ['local-by-any', ['local-other', /WINDOW|of another type|not LOCAL/]] },
  // LOCAL seen until the end of the tile of 16 rows in which it ends
  'local-to-end-of-tile': {
    names: [['ends-by-tile', /^(LOCAL )?up to whole tiles of 16\b/], ['local-other', /(end|last row) of .*tile of 16/]],
    parts: [['ends-by-tile', /^$/], ['local-other', /^$/], LOCAL_THOUGH_HIDDEN],
  },
  // 4. groups
  // the last query head of each group is left out of dk and dv
  'dkv-group-loop-short': {
    names: [
      ['group-other', /^$|^all but the last of each group/],
      ['group-other', /^KV head 0 sums query heads 0(, 1(, 2(, 3, 4, 5, 6)?)?)?(;|$)/],
      ['terms-weighed', /(query head [1-9]\d* of each group|the last query head( of each group)?): left out/],
    ],
  },
  // lse of query head h at the place of KV head floor(h / R); the other places stay 0
  'lse-by-kv-head': {
    names: [
      ['rows-moved', /^$|head 0 row (\d+) holds head [1-9]\d* row \1\b|KV head|head 0 holds head [1-9]/],
      ['elements-moved', /^$|no formula|KV head|h \/ R/],
      ['heads-permuted', /query head 0 holds [1-9]\d*(?!.*query head 1 holds 0)/],
    ],
    parts: ['zeros', ['zeros-in-part', /^$|head/]],
  },
  // lse of the first query head of the group, in the backward of q, k and v
  'lse-of-first-head-backward': {
    names: [['intermediate-misread', /\blse\b.*first query head of (the|each|a) group/]],
    parts: [
      ['intermediate-misread', /\blse of query head 0\b/], ['normaliser-other', OF_FIRST_HEAD],
      ['row-weight', OF_FIRST_HEAD],
    ],
  },
  // 5. inputs of another batch or head
  // v of batch 0, in the forward and the backward; k is right
  'v-of-batch-0': { names: [['input-misread', /^v\b(?! and).*(batch 0|first (batch|sequence))/]] },
  // dout of query head 0, in all of the backward
  'dout-of-head-0': { names: [['input-misread', /\bdout\b.*\bhead 0(?!.*alone)/]] },
  // scores of KV head 0 for all; the noise is right
  'scores-of-head-0': { names: [['input-misread', /^scores\b(?! and).*(head 0|first KV head)/]] },
  // 6. base and scale
  // P = exp2(S log2(e) - lse) in the backward: lse stays in nats
  'lse-nats-in-exp2': {
    names: [
      ['lse-base-2', /^(lse times ln 2(,? in the backward)?|S in base 2, lse not)$/], 'row-factor',
      ['row-weight', /^$|1 - ln 2|ln 2\) lse/], ['intermediate-misread', /\blse\b.*(base|nats|ln 2)/],
    ],
    parts: [['lse-base-2', /^$/], ['normaliser-other', /^$|2\^lse/]],
  },
  // scale log2(e) in bfloat16, forward and backward: all scores off by one factor near 1
  'scale-log2e-bf16': {
    names: [
      'scale-bf16', ['scale-off', /^$|^(0\.99[5-9]\d*|1(\.00[0-4]\d*)?)$|bfloat16/],
      ['intermediate-rounded', /\bscale\b.* to (bfloat16|8 bits)/],
    ],
    parts: [['exp-function', /^(?!.*x\^2)/]],
  },
  // q . k without the scale, for dM alone
  'dm-unscaled': {
    names: [
      ['scale-forgotten', /^(in S, less (nu|lse), for dM)?$/],
      ['scale-off', /^$|1 \/ (the )?scale|^sqrt\(d\)|without the scale/],
    ],
  },
  // 7. lse and the maximum
  // lse = m + log2(Z)
  'lse-log2-of-z': {
    names: [['lse-sum-other', /^$|log2 ?\(?Z/], ['lse-base-2', /log2 ?\(?Z/]], parts: [['lse-base-2', /^$/]],
  },
  // the largest lse of the splits of 32 keys is stored, not the logarithm of their sum
  'lse-largest-of-splits': {
    names: [
      ['lse-sum-other', /^$|32.*(largest|max)|(largest|max).*32/],
      ['splits-merged', /32.*(largest|max)|(largest|max).*32/],
    ],
    parts: [['lse-max-only', /^$/]],
  },
  // lse = m / scale + ln Z
  'lse-max-unscaled': {
    names: [['lse-max-other', /^$|before the scale|unscaled|without the scale|1 \/ (the )?scale/]],
    parts: [['scale-forgotten', /^$/], ['scale-off', /^1 \/ (the )?scale$/]],
  },
};

/** By id. */
export const NINTH_ANSWERS: Readonly<Record<string, EighthAnswers>> = Object.fromEntries(
  Object.entries({ ...NAMES, ...NINTH_MORE_NAMES })
    .map(([id, each]) => [id, { ...each, ...(NINTH_PLACES[id] && { places: NINTH_PLACES[id] }) }]),
);

/** By id, the true names that the diagnosis has learned since the first meeting, which the page of it leaves out. */
export const LATER_ANSWERS: Readonly<Partial<Record<string, readonly TrueName[]>>> = {
  'causal-from-step': [['step-mask', /^positions up to the number of the query in its step/]],
  'window-fifo-by-count': [['evicted-by-count', /^once W WINDOW tokens/]],
  'compaction-keeps-values': [['slots-mixed', /^values stay where evicted entries are replaced by those at the end/]],
  'unrolled-leftover': [['pairs-hidden', /^even tiles of 16 keys, those in tiles of 16 before the one on the diagonal/]],
  'dm-rows-by-key': [['dm-rows-other', /^the column of each key in the place of its row/]],
  'dscores-plain-mean': [['dscores-other', /^the plain mean of the three dt/]],
};

/** All answers that are true of a mutant. */
export function answersOf(id: string): Answers {
  const { names, parts = [], places } = NINTH_ANSWERS[id];
  return { names: [...names, ...parts, ...LATER_ANSWERS[id] ?? []], ...(places && { places }) };
}

/** The answers without names that say a part of the cause alone. */
export function strictly(id: string): Answers {
  const { names, places } = NINTH_ANSWERS[id];
  return { names, ...(places && { places }) };
}
