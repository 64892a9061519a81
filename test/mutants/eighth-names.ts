/**
 * Which answers are true of the eighth set's mutants, put down from the author's words (eighth/README.md) before any
 * verdict on the set was seen, by someone who knew the list of names and how reports speak, and not the diagnosis.
 *
 * The rule, for every kernel alike: would a reader who gets this name or place be told the truth and be helped?
 * - A name counts if it is true of the cause (`names`). Where the name alone is too wide, only with a detail that is
 *   true; a detail that is false makes it false.
 * - A name that says a part of the cause counts if that part is true and leads to the line at fault (`parts`). The
 *   seventh set did not count such names; `strictly` leaves them out.
 * - A name that describes a consequence, or that fits numbers of some cases and says what the kernel does not do, does
 *   not count, however near it is.
 * - A place counts if the author's words say it, in any wording that is true of them: of later tiles that N > 16, or
 *   that rows from 16 fail; of a mask, that rows hide a key; that rows with one key are right, if the author says so.
 *   A place that is true and much wider than the mistake does not, nor do the outputs.
 * @module
 */
import type { Answers, TrueName } from './sixth-names.ts';

/** The words of a place in tiles after the first one of `n` rows. */
const later = (n: number): string =>
  String.raw`N > ${n}\b|rows from ${n}\b|rows ${n} to \d+|rows ${n} and later|keys before their tile of ${n}\b`;
const any = (...words: readonly string[]): RegExp => new RegExp(words.join('|'));
const LATER_BATCHES = /B > 1|in batch 1\b|batches from 1\b|the last batch|all batches but the first|in odd batches/;
/** KV heads after the first, in outputs of KV heads; and the same of query heads. */
const LATER_HEADS = 'G > 1|KV heads from [1-9]|all KV heads but the first|in KV head [1-9]|odd KV heads';
const LATER_QUERY_HEADS = String.raw`query heads (from|of KV heads?( from)?) [1-9]|in query head [1-9]\b`;
const HIDING = 'rows that hide a|hidden before the end|tokens that are not GLOBAL';
const SEVERAL_KEYS = /rows with more than 1 visible key/;
const FIRST_COMPONENTS_RIGHT = String.raw`in components? (from )?(4|64)\b|components? after the last|last components`;

/** What a right report on a mutant may say, and the names that say a part of the cause. */
export interface EighthAnswers extends Answers {
  readonly parts?: readonly TrueName[];
}

/** By id. */
export const EIGHTH_ANSWERS: Readonly<Record<string, EighthAnswers>> = {
  // 1. roundings
  'dk-atomics-bf16': { names: ['accumulated-bf16'], parts: ['stored-bf16'] },
  'dout-e5m2-dp': {
    names: [['input-rounded', /\bd(out|o)\b.*(e5m2|3 bits)/], ['intermediate-rounded', /\bd(out|o)\b.*(e5m2|3 bits)/]],
    parts: [['input-rounded', /\bd(out|o)\b(?!.*(e4m3|float|TF32|[4-9] bits|1\d bits))/]],
  },
  'dm-scores-bf16': {
    names: ['scores-bf16', ['intermediate-rounded', /\bS to (bfloat16|8 bits)/], ['scores-bits', /8 bits|bfloat16/]],
    parts: [['exponent-rounded', /\bS\b(?! - ).*(bfloat16|8 bits)/]],
  },
  'exp-power-1024': { names: [['exp-approximate', /^(?!never)/]], places: SEVERAL_KEYS },
  // 2. windows
  'window-aligned-8': { names: ['window-other'], places: /of WINDOW tokens|W > (8|16|32)\b|W < N/ },
  'window-0-is-none': {
    names: ['window-forever', 'window-other'], places: /of WINDOW tokens|hide a WINDOW key|W (=|is) 0/,
  },
  'window-first-batch-only': { names: ['window-other'], places: any(LATER_BATCHES.source, 'of WINDOW tokens') },
  'window-of-tile-end': {
    names: [['ends-by-tile', /WINDOW down/]],
    places: any(later(16), 'of WINDOW tokens', 'an earlier WINDOW key', 'rows but the last of each tile of 16'),
  },
  // 3. the closing of LOCAL
  'local-next-chunk': {
    names: [['local-other', /^by the (next chunk|chunk right behind)|whatever/]],
    parts: ['local-by-any', 'local-by-local'], places: /of LOCAL tokens/,
  },
  'local-any-batch': {
    names: [['local-by-neighbour', /sequence|batch/]], places: /B > 1|of LOCAL tokens/,
  },
  'local-carry-late': {
    names: [['local-other', /\blate|\+ ?1|exclusive/]], parts: [
      'local-late', ['local-other', /^(?!not)/], ['terms-weighed', /^LOCAL keys hidden for the first time(?!.*WINDOW)/],
    ],
    places: any(later(16), 'of LOCAL tokens', 'rows right after the last that sees a key'),
  },
  // 4. groups
  'dm-sum-mod': { names: ['group-modulo', 'group-other'], places: /G > 1|H > G/ },
  'dv-first-head-twice': {
    names: [
      ['terms-weighed', /(first query head|query head 0\b).*(times 2\b|more than once|twice)/],
      ['group-other', /\b(\d+), \1\b|twice/],
    ],
    places: /H > G/,
  },
  'kv-head-rounded': {
    names: ['kv-other'],
    places: any(
      'G > 1', 'H > G', 'all query heads but the first of each group', 'last query head of each group',
      'query head [1-9] of each group', 'in odd query heads', String.raw`in query head [1-9]\b`,
    ),
  },
  'dl-first-head-only': {
    names: ['group-first', 'group-other', ['terms-weighed', /all query heads but the first.*left out/]],
    places: /H > G/,
  },
  // 5. inputs of another batch or head
  'dv-dout-of-batch-0': {
    names: [['input-misread', /dout\b.*(batch 0|first (batch|sequence))/]], places: LATER_BATCHES,
  },
  'dq-k-of-head-0': {
    names: ['kv-first', 'kv-other', ['input-misread', /\bk\b.*head 0|head 0.*\bk\b/]],
    places: any(LATER_HEADS, LATER_QUERY_HEADS),
  },
  'cache-types-of-head-0': {
    names: ['types-of-first-head', ['types-moved', /KV head (0|before)|first/]], places: any(LATER_HEADS),
  },
  // 6. base and scale
  'nu-base-2': {
    names: ['row-factor', ['intermediate-misread', /\bnu\b.*(base|log2)/]], parts: ['lse-base-2'],
    places: /the rule is bounded/,
  },
  'dq-scale-padded-d': { names: ['factor'], parts: ['scale-own'] },
  'exp2-diagonal-backward': {
    names: ['exp2-weights', ['terms-weighed', /(on the diagonal|own tile of 16)(?!.*left out)/]],
    places: any(SEVERAL_KEYS.source, 'on the diagonal'),
  },
  // 7. lse and the maximum
  'lse-negative-max': {
    names: [], parts: ['lse-no-max'],
    places: /scores (are|is) all negative|scores? below 0|largest score is (below 0|negative)|no visible score above 0/,
  },
  'max-of-first-tile': {
    names: [], parts: ['online-stale', 'max-missing'],
    places: any(later(16), String.raw`visible score above (32|64|88|128)\b`),
  },
  'lse-empty-below-1': { names: [], places: /rows with (one|at most 1) visible key|in (row|query) 0\b/ },
  // 8. tiles of keys and rows
  'dq-last-key-of-tile': {
    names: [['terms-weighed', /the last key of each tile of 32\b.*left out/]], parts: [['key-lost', /key 31\b/]],
    places: /from 31\b|N > 3[12]\b|rows from 32\b|the last (key|token) of (each|a) tile of 32\b|key 31\b|% 32 = 31/,
  },
  'tile-before-diagonal-twice': {
    names: [['terms-weighed', /tiles? of 16.* before .*(diagonal|own).*(times 2\b|more than once|twice)/]],
    places: any(later(16), 'the tile of 16 keys before their own'),
  },
  'diagonal-causal-only': {
    names: [
      ['ends-by-tile', /diagonal|own tile/], ['tile-whole', /diagonal/], ['mask-ignored', /diagonal/],
      ['terms-weighed', /^(?!later).*own tile of 16.*though hidden/],
    ],
    parts: ['mask-ignored'],
    places: any(HIDING, 'on the diagonal', 'rows but the first of each tile of 16', 'their own tile of 16'),
  },
  'full-last-tile-empty': {
    names: [['tile-skipped', /^$|\blast\b/], ['terms-weighed', /the last tile of 16 keys.*left out/]],
    places: /N % (16|32) = 0|last tile of 16|the last 16|rows from (32|48|144|304)\b|rows (32 to 47|48 to 63)\b/,
  },
  // 9. places in storage
  'lse-tokens-first': { names: ['layout-heads', 'rows-moved'], places: /H > 1\b|rows but the first and (the )?last/ },
  'dq-group-reversed': { names: ['heads-permuted', ['rows-moved', /head/]], places: /H > G/ },
  'out-row-halves-swapped': {
    names: ['rows-moved'],
    places: any(
      String.raw`N > 1[56]\b|N >= 16|whole tiles of 16`, String.raw`rows below (16|32|48|64|128|256)\b`,
      String.raw`rows 0 to (15|31|47|63|127|255)\b`,
    ),
  },
  // 10. unwritten and stale
  'dkv-last-kv-head': { names: ['zeros', 'zeros-in-part'], places: any(LATER_HEADS, 'the last KV head') },
  'lse-tail-stale': {
    names: ['tail-unwritten', 'rows-moved'], parts: ['zeros', 'zeros-in-part'],
    places: /N % 32 != 0|last tile of (16|32|64) rows, which is not whole|last, partial tile/,
  },
  'out-channels-tail': {
    names: [['zeros-in-part', /component|channel/], ['tail-unwritten', /component|channel/]],
    parts: ['zeros', 'dim-tail'], places: any('d % 4 != 0', FIRST_COMPONENTS_RIGHT),
  },
  // 11. factors, the normaliser and D
  'dv-normalised-twice': {
    names: ['row-factor', ['terms-weighed', /(1 \/|divided by) Z/]], places: SEVERAL_KEYS,
  },
  'dk-d-plus': {
    names: [
      ['sign', /\bD\b/], ['intermediate-misread', /\bD\b.*(sign|negat|added|times -1)|-D\b/],
      ['terms-weighed', /\bD\b.*(sign|added|times -1)/],
    ],
    parts: ['d-missing'],
  },
  'd-of-batch-0': { names: [['intermediate-misread', /\bD\b.*(batch|sequence)/]], places: LATER_BATCHES },
  // 12. one pair, one key
  'farthest-pair-lost': {
    names: [['terms-weighed', /farthest|the pair|key 0.*last (query|row)|last (query|row).*key 0/]],
    parts: [['key-lost', /key 0, in rows from/]],
    places: /in the last (row|query)\b|in row \d+\b|in (key|token) 0\b|does not see key 0\b.*this pair alone/,
  },
  'sink-twice': {
    names: [['terms-weighed', /(the first (key|token)|(key|token) 0|the sink).*(times 2\b|more than once|twice)/]],
    places: /(in|counts|sees?) (key|token) 0\b|first (key|token|chunk) is GLOBAL/,
  },
  // 13. masks by row, tile or chunk
  'causal-late-from-64': { names: ['causal-late', ['terms-weighed', /next key|key after/]], places: any(later(64)) },
  'causal-by-chunk': {
    names: [['causal-missing', /chunk/], ['causal-late', /chunk/], ['terms-weighed', /later keys of .*own chunk/]],
    places: /C > 1\b|rows but the last of each (chunk|tile of (2|4))\b|rows that begin a chunk|last of (a|their) chunk/,
  },
  'odd-tiles-stale-rows': {
    names: [
      ['ends-by-tile', /odd tiles/], ['types-moved', /odd tiles/], ['terms-weighed', /odd tiles of 16.*though hidden/],
    ],
    places: any(later(16), HIDING, 'odd tiles of 16 (rows|queries)'),
  },
  // 14. gradients of the types
  'dl-after-chunk': {
    names: [
      ['dl-diagonal-block', /^\D*$/],
      ['terms-weighed', /(diagonal|own (row|chunk|key|token)|chunk itself).*left out/],
    ],
  },
  'dg-charges-window': {
    names: [
      ['dg-no-negative', /LOCAL|WINDOW/],
      ['terms-weighed', /WINDOW.*negative term|negative term.*WINDOW|negative term.*LOCAL.*left out/],
    ],
    parts: ['types-local-window'], places: /after (LOCAL|WINDOW)/,
  },
  'dw-of-next-chunk': { names: ['rows-moved'] },
  // 15. caches
  'bytes-before-eviction': {
    names: [['evicted-late', /bytes/]], places: /steps? (that|which|where|in which)[^;]*evict|something is evicted/,
  },
  'erase-in-loop': {
    names: [['evicted-late', /behind|neighbour|every second/], ['never-evicted', /behind|neighbour|every second/]],
    places: /hidden before the end|tokens that are not GLOBAL|evicts? (several|two|more)/,
  },
  'close-by-last-missed': {
    names: [['local-other', /last token of (a|its|the) step/]], parts: ['local-never'],
    places: /of LOCAL tokens|in steps of one token|last token of (a|its|the) step/,
  },
};

/** By id, the true names that the diagnosis has learned since the first meeting, which the page of it leaves out. */
export const LATER_ANSWERS: Readonly<Partial<Record<string, readonly TrueName[]>>> = {
  'window-of-tile-end': [['ends-by-tile', /^WINDOW before the tile of 16 rows/]],
  'causal-late-from-64': [['pairs-seen', /^the next key, for queries from 64/]],
  'causal-by-chunk': [['pairs-seen', /own chunk/]],
  'farthest-pair-lost': [['pairs-hidden', /^the last query and key 0/]],
  'out-row-halves-swapped': [['elements-moved', /^the halves of each whole tile of 16 rows exchanged/]],
  'lse-tokens-first': [['elements-moved', /^\[B,N,H/]],
  'lse-negative-max': [['lse-max-other', /^at least 0$/]],
  'lse-empty-below-1': [['lse-one-key', /^-Infinity/]],
  'dv-normalised-twice': [['row-weight', /^P times 1 \/ Z$/]],
  'dl-after-chunk': [['dl-rows-other', /^from the first row after the (chunk|token)$/]],
  'dg-charges-window': [['dg-charge-other', /^WINDOW tokens in the place of LOCAL ones$/]],
  'diagonal-causal-only': [['pairs-seen', /^tiles of 16 on the diagonal/]],
  'full-last-tile-empty': [['pairs-hidden', /^the last tile of 16 keys/]],
  'erase-in-loop': [['evicts-some', /^the entry behind one that is evicted/]],
  'close-by-last-missed': [['global-missed', /^those that end with the last token of their step/]],
};

/** All answers that are true of a mutant. */
export function answersOf(id: string): Answers {
  const { names, parts = [], places } = EIGHTH_ANSWERS[id];
  return { names: [...names, ...parts, ...LATER_ANSWERS[id] ?? []], ...(places && { places }) };
}

/** The answers by the rule of the seventh set: a name that says a part of the cause is none. */
export function strictly(id: string): Answers {
  const { names, places } = EIGHTH_ANSWERS[id];
  return { names, ...(places && { places }) };
}
